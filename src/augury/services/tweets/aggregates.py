"""Add predictions up: how many of each label, mean scores, and both over time.

A :class:`Tally` folds observations one by one and tallies into each other, so that it can be kept
and moved forward as well as computed anew; folding is pure.  :func:`author_tally` and
:func:`topic_tally` compute it anew by scanning what the store holds.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, cast

import msgspec

from augury.services.tweets.records import (
    Observation,
    author_id_key,
    author_prefix,
    topic_prefix,
)
from augury.stores.base import KeyValueStore

Bucket = Literal["hour", "day", "week"]

# A scan of this many takes about 2 s on the reference machine; more is told as `truncated`.
MAX_OBSERVATIONS: Final = 100_000

_ID: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_OBSERVATIONS: Final = msgspec.json.Decoder(Observation)


class Counts(msgspec.Struct, kw_only=True):
    """Labels counted and scores summed.

    Args:
        labels: Label to the number of tweets that got it.
        score_sums: Class to the sum of its scores over all tweets.
    """

    labels: dict[str, int] = msgspec.field(default_factory=dict)
    score_sums: dict[str, float] = msgspec.field(default_factory=dict)

    @property
    def total(self) -> int:
        """Tweets counted."""
        return sum(self.labels.values())

    @property
    def shares(self) -> dict[str, float]:
        """Label to its share of the tweets; the shares add up to 1."""
        return {label: count / self.total for label, count in self.labels.items()}

    @property
    def mean_scores(self) -> dict[str, float]:
        """Class to its mean score."""
        return {name: score / self.total for name, score in self.score_sums.items()}

    def add(self, observation: Observation) -> None:
        """Count one tweet."""
        # A label that nobody got is told as 0, rather than left out.
        for name, score in observation.scores.items():
            self.labels.setdefault(name, 0)
            self.score_sums[name] = self.score_sums.get(name, 0.0) + score
        self.labels[observation.label] = self.labels.get(observation.label, 0) + 1

    def merge(self, other: Counts) -> None:
        """Count all that *other* counted."""
        for label, count in other.labels.items():
            self.labels[label] = self.labels.get(label, 0) + count
        for name, score in other.score_sums.items():
            self.score_sums[name] = self.score_sums.get(name, 0.0) + score


class Tally(msgspec.Struct, kw_only=True):
    """Counts of all tweets and of each stretch of time.

    Args:
        bucket: Length of a stretch.
        all: All tweets.
        buckets: Start of a stretch (UTC) to its tweets; stretches without tweets are left out.
        undated: Tweets of unknown time, which are in *all* only.
        first_at: When the earliest tweet was written.
        last_at: When the latest was.
        truncated: Whether there was more than we were willing to read.
    """

    bucket: Bucket
    all: Counts = msgspec.field(default_factory=Counts)
    buckets: dict[datetime, Counts] = msgspec.field(default_factory=dict)
    undated: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    truncated: bool = False

    def add(self, observation: Observation) -> None:
        """Count one tweet."""
        self.all.add(observation)
        at = observation.created_at
        if at is None:
            self.undated += 1
            return
        self.buckets.setdefault(bucket_start(at, self.bucket), Counts()).add(observation)
        self._widen(at, at)

    def merge(self, other: Tally) -> None:
        """Count all that *other* counted.

        Raises:
            ValueError: Its stretches are of another length.
        """
        if other.bucket != self.bucket:
            raise ValueError(f"cannot add a tally by {other.bucket} to one by {self.bucket}")
        self.all.merge(other.all)
        for start, counts in other.buckets.items():
            self.buckets.setdefault(start, Counts()).merge(counts)
        self.undated += other.undated
        self.truncated |= other.truncated
        if other.first_at is not None and other.last_at is not None:
            self._widen(other.first_at, other.last_at)

    def _widen(self, first_at: datetime, last_at: datetime) -> None:
        self.first_at = min(self.first_at or first_at, first_at)
        self.last_at = max(self.last_at or last_at, last_at)


def bucket_start(at: datetime, bucket: Bucket) -> datetime:
    """Start of the hour, day or week (from Monday, ISO 8601) of *at*, in UTC.

    >>> bucket_start(datetime(2026, 11, 21, 9, 18, tzinfo=UTC), "week")
    datetime.datetime(2026, 11, 16, 0, 0, tzinfo=datetime.timezone.utc)
    """
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if bucket == "hour":
        return hour
    day = hour.replace(hour=0)
    return day if bucket == "day" else day - timedelta(days=day.weekday())


async def author_tally(store: KeyValueStore, author_id: int, bucket: Bucket) -> Tally:
    """Add up the tweets of one author.

    Raises:
        Unavailable: The store cannot be reached.
    """
    return await _tally(store, author_prefix(str(author_id)), bucket)


async def topic_tally(store: KeyValueStore, topic: str, bucket: Bucket) -> Tally:
    """Add up the tweets on one topic, as ``topics.parse_topic`` spells it.

    Raises:
        Unavailable: The store cannot be reached.
    """
    return await _tally(store, topic_prefix(topic), bucket)


async def find_author(store: KeyValueStore, author: str) -> int | None:
    """The id behind an id or a ``@username``; ``None`` when we never met the name.

    Raises:
        Unavailable: The store cannot be reached.
    """
    name = author.strip()
    if _ID.fullmatch(name):
        return int(name)
    value = await store.get(author_id_key(name.removeprefix("@")))
    return None if value is None else int(value)


async def _tally(store: KeyValueStore, prefix: str, bucket: Bucket) -> Tally:
    tally = Tally(bucket=bucket)
    # The Protocol promises an iterator; that it can be closed early is what every backend adds.
    items = cast("AsyncGenerator[tuple[str, bytes], None]", store.scan(prefix))
    async with aclosing(items):
        async for _key, value in items:
            if tally.all.total >= MAX_OBSERVATIONS:
                tally.truncated = True
                break
            try:
                tally.add(_OBSERVATIONS.decode(value))
            except msgspec.MsgspecError:
                continue  # written by another release
    return tally
