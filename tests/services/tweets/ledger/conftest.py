"""Ledgers over real stores, a recount in plain Python, and a way to look at all tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import Unavailable
from augury.services.tweets.ledger import Ledger, LedgerStore, tables
from augury.services.tweets.ledger.contributions import Ranks, Sums, contributions
from augury.services.tweets.ledger.generations import GENERATIONS_KEY, decode_generations
from augury.services.tweets.records import PredictionRecord
from augury.services.tweets.topics import topics_of
from augury.stores.base import Change, TallyStore
from augury.stores.memory import MemoryStore
from augury.stores.sqlite import SqliteStore
from tests.services.tweets.conftest import NOW_S

LABELS = ("negative", "neutral", "positive")
AT = datetime(2018, 10, 10, 20, 19, 24, tzinfo=UTC)


def predicted(
    tweet_id: int = 7,
    *,
    at_s: float = NOW_S,
    label: str = "positive",
    text: str = "Good #night",
    author_id: int | None = 42,
    username: str | None = "Ada",
    created_at: datetime | None = AT,
    version: int = 1,
    scores: dict[str, float] | None = None,
) -> PredictionRecord:
    """A record of one label with a score of 0.8."""
    return PredictionRecord(
        tweet_id=tweet_id,
        text=text,
        author_id=author_id,
        username=username,
        author_name=username and username.title(),
        label=label,
        scores=scores or {name: 0.8 if name == label else 0.1 for name in LABELS},
        created_at=created_at,
        model="tweet-sentiment",
        version=version,
        predicted_at=datetime.fromtimestamp(at_s, UTC),
    )


def recount(records: Iterable[PredictionRecord]) -> tuple[Sums, Ranks]:
    """The tables of generation 0 that *records* add up to, in the plainest way."""
    sums: Sums = {}
    ranks: Ranks = {}
    for record in records:
        more_sums, more_ranks = contributions(record, topics_of(record.text), 0)
        for table, vectors in more_sums.items():
            for member, vector in vectors.items():
                before = sums.setdefault(table, {}).get(member, (0,) * len(vector))
                sums[table][member] = tuple(map(sum, zip(before, vector, strict=True)))
        for table, members in more_ranks.items():
            for member, rank in members.items():
                ranks.setdefault(table, {})
                ranks[table][member] = ranks[table].get(member, 0) + rank
    return sums, ranks


async def tables_of(store: TallyStore, names: tuple[Sums, Ranks], generation: int) -> Any:
    """What *store* holds in the tables of *generation* that are called like *names*.

    In the shape of :func:`recount`: generation 0, vectors without trailing zeros filled up.
    """
    sums: Sums = {}
    for table, members in names[0].items():
        vectors = await store.sums(renamed(table, generation))
        sums[table] = {
            member: (*vector, *(0,) * (len(members.get(member, ())) - len(vector)))
            for member, vector in vectors.items()
        }
    ranks: Ranks = {}
    for table in names[1]:
        ranks[table] = dict(await store.top(renamed(table, generation), limit=10_000))
    return (
        {table: members for table, members in sums.items() if members},
        {table: members for table, members in ranks.items() if members},
    )


def renamed(table: str, generation: int) -> str:
    """The table of *generation* that is called like one of generation 0."""
    return tables.generation_prefix(generation) + table.removeprefix(tables.generation_prefix(0))


class Spoiled:
    """A store whose commits are cut off: half-way, or done but not answered.

    Args:
        store: Does the work.
    """

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self.spoil: list[str] = []
        self.before_commit: Callable[[], Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, changes: Sequence[Change]) -> list[bool]:
        how = self.spoil.pop(0) if self.spoil else ""
        if self.before_commit is not None:
            hook, self.before_commit = self.before_commit, None
            await hook()
        if how == "lost":
            raise Unavailable("the connection was cut before the commit")
        if how == "half":
            await self._store.commit(changes[: len(changes) // 2])
            raise Unavailable("the connection was cut in the middle of the commit")
        done = await self._store.commit(changes)
        if how == "unanswered":
            raise Unavailable("the connection was cut after the commit")
        return done


@asynccontextmanager
async def opened_store(kind: str, folder: Path, clock: ManualClock) -> AsyncIterator[LedgerStore]:
    """A fresh store of one kind."""
    if kind == "memory":
        async with MemoryStore(clock=clock) as store:
            yield store
        return
    async with await SqliteStore.open(
        folder / "ledger.sqlite3", clock=clock, on_corrupt=lambda kept, why: None
    ) as file:
        yield file


async def generation_of(store: LedgerStore) -> tuple[int, int]:
    """The generations that are read and written."""
    value = await store.get(GENERATIONS_KEY)
    state = value and decode_generations(value)
    assert state
    return state.read, state.write


async def check(ledger: Ledger, expected: Sequence[PredictionRecord], ids: Iterable[int]) -> None:
    """Records and tables are what *expected* adds up to, in every generation that is filled."""
    ids = sorted(ids)
    held = {record.tweet_id: record for record in expected}
    assert await ledger.records(ids) == [held.get(one) for one in ids]
    wanted = recount(expected)
    # Also the tables that should be empty: those of every tweet that ever was.
    for generation in {*(await generation_of(ledger.store))}:
        assert await tables_of(ledger.store, wanted, generation) == wanted


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_S)


@pytest.fixture(params=["memory", "sqlite"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[LedgerStore]:
    async with opened_store(request.param, tmp_path, clock) as store:
        yield store


@pytest.fixture
def ledger(store: LedgerStore, clock: ManualClock) -> Ledger:
    return Ledger(store, clock=clock)


def run(work: Any) -> Any:
    """Run a coroutine to its end."""
    return asyncio.run(work)
