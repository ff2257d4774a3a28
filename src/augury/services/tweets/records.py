"""What is remembered of a prediction, and under which keys.

Written once for each prediction, in one round trip, after the answer has been sent; read before a
tweet is fetched again, and by ``aggregates``.  Making the items is pure; whoever calls holds the
store.

=========================================  =============================  =======================
key                                        value                          asked by
=========================================  =============================  =======================
``tweets:prediction:{author}:{tweet}``     :class:`PredictionRecord`      a hit; author aggregates
``tweets:author_of:{tweet}``               the author's id, as text       a hit, which has no author
``tweets:author_id:{username}``            the author's id, as text       ``/v1/authors/@name/…``
``tweets:topic:{topic}:{tweet}``           :class:`Observation`           topic aggregates
``tweets:tweet:{tweet}``                   ``Tweet``                      the archive source
=========================================  =============================  =======================

An unknown author is written ``-``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from augury.services.tweets.model import Origin, Tweet
from augury.services.tweets.topics import topics_of
from augury.stores.base import KeyValueStore

# 60 days.
TTL_S: Final = 5_184_000

UNKNOWN_AUTHOR: Final = "-"


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What the aggregates need of a prediction.

    Args:
        label: The class chosen.
        scores: Every class to its probability.
        created_at: When the tweet was written, UTC; ``None`` when nobody knows.
    """

    label: str
    scores: dict[str, float]
    created_at: datetime | None = None


class PredictionRecord(Observation, frozen=True, kw_only=True):
    """Everything that answering the same question again needs.

    Args:
        tweet_id: As in ``Tweet``; so are *text* to *source*.
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


_ENCODER: Final = msgspec.json.Encoder()
_RECORDS: Final = msgspec.json.Decoder(PredictionRecord)
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
        created_at=tweet.written_at,
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


def items_of(record: PredictionRecord) -> dict[str, bytes]:
    """All that is written for *record*: key to value."""
    author = author_key_part(record.author_id)
    observation = _ENCODER.encode(
        Observation(label=record.label, scores=record.scores, created_at=record.created_at)
    )
    items = {
        f"{author_prefix(author)}{record.tweet_id}": _ENCODER.encode(record),
        f"tweets:author_of:{record.tweet_id}": author.encode(),
    }
    if record.username and record.author_id is not None:
        items[author_id_key(record.username)] = author.encode()
    for topic in topics_of(record.text):
        items[f"{topic_prefix(topic)}{record.tweet_id}"] = observation
    return items


def author_key_part(author_id: int | None) -> str:
    """How an author is written in a key."""
    return UNKNOWN_AUTHOR if author_id is None else str(author_id)


def author_prefix(author: str) -> str:
    """Prefix of the keys of all predictions of *author*'s tweets."""
    return f"tweets:prediction:{author}:"


def topic_prefix(topic: str) -> str:
    """Prefix of the keys of all predictions of tweets on *topic*."""
    return f"tweets:topic:{topic}:"


def author_id_key(username: str) -> str:
    """Where the id of @*username* is kept; X's names know no case."""
    return f"tweets:author_id:{username.lower()}"


def tweet_key(tweet_id: int) -> str:
    """Where the archive keeps a tweet."""
    return f"tweets:tweet:{tweet_id}"


async def recall(store: KeyValueStore, tweet_id: int) -> PredictionRecord | None:
    """What is remembered of a tweet; ``None`` for nothing, or nothing that can be read any more.

    Raises:
        Unavailable: The store cannot be reached.
    """
    author = await store.get(f"tweets:author_of:{tweet_id}")
    if author is None:
        return None
    value = await store.get(f"{author_prefix(author.decode())}{tweet_id}")
    if value is None:
        return None
    try:
        return _RECORDS.decode(value)
    except msgspec.MsgspecError:
        # Written by another release; the prediction is made, and written, anew.
        return None


async def remember(store: KeyValueStore, record: PredictionRecord) -> None:
    """Write *record* and all that leads to it, for 60 days.

    Raises:
        Unavailable: The store cannot be reached.
    """
    await store.set_many(items_of(record), ttl_s=TTL_S)


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
