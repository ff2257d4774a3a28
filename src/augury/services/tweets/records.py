"""What is remembered of a prediction, and under which keys.

Pure: it makes and reads keys and values; ``ledger`` holds the store.

================================  ============================  =====================================
key                               value                         asked by
================================  ============================  =====================================
``tweets:record:{tweet}``         :class:`Kept`                 a repeated question; rebuilding
``tweets:tweet:{tweet}``          ``Tweet``                     the archive source
``tweets:author_id:{username}``   the author's id, as text      ``/v1/authors/@name/…``
``tweets:erased:{what}:{id}``     when, in ms since 1970        writers, for a week after an erasure
``tweets:generations``            ``generations.Generations``   everybody who writes or adds up
================================  ============================  =====================================

An author of whom only the name is told has an id from 2⁶² up, ``model.id_of_name``.

Whatever people wrote stands at a key's end, so that no name leads into another key.  The first
release's ``tweets:prediction:…``, ``tweets:topic:…`` and ``tweets:author_of:…`` are not read any
more; they expire by themselves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from augury.services.tweets.model import Origin, Tweet

# 60 days.
RETENTION_S: Final = 5_184_000.0

# X's names have at most 15 characters, older ones 20; a longer one is somebody's joke, and nobody
# is found by it.
MAX_USERNAME_CHARS: Final = 50

RECORD_PREFIX: Final = "tweets:record:"
TWEET_PREFIX: Final = "tweets:tweet:"
AUTHOR_ID_PREFIX: Final = "tweets:author_id:"
# What the first release wrote besides; erasing everything includes it.
FIRST_RELEASE_PREFIXES: Final = ("tweets:prediction:", "tweets:topic:", "tweets:author_of:")


class PredictionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that answering the same question again needs.

    Args:
        tweet_id: As in ``Tweet``; so are *text* to *source*.
        label: The class chosen.
        scores: Every class to its probability.
        created_at: When the tweet was written, UTC; ``None`` when nobody knows.
        model: Name of the model that answered.
        version: Its version.
        predicted_at: When, UTC.
    """

    tweet_id: int
    text: str
    author_id: int | None = None
    username: str | None = None
    author_name: str | None = None
    lang: str | None = None
    source: Origin = "archive"
    label: str
    scores: dict[str, float]
    created_at: datetime | None = None
    model: str
    version: int
    predicted_at: datetime

    @property
    def tweet(self) -> Tweet:
        """The tweet that was judged."""
        return Tweet(
            id=self.tweet_id,
            text=self.text,
            author_id=self.author_id,
            username=self.username,
            author_name=self.author_name,
            created_at=self.created_at,
            lang=self.lang,
            source=self.source,
        )


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A record as the store holds it, with what takes it out of the aggregates again.

    Args:
        record: The record.
        topics: Under which it was counted; another release may find others in the same text.
        counted: Generations of the aggregates that it is part of.
    """

    record: PredictionRecord
    topics: tuple[str, ...] = ()
    counted: tuple[int, ...] = ()


_ENCODER: Final = msgspec.json.Encoder()
_KEPT: Final = msgspec.json.Decoder(Kept)
_TWEETS: Final = msgspec.json.Decoder(Tweet)


def record_of(
    tweet: Tweet,
    *,
    label: str,
    scores: dict[str, float],
    model: str,
    version: int,
    predicted_at: datetime,
) -> PredictionRecord:
    """What to remember of the prediction of *tweet*."""
    return PredictionRecord(
        label=label,
        scores=scores,
        created_at=in_utc(tweet.written_at),
        tweet_id=tweet.id,
        text=tweet.text,
        author_id=tweet.author_id,
        username=tweet.username,
        author_name=tweet.author_name,
        lang=tweet.lang,
        source=tweet.source,
        model=model,
        version=version,
        predicted_at=predicted_at,
    )


def in_utc(at: datetime | None) -> datetime | None:
    """*at* in UTC, taken for UTC when it names no zone.

    ``None`` also for the hours around the years 1 and 9999 that only exist elsewhere.
    """
    if at is None or at.tzinfo is None:
        return at and at.replace(tzinfo=UTC)
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return None


def record_key(tweet_id: int) -> str:
    """Where the prediction of a tweet is kept."""
    return f"{RECORD_PREFIX}{tweet_id}"


def tweet_key(tweet_id: int) -> str:
    """Where the archive keeps a tweet."""
    return f"{TWEET_PREFIX}{tweet_id}"


def author_id_key(username: str) -> str | None:
    """Where the id of @*username* is kept, X's names know no case; ``None``: nowhere."""
    if not username or len(username) > MAX_USERNAME_CHARS:
        return None
    return f"{AUTHOR_ID_PREFIX}{username.lower()}"


def erased_tweet_key(tweet_id: int) -> str:
    """Where it is told that a tweet was erased."""
    return f"tweets:erased:tweet:{tweet_id}"


def erased_author_key(author_id: int) -> str:
    """Where it is told that all of an author's tweets were erased."""
    return f"tweets:erased:author:{author_id}"


def encode_kept(kept: Kept) -> bytes:
    """*Kept* as the store holds it.

    Raises:
        UnicodeEncodeError: A text has lone surrogates.
    """
    return _ENCODER.encode(kept)


def decode_kept(value: bytes | None) -> Kept | None:
    """The inverse; ``None`` for nothing, and for what another release wrote."""
    if value is None:
        return None
    try:
        return _KEPT.decode(value)
    except msgspec.MsgspecError:
        return None


def encode_tweet(tweet: Tweet) -> bytes:
    """*Tweet* as the archive keeps it.

    Raises:
        UnicodeEncodeError: The text has lone surrogates.
    """
    return _ENCODER.encode(tweet)


def decode_tweet(value: bytes) -> Tweet | None:
    """The inverse; ``None`` for what cannot be read."""
    try:
        return _TWEETS.decode(value)
    except msgspec.MsgspecError:
        return None
