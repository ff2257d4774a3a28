"""Whatever happens, in whatever order, the tables are what the records add up to."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augury.core.clock import ManualClock
from augury.core.errors import Unavailable
from augury.services.tweets.ledger import Ledger, LedgerStore, tables
from augury.services.tweets.records import RETENTION_S, PredictionRecord
from tests.redis_server import RedisServer
from tests.services.tweets.conftest import NOW_S
from tests.services.tweets.ledger.conftest import (
    Spoiled,
    generation_of,
    opened_store,
    predicted,
    recount,
    tables_of,
)

IDS = range(1, 7)
TEXTS = [
    "",
    "#Bitcoin bitcoin $btc",
    "bitcoin again",
    "*[a]? \n\0 名前 #名前",
    "#a #b #c tweets:all",
]
TIMES = [
    None,
    datetime(2018, 10, 10, 20, 19, 24, tzinfo=UTC),
    datetime(2018, 10, 10, 21, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime.fromtimestamp(NOW_S, UTC) + timedelta(days=30),
]
SCORES = [
    ("positive", {"negative": 0.1, "neutral": 0.2, "positive": 0.7}),
    ("negative", {"negative": 0.600001, "neutral": 0.399999, "positive": 0.0}),
    ("good", {"bad": 0.333333, "good": 0.666667}),
    ("odd", {}),
]


@dataclass(frozen=True)
class Write:
    tweet_id: int
    author_id: int | None
    username: str | None
    text: str
    created_at: datetime | None
    scores: tuple[str, dict[str, float]]
    age_s: int = 0

    def record(self, now_s: float) -> PredictionRecord:
        return predicted(
            self.tweet_id,
            at_s=now_s - self.age_s,
            label=self.scores[0],
            scores=self.scores[1],
            text=self.text,
            author_id=self.author_id,
            username=self.username,
            created_at=self.created_at,
        )


@dataclass(frozen=True)
class Erase:
    tweet_ids: tuple[int, ...]


@dataclass(frozen=True)
class EraseAuthor:
    author_id: int


@dataclass(frozen=True)
class Do:
    what: str


WRITES = st.builds(
    Write,
    tweet_id=st.sampled_from(IDS),
    author_id=st.sampled_from([None, 1, 2, 11]),
    username=st.sampled_from([None, "ada", "*", "a\nb"]),
    text=st.sampled_from(TEXTS),
    created_at=st.sampled_from(TIMES),
    scores=st.sampled_from(SCORES),
    # Now and then one that was predicted a while ago, and comes late.
    age_s=st.sampled_from([0, 0, 0, 30]),
)
OPERATIONS = st.one_of(
    st.lists(WRITES, min_size=1, max_size=5).map(tuple),
    st.lists(st.sampled_from(IDS), min_size=1, max_size=3).map(lambda ids: Erase(tuple(ids))),
    st.sampled_from([1, 2, 11]).map(EraseAuthor),
    st.sampled_from(["clear", "expire", "month", "rebuild", "rebuild", "half a rebuild"]).map(Do),
)
Operation = Any
# How the commits of an operation are cut off, one after another, before it is done again.
SPOIL = st.lists(st.sampled_from(["", "lost", "half", "unanswered"]), max_size=2)
STEPS = st.lists(st.tuples(OPERATIONS, SPOIL), max_size=14)


async def carry_out(ledger: Ledger, operation: Operation, now_s: float) -> None:
    match operation:
        case Erase(tweet_ids):
            await ledger.erase(tweet_ids)
        case EraseAuthor(author_id):
            await ledger.erase_author(author_id)
        case Do("clear"):
            await ledger.clear()
        case Do("expire"):
            await ledger.expire()
        case Do("rebuild" | "half a rebuild"):
            await ledger.rebuild(lambda done, of: None)
        case Do():
            pass
        case writes:
            await ledger.write([write.record(now_s) for write in writes])


class Plain:
    """What should be held, in a dict."""

    def __init__(self) -> None:
        self.held: dict[int, PredictionRecord] = {}
        self.erased: dict[str, datetime] = {}

    def is_over(self, record: PredictionRecord, now: datetime) -> bool:
        return record.predicted_at <= now - timedelta(seconds=RETENTION_S)

    def carry_out(self, operation: Operation, now_s: float) -> None:
        now = datetime.fromtimestamp(now_s, UTC)
        match operation:
            case Erase(tweet_ids):
                for tweet_id in tweet_ids:
                    self.held.pop(tweet_id, None)
                    self.erased[f"tweet {tweet_id}"] = now
            case EraseAuthor(author_id):
                self.held = {
                    one: record
                    for one, record in self.held.items()
                    if record.author_id != author_id
                }
                self.erased[f"author {author_id}"] = now
            case Do("clear"):
                self.held.clear()
                self.erased["all"] = now
            case Do("expire"):
                self.held = {
                    one: record
                    for one, record in self.held.items()
                    if not self.is_over(record, now)
                }
            case Do():
                pass
            case writes:
                latest: dict[int, PredictionRecord] = {}
                for record in (write.record(now_s) for write in writes):
                    before = latest.get(record.tweet_id)
                    if before is None or before.predicted_at <= record.predicted_at:
                        latest[record.tweet_id] = record
                for record in latest.values():
                    self.write(record, now)

    def write(self, new: PredictionRecord, now: datetime) -> None:
        marks = ("all", f"tweet {new.tweet_id}", f"author {new.author_id}")
        if any(new.predicted_at <= self.erased[mark] for mark in marks if mark in self.erased):
            return
        old = self.held.get(new.tweet_id)
        if old is not None and not self.is_over(old, now):
            same = msgspec.structs.replace(new, predicted_at=old.predicted_at) == old
            if same or new.predicted_at < old.predicted_at:
                return
        self.held[new.tweet_id] = new


async def follow(store: LedgerStore, steps: Sequence[tuple[Operation, list[str]]]) -> None:
    """Carry out *steps* one after another, each cut off and begun again, and compare."""
    clock = ManualClock(NOW_S)
    spoiled = Spoiled(store)
    ledger = Ledger(spoiled, clock=clock)
    await ledger.generation()
    plain = Plain()
    for operation, spoil in steps:
        clock.advance(30 * 86_400 if operation == Do("month") else 1)
        spoiled.spoil = list(spoil)
        if operation == Do("half a rebuild"):
            spoiled.spoil = ["", "half"]
        while True:
            try:
                await carry_out(ledger, operation, clock.time())
            except Unavailable:
                if operation == Do("half a rebuild"):
                    break
            else:
                break
        spoiled.spoil = []
        plain.carry_out(operation, clock.time())
        await compare(ledger, plain, clock)
    await ledger.rebuild(lambda done, of: None)
    await compare(ledger, plain, clock)
    await nothing_else(ledger, list(plain.held.values()))


async def compare(ledger: Ledger, plain: Plain, clock: ManualClock) -> None:
    now = datetime.fromtimestamp(clock.time(), UTC)
    told = [plain.held.get(one) for one in IDS]
    assert await ledger.records(IDS) == [
        None if record is None or plain.is_over(record, now) else record for record in told
    ]
    wanted = recount(plain.held.values())
    read, _ = await generation_of(ledger.store)
    assert await tables_of(ledger.store, wanted, read) == wanted


async def nothing_else(ledger: Ledger, held: Sequence[PredictionRecord]) -> None:
    """No table but those of a recount is left, of whatever generation; the store is spent then."""
    sums, ranks = recount(held)
    read, write = await generation_of(ledger.store)
    assert read == write
    of_generation = await ledger.store.drop_tables(tables.generation_prefix(read))
    assert of_generation == len(sums) + len(ranks)
    assert await ledger.store.drop_tables("tweets:") == 0


class Interleaved:
    """Lets other tasks run before and after every question to the store, as a network does."""

    def __init__(self, store: LedgerStore, seed: int) -> None:
        self._store = store
        self._random = random.Random(seed)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name == "scan":
            return method

        async def slow(*args: Any, **kwargs: Any) -> Any:
            for _ in range(self._random.randrange(4)):
                await asyncio.sleep(0)
            answer = await method(*args, **kwargs)
            for _ in range(self._random.randrange(4)):
                await asyncio.sleep(0)
            return answer

        return slow


async def race(store: LedgerStore, groups: Sequence[Sequence[Operation]], seed: int) -> None:
    """Carry out the operations of each group at once, through three ledgers, and compare."""
    clock = ManualClock(NOW_S)
    ledgers = [Ledger(Interleaved(store, seed + n), clock=clock) for n in range(3)]
    plain = Ledger(store, clock=clock)
    for group in groups:
        clock.advance(1)
        await asyncio.gather(
            *(
                carry_out(ledgers[n % 3], operation, clock.time())
                for n, operation in enumerate(group)
            )
        )
        held = [record for record in await plain.records(IDS) if record is not None]
        wanted = recount(held)
        read, _ = await generation_of(store)
        assert await tables_of(store, wanted, read) == wanted
    await asyncio.gather(*(ledger.rebuild(lambda done, of: None) for ledger in ledgers))
    held = [record for record in await plain.records(IDS) if record is not None]
    wanted = recount(held)
    read, _ = await generation_of(store)
    assert await tables_of(store, wanted, read) == wanted
    await plain.expire()
    await nothing_else(plain, held)


GROUPS = st.lists(
    st.lists(OPERATIONS.filter(lambda op: op != Do("month")), min_size=2, max_size=6), max_size=5
)


async def over_fresh_store(kind: str, work: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with opened_store(kind, Path(folder), ManualClock(NOW_S)) as store:
            await work(store)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_one_after_another(steps: list[tuple[Operation, list[str]]]) -> None:
    """Every operation, cut off and repeated: records and tables are those of a plain dict."""
    asyncio.run(over_fresh_store("memory", lambda store: follow(store, steps)))


@settings(max_examples=150, deadline=None)
@given(groups=GROUPS, seed=st.integers(0, 1000))
def test_all_at_once(groups: list[list[Operation]], seed: int) -> None:
    """Writers, erasers and rebuilds that race: the tables are what is left of the records."""
    asyncio.run(over_fresh_store("memory", lambda store: race(store, groups, seed)))


@settings(max_examples=12, deadline=None)
@given(steps=STEPS)
def test_one_after_another_in_a_file(steps: list[tuple[Operation, list[str]]]) -> None:
    """The same over SQLite."""
    asyncio.run(over_fresh_store("sqlite", lambda store: follow(store, steps)))


@settings(max_examples=12, deadline=None)
@given(groups=GROUPS, seed=st.integers(0, 1000))
def test_all_at_once_in_a_file(groups: list[list[Operation]], seed: int) -> None:
    """The same over SQLite."""
    asyncio.run(over_fresh_store("sqlite", lambda store: race(store, groups, seed)))


async def over_redis(server: RedisServer, work: Any) -> None:
    from augury.stores.registry import open_store

    server.ask("FLUSHALL")
    store = await open_store(server.url, clock=ManualClock(NOW_S), on_corrupt=lambda *_: None)
    try:
        await work(store)
    finally:
        await store.close()


HERE = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example empties it
)


@pytest.mark.redis
@HERE
@given(steps=STEPS)
def test_one_after_another_in_redis(
    redis_server: RedisServer, steps: list[tuple[Operation, list[str]]]
) -> None:
    """The same over Redis."""
    asyncio.run(over_redis(redis_server, lambda store: follow(store, steps)))


@pytest.mark.redis
@HERE
@given(groups=GROUPS, seed=st.integers(0, 1000))
def test_all_at_once_in_redis(
    redis_server: RedisServer, groups: list[list[Operation]], seed: int
) -> None:
    """The same over Redis."""
    asyncio.run(over_redis(redis_server, lambda store: race(store, groups, seed)))
