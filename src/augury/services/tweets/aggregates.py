"""Read what the ledger has added up: all tweets, an author, a topic; who and what is most active.

Every answer is made of tables that are kept with the records, so its cost follows the answer's
size and not the number of tweets.  While the tables are rebuilt the older ones are read; an answer
that was begun on tables that were replaced meanwhile is made again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, Literal, TypeVar

import msgspec

from augury.services.tweets import records
from augury.services.tweets.ledger import Ledger, LedgerStore, tables
from augury.services.tweets.ledger.tables import Kind
from augury.services.tweets.records import PredictionRecord
from augury.stores.base import Vector

Bucket = Literal["hour", "day", "week"]
KindOrAll = Literal["all", "hashtag", "cashtag", "word"]

_ID: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_ATTEMPTS: Final = 5
# Questions to the store at a time, well below the connections of a pool.
_AT_ONCE: Final = 8

T = TypeVar("T")
R = TypeVar("R")


class Counts(msgspec.Struct, kw_only=True):
    """Labels counted and scores summed.

    Args:
        labels: Label to the number of tweets that got it; 0 for one that nobody got.
        score_sums: Class to the sum of its scores, in millionths.
        told: Class to the number of tweets whose model knows it.
    """

    labels: dict[str, int] = msgspec.field(default_factory=dict)
    score_sums: dict[str, int] = msgspec.field(default_factory=dict)
    told: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def total(self) -> int:
        """Tweets counted."""
        return sum(self.labels.values())

    @property
    def shares(self) -> dict[str, float]:
        """Label to its share of the tweets; the shares add up to 1."""
        total = self.total or 1
        return {label: count / total for label, count in self.labels.items()}

    @property
    def mean_scores(self) -> dict[str, float]:
        """Class to its mean score over the tweets whose model knows it."""
        return {
            name: score / ((self.told[name] or 1) * tables.MILLIONTHS)
            for name, score in self.score_sums.items()
        }

    def add(self, classes: Sequence[str], vector: Vector) -> None:
        """Count what a table's member holds."""
        labels, scores = tables.read_vector(classes, vector)
        self._add(labels, scores, dict.fromkeys(classes, sum(labels.values())))

    def merge(self, other: Counts) -> None:
        """Count all that *other* counted."""
        self._add(other.labels, other.score_sums, other.told)

    def _add(
        self, labels: Mapping[str, int], scores: Mapping[str, int], told: Mapping[str, int]
    ) -> None:
        for mine, more in (
            (self.labels, labels),
            (self.score_sums, scores),
            (self.told, told),
        ):
            for name, number in more.items():
                mine[name] = mine.get(name, 0) + number


class Tally(msgspec.Struct, kw_only=True):
    """Counts of all tweets and of each stretch of time.

    Args:
        bucket: Length of a stretch.
        all: All tweets.
        buckets: Start of a stretch (UTC) to its tweets; stretches without tweets are left out.
        undated: Tweets of unknown time, which are in *all* only.
        first_at: When the earliest tweet was written, to the millisecond.
        last_at: When the latest was.
    """

    bucket: Bucket
    all: Counts = msgspec.field(default_factory=Counts)
    buckets: dict[datetime, Counts] = msgspec.field(default_factory=dict)
    undated: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list.

    Args:
        rows: In their order.
        total: Rows of the whole list.
        offset: Rows before these.
        limit: Rows that were asked for.
    """

    rows: tuple[T, ...]
    total: int
    offset: int
    limit: int

    @property
    def next(self) -> int | None:
        """The offset of the next page; ``None`` when this is the last."""
        after = self.offset + self.limit
        return after if after < self.total else None


@dataclass(frozen=True, slots=True)
class AuthorRow:
    """An author in a list.

    Args:
        author_id: X's id.
        username: As of their latest tweet, as is *name*.
        name: The name that is shown.
        counts: Their tweets added up.
        first_at: When the earliest of them was written.
        last_at: When the latest was.
    """

    author_id: int
    username: str | None
    name: str | None
    counts: Counts
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class TopicRow:
    """A topic in a list, with its tweets added up."""

    topic: str
    kind: Kind
    counts: Counts


def bucket_start(at: datetime, bucket: Bucket) -> datetime:
    """Start of the hour, day or week (from Monday, ISO 8601) of *at*, in UTC.

    >>> bucket_start(datetime(2026, 11, 21, 9, 18, tzinfo=UTC), "week")
    datetime.datetime(2026, 11, 16, 0, 0, tzinfo=datetime.timezone.utc)
    """
    hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if bucket == "hour":
        return hour
    day = hour.replace(hour=0)
    # The year 1 begins with a Monday: no week begins before time does.
    return day if bucket == "day" else day - timedelta(days=day.weekday())


def fold(bucket: Bucket, sums: Mapping[str, Vector]) -> Tally:
    """The tally of a table of hours (for *bucket* "hour") or days (else)."""
    tally = Tally(bucket=bucket)
    for member, vector in sums.items():
        found = tables.read_start("hour" if bucket == "hour" else "day", member)
        if found is None:
            continue  # of another release
        start, classes = found
        counts = Counts()
        counts.add(classes, vector)
        tally.all.merge(counts)
        if start is None:
            tally.undated += counts.total
        else:
            tally.buckets.setdefault(bucket_start(start, bucket), Counts()).merge(counts)
    return tally


class Aggregates:
    """Reads the ledger's tables.

    Raises (all methods):
        Unavailable: The store cannot be reached.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.store: LedgerStore = ledger.store

    async def tally(self, entity: str, bucket: Bucket) -> Tally:
        """Add up an entity of ``tables``: all tweets, an author, a topic."""

        async def read(generation: int) -> Tally:
            stretch: tables.Stretch = "hour" if bucket == "hour" else "day"
            sums = await self.store.sums(tables.stretch_table(generation, stretch, entity))
            tally = fold(bucket, sums)
            first, last = await self._ends(generation, entity)
            tally.first_at = tables.rank_time(first[1]) if first else None
            tally.last_at = tables.rank_time(last[1]) if last else None
            return tally

        return await self.stable(read)

    async def authors(self, *, offset: int, limit: int) -> Page[AuthorRow]:
        """Authors, those with the most tweets first."""

        async def read(generation: int) -> Page[AuthorRow]:
            table = tables.authors_table(generation)
            ranked = await self.store.top(table, offset=offset, limit=limit)
            ids = [int(member) for member, _ in ranked]
            entities = [tables.author_entity(author_id) for author_id in ids]
            counted = await self.totals(generation, entities)
            ends = await few_at_once(lambda entity: self._ends(generation, entity), entities)
            latest = [None if last is None else int(last[0]) for _, last in ends]
            known = await self._ledger.records([one for one in latest if one is not None])
            by_tweet = {record.tweet_id: record for record in known if record is not None}
            rows = []
            for author_id, counts, (first, last), tweet_id in zip(
                ids, counted, ends, latest, strict=True
            ):
                record = by_tweet.get(tweet_id or 0)
                rows.append(
                    AuthorRow(
                        author_id=author_id,
                        username=None if record is None else record.username,
                        name=None if record is None else record.author_name,
                        counts=counts,
                        first_at=tables.rank_time(first[1]) if first else None,
                        last_at=tables.rank_time(last[1]) if last else None,
                    )
                )
            return Page(tuple(rows), await self.store.rank_count(table), offset, limit)

        return await self.stable(read)

    async def topics(self, kind: KindOrAll, *, offset: int, limit: int) -> Page[TopicRow]:
        """Topics, those with the most tweets first."""

        async def read(generation: int) -> Page[TopicRow]:
            table = tables.topics_table(generation, kind)
            topics = [row for row, _ in await self.store.top(table, offset=offset, limit=limit)]
            rows = await self.topic_rows(generation, topics)
            return Page(tuple(rows), await self.store.rank_count(table), offset, limit)

        return await self.stable(read)

    async def tweets(self, entity: str, *, offset: int, limit: int) -> Page[PredictionRecord]:
        """Predictions of an entity's tweets, those written last first, undated ones at the end."""
        return await self._records(
            lambda generation: tables.tweets_table(generation, entity), offset, limit
        )

    async def recent(self, *, offset: int, limit: int) -> Page[PredictionRecord]:
        """Predictions, those made last first."""
        return await self._records(tables.predicted_table, offset, limit)

    async def find_author(self, author: str) -> int | None:
        """The id behind an id or a ``@username``; ``None`` when we never met the name."""
        name = author.strip()
        if _ID.fullmatch(name):
            return int(name)
        key = records.author_id_key(name.removeprefix("@"))
        value = None if key is None else await self.store.get(key)
        return None if value is None else int(value)

    async def totals(self, generation: int, entities: Sequence[str]) -> list[Counts]:
        """All tweets of each of *entities*, in as many round trips as there are kinds of models."""
        counted = [Counts() for _ in entities]
        if not entities:
            return counted
        names = [tables.total_table(generation, entity) for entity in entities]
        all_tweets = await self.store.sums(tables.total_table(generation, tables.ALL_TWEETS))
        for member in sorted(all_tweets):
            classes = tables.read_classes(member)
            if classes is None:
                continue
            vectors = await self.store.sums_of(names, member)
            for counts, vector in zip(counted, vectors, strict=True):
                if vector:
                    counts.add(classes, vector)
        return counted

    async def topic_rows(self, generation: int, topics: Sequence[str]) -> list[TopicRow]:
        """A row for each of *topics*."""
        counted = await self.totals(generation, [tables.topic_entity(topic) for topic in topics])
        return [
            TopicRow(topic, tables.kind_of(topic), counts)
            for topic, counts in zip(topics, counted, strict=True)
        ]

    async def stable(self, read: Callable[[int], Awaitable[T]]) -> T:
        """What *read* makes of the tables in use, which it is told, and which stay for so long."""
        generation = await self._ledger.generation()
        for _ in range(_ATTEMPTS - 1):
            answer = await read(generation)
            before, generation = generation, await self._ledger.generation()
            if before == generation:
                return answer
        return await read(generation)

    async def _ends(
        self, generation: int, entity: str
    ) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
        """An entity's earliest tweet that has a time, and its latest, which may have none."""
        table = tables.tweets_table(generation, entity)
        first = await self.store.bottom(table, at_least=tables.FIRST_DATED_RANK, limit=1)
        last = await self.store.top(table, limit=1)
        return (first[0] if first else None, last[0] if last else None)

    async def _records(
        self, table_of: Callable[[int], str], offset: int, limit: int
    ) -> Page[PredictionRecord]:
        async def read(generation: int) -> Page[PredictionRecord]:
            table = table_of(generation)
            ranked = await self.store.top(table, offset=offset, limit=limit)
            known = await self._ledger.records([int(member) for member, _ in ranked])
            rows = tuple(record for record in known if record is not None)
            return Page(rows, await self.store.rank_count(table), offset, limit)

        return await self.stable(read)


async def few_at_once(ask: Callable[[R], Awaitable[T]], questions: Iterable[R]) -> list[T]:
    """The answers to *questions*, in their order, a few at a time."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def answer(question: R) -> T:
        async with turns:
            return await ask(question)

    return list(await asyncio.gather(*map(answer, questions)))
