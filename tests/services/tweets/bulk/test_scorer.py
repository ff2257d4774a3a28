"""Bulk scoring with a small model and a real ledger: everything once, in order, in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augury.core.clock import ManualClock, SystemClock
from augury.core.errors import AuguryError, Overloaded, Unavailable, UpstreamFailed
from augury.core.request import InferRequest, InferResponse
from augury.services.tweets.bulk.batches import batches_of
from augury.services.tweets.bulk.checkpoints import (
    Checkpoint,
    Done,
    load_checkpoint,
    save_checkpoint,
)
from augury.services.tweets.bulk.patience import Patience
from augury.services.tweets.bulk.scorer import BulkScorer
from augury.services.tweets.ledger import Ledger
from augury.services.tweets.model import Tweet
from augury.services.tweets.records import PredictionRecord
from augury.services.tweets.sources.archive_files import ArchiveFault, Entry, Placed
from augury.stores.memory import MemoryStore
from tests.services.tweets import recount
from tests.services.tweets.conftest import NOW_S, LexiconPredictor

MOODS = ("good #news", "bad $btc", "just a train", "love this song #music", "awful, awful day")


def entries(count: int, first: int = 1) -> list[Entry]:
    """Tweets of seven authors."""
    return [
        Placed("t.jsonl", n, Tweet(id=n, text=f"{MOODS[n % 5]} {n}", author_id=100 + n % 7))
        for n in range(first, first + count)
    ]


async def until(condition: Callable[[], bool]) -> None:
    """Return once *condition* holds."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came so far")


class Run:
    """A scorer over a ledger in memory, and what one run told."""

    def __init__(self, store: Any = None, predictor: Any = None, **options: Any) -> None:
        self.clock = ManualClock(now_s=NOW_S)
        self.store = MemoryStore(clock=self.clock) if store is None else store
        self.ledger = Ledger(self.store, clock=self.clock)
        self.predictor = LexiconPredictor() if predictor is None else predictor
        self.done = Done()
        self.commits: list[int] = []
        self.stop = asyncio.Event()
        self.patience = Patience(options.pop("max_wait_s", 0.0), SystemClock(), **options)

    async def committed(self, done: Done, steps: int) -> None:
        self.commits.append(done.entries)

    async def score(self, batches: Any, size: int = 10) -> None:
        scorer = BulkScorer(
            self.predictor, self.ledger, model="mood", patience=self.patience, clock=self.clock
        )
        if isinstance(batches, list):
            batches = batches_of(iter(batches), size=size)
        await scorer.score(batches, self.done, self.committed, self.stop)

    async def records(self, count: int) -> list[PredictionRecord | None]:
        return await self.ledger.records(range(1, count + 1))

    async def assert_counted(self, count: int) -> None:
        """The first *count* tweets are written, and each is counted once everywhere."""
        records = [record for record in await self.records(count) if record is not None]
        assert len(records) == count
        want = recount.by_hand(records)
        assert await recount.as_told(self.ledger, want) == want


async def test_all_are_judged_written_and_counted_in_order() -> None:
    """Every tweet of every batch is in the ledger, and commits tell the position in the file."""
    run = Run()
    await run.score(entries(95))
    await run.assert_counted(95)
    assert run.commits == [10, 20, 30, 40, 50, 60, 70, 80, 90, 95]
    assert (run.done.scored, run.done.known, run.done.failed) == (95, 0, 0)
    (first,) = await run.records(1)
    assert first is not None
    assert (first.label, first.model, first.version) == ("negative", "mood", 1)


async def test_what_is_known_is_not_judged_again() -> None:
    """A second run asks the model nothing, and counts nothing."""
    run = Run()
    await run.score(entries(30))
    again = Run(run.store, run.predictor)
    await again.score(entries(40))
    assert run.predictor.rows_asked == 40
    assert (again.done.scored, again.done.known) == (10, 30)
    await again.assert_counted(40)


async def test_a_position_is_vouched_for_by_a_tweet_that_is_there() -> None:
    """Also where all that was read was known before."""
    run = Run()
    await run.score(entries(10))
    again = Run(run.store, run.predictor)
    await again.score(entries(10))
    assert again.done.scored == 0
    for one in (run, again):
        assert await one.ledger.record(one.done.last_id) is not None
    faulty = Run()
    await faulty.score([ArchiveFault("t.jsonl", 1, "no JSON")])
    assert faulty.done.last_id == 0


async def test_another_version_judges_anew() -> None:
    """A prediction of another model version is replaced, and still counted once."""
    run = Run()
    await run.score(entries(20))
    run.clock.advance(1)
    newer = Run(run.store, LexiconPredictor(version=2))
    newer.clock.advance(1)
    await newer.score(entries(20))
    assert newer.done.scored == 20
    assert {record.version for record in await newer.records(20) if record} == {2}
    await newer.assert_counted(20)


async def test_refused_and_faulty_entries_are_told_and_the_others_done() -> None:
    """Each fault has its file and line, and never its text."""
    rows = entries(9)
    rows[3] = Placed("t.jsonl", 4, Tweet(id=4, text="   "))
    rows[5] = ArchiveFault("t.jsonl", 6, "no JSON: it ends early")
    rows[7] = Placed("t.jsonl", 8, Tweet(id=8, text="secret \ud800"))
    run = Run()
    await run.score(rows)
    assert (run.done.scored, run.done.refused, run.done.faulty) == (6, 2, 1)
    assert [(fault.line, fault.message) for fault in run.done.faults] == [
        (4, "tweet 4: 'text' is empty; send some text"),
        (6, "no JSON: it ends early"),
        (8, "tweet 8: half of a surrogate pair, which is no text"),
    ]


async def test_a_tweet_that_stands_twice_counts_once() -> None:
    """Whether in one batch or in two that are judged at once."""
    run = Run()
    await run.score([*entries(10), *entries(10), *entries(5), *entries(5)], size=15)
    await run.assert_counted(10)


async def test_one_text_of_many_tweets_is_judged_once() -> None:
    """Retweets cost the model nothing, and get the same answer."""
    rows: list[Entry] = [Placed("t", n, Tweet(id=n, text="good")) for n in range(1, 11)]
    run = Run()
    await run.score(rows)
    assert run.predictor.rows_asked == 1
    assert {record.label for record in await run.records(10) if record} == {"positive"}


class Gated(LexiconPredictor):
    """Answers when it is told to, the latest question first."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[asyncio.Event] = []

    async def infer(self, request: InferRequest) -> InferResponse:
        gate = asyncio.Event()
        self.waiting.append(gate)
        await gate.wait()
        return await super().infer(request)


async def test_memory_is_bounded_and_the_order_kept() -> None:
    """Without an answer only a few batches are read; answers out of order are written in order."""
    taken = 0

    async def endless() -> AsyncGenerator[list[Entry], None]:
        nonlocal taken
        while taken < 20:
            taken += 1
            yield entries(5, first=5 * taken - 4)

    gated = Gated()
    run = Run(predictor=gated)
    task = asyncio.create_task(run.score(endless()))
    for _ in range(50):
        await asyncio.sleep(0)
    assert taken == 3
    while not task.done():
        if gated.waiting:
            gated.waiting.pop().set()
        await asyncio.sleep(0)
    await task
    assert run.commits == [5 * n for n in range(1, 21)]
    await run.assert_counted(100)


async def test_a_stop_finishes_what_is_under_way() -> None:
    """After a stop nothing is read any more, and what was read is written."""
    gated = Gated()
    run = Run(predictor=gated)
    task = asyncio.create_task(run.score(entries(200)))
    await until(lambda: len(gated.waiting) == 3)
    run.stop.set()
    while not task.done():
        while gated.waiting:
            gated.waiting.pop().set()
        await asyncio.sleep(0.001)
    await task
    assert run.done.entries in (30, 40)
    await run.assert_counted(run.done.entries)


async def test_a_stop_is_heard_while_a_batch_is_awaited() -> None:
    """Nobody has to sit X's rate limit out to leave."""

    async def slow() -> AsyncGenerator[list[Entry], None]:
        yield entries(5)
        await asyncio.sleep(900)
        yield entries(5)

    run = Run()
    task = asyncio.create_task(run.score(slow()))
    await until(lambda: bool(run.commits))
    run.stop.set()
    await asyncio.wait_for(task, 5)
    assert run.done.scored == 5


async def test_what_came_before_an_error_of_the_source_is_written() -> None:
    """A search that fails on its third page leaves two pages scored."""

    async def failing() -> AsyncGenerator[list[Entry], None]:
        yield entries(5)
        yield entries(5, first=6)
        raise UpstreamFailed("X answered 500")

    run = Run()
    with pytest.raises(UpstreamFailed):
        await run.score(failing())
    await run.assert_counted(10)


async def test_a_model_that_fails_as_a_whole_ends_the_run() -> None:
    """What is not the texts' fault is raised, so that no tweet is skipped for good."""

    class Full(LexiconPredictor):
        async def infer(self, request: InferRequest) -> InferResponse:
            response = await super().infer(request)
            if b"love this song #music 23" in request.inputs["text"]:
                response.errors[0] = Overloaded("4096 rows wait")
            return response

    run = Run(predictor=Full())
    with pytest.raises(Overloaded):
        await run.score(entries(50))
    assert run.done.entries <= 20
    await run.assert_counted(run.done.entries)


class Crashing:
    """A store that goes away for good at its *n*-th question, before or after doing it."""

    def __init__(self, store: MemoryStore, calls: int, *, after: bool) -> None:
        self._store = store
        self._left = calls
        self._after = after
        self.fault = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in ("scan", "close"):
            return method

        async def ask(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left < 0 or (self._left == 0 and not self._after):
                raise Unavailable("the store is gone")
            answer = await method(*args, **kwargs)
            if self._left == 0:
                raise Unavailable("the store is gone")
            return answer

        return ask


@settings(max_examples=60, deadline=None)
@given(crashes=st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=6))
async def test_however_often_it_dies_each_tweet_is_counted_once(
    crashes: Sequence[tuple[int, bool]],
) -> None:
    """Runs that die between any two questions to the store, and go on from their checkpoint."""
    clock = ManualClock(now_s=NOW_S)
    store = MemoryStore(clock=clock)

    async def attempt(through: Any) -> bool:
        run = Run(through)
        try:
            found = await load_checkpoint(through, "at")
            run.done = found.done if found else Done()

            async def committed(done: Done, steps: int) -> None:
                await save_checkpoint(through, "at", Checkpoint(identity="x", done=done))

            run.committed = committed  # type: ignore[method-assign]
            await run.score(batches_of(iter(entries(60)), size=7, skip=run.done.entries))
        except Unavailable:
            return False
        return True

    for calls, after in crashes:
        await attempt(Crashing(store, calls, after=after))
    assert await attempt(store)
    await Run(store).assert_counted(60)


class Away:
    """A store that is away for a while."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.away = False
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            if self.away:
                self.refused += 1
                raise Unavailable("cannot reach the store")
            return await method(*args, **kwargs)

        return ask


async def test_a_store_that_comes_back_costs_time_only() -> None:
    """Its absence and its return are told once, and nothing is missing in the end."""
    store = Away(MemoryStore(clock=ManualClock(now_s=NOW_S)))
    told: list[str] = []
    run = Run(
        store,
        max_wait_s=30.0,
        on_gone=told.append,
        on_back=lambda seconds: told.append("back"),
    )

    async def committed(done: Done, steps: int) -> None:
        run.commits.append(done.entries)
        if len(run.commits) == 2:
            store.away = True

    run.committed = committed  # type: ignore[method-assign]
    task = asyncio.create_task(run.score(entries(60)))
    await until(lambda: store.refused >= 4)
    store.away = False
    await asyncio.wait_for(task, 20)
    assert told == ["cannot reach the store", "back"]
    await run.assert_counted(60)


async def test_a_store_that_stays_away_ends_the_run() -> None:
    """After the agreed time the error says how long we waited."""
    store = Away(MemoryStore(clock=ManualClock(now_s=NOW_S)))
    store.away = True
    run = Run(store, max_wait_s=0.3)
    with pytest.raises(Unavailable, match=r"for 0\.3 s \(--store-wait\): cannot reach the store"):
        await asyncio.wait_for(run.score(entries(60)), 10)
    assert run.done.entries == 0


async def test_whoever_ends_the_waiting_gets_the_error() -> None:
    """Ctrl-C does not wait for a store."""
    store = Away(MemoryStore(clock=ManualClock(now_s=NOW_S)))
    store.away = True
    run = Run(store, max_wait_s=300.0)
    task = asyncio.create_task(run.score(entries(60)))
    await until(lambda: store.refused > 0)
    run.patience.end()
    with pytest.raises(AuguryError, match="was away"):
        await asyncio.wait_for(task, 5)
