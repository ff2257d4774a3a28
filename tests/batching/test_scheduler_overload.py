"""Who is turned away by ``augury.batching.scheduler``, who is dropped, and what is told of it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from augury.batching.budget import CpuBudget
from augury.batching.cost import CostModel
from augury.batching.policies.base import BatchDone, Choice, Load, PolicyContext
from augury.batching.policies.registry import make_policy
from augury.batching.queue import RowQueue
from augury.batching.scheduler import Work
from augury.batching.waiting_room import MOST_REFUSALS
from augury.core.clock import ManualClock, SystemClock
from augury.core.errors import DeadlineExceeded, Overloaded, RuntimeFailed
from augury.core.request import Priority
from augury.observe.metrics import Metrics
from augury.packages.manifest import BatchingTable
from tests.batching.scheduling import Gate, Model, outcome, scheduler_of, started, work


def known_cost(batch_s: float = 0.0, row_s: float = 0.1) -> CostModel:
    """A model that takes so long for each batch and each row."""
    cost = CostModel()
    for _ in range(20):
        for rows in (1, 2, 4, 8):
            cost.observe(rows, 1, batch_s + row_s * rows)
    return cost


async def test_what_cannot_be_in_time_is_refused_at_once() -> None:
    """With the rows that wait, the time left and a hint from the estimate; nothing of it is computed.
    Other pieces of the same request are.
    """
    gate, clock = Gate(), ManualClock(100.0)
    async with started(gate, cost=known_cost(), clock=clock) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        scheduler.submit([work(n, deadline_s=110.0) for n in range(1, 11)])
        with pytest.raises(
            Overloaded, match=r"10 rows wait for model/1: too much for an answer within the 0\.15 s"
        ) as raised:
            scheduler.submit([late := work(21, deadline_s=100.15)])
        told = raised.value.details
        assert told["waiting_rows"] == 10
        assert told["deadline_in_s"] == 0.15
        assert told["retry_after_s"] > 0
        assert told["predicted_s"] > 0.15
        assert not late.future.done()
        scheduler.submit([good := work(20, deadline_s=115.0), late])
        assert isinstance(late.future.exception(), Overloaded)
        assert scheduler.waiting_rows == 11
        gate.open.set()
        assert await outcome(good) == [21.0]
    assert 21.0 not in [value for batch in gate.batches for value in batch]
    assert scheduler.journal.totals().shed == {"admission": 2}


async def test_who_comes_too_late_is_turned_away_before_anything_is_done() -> None:
    """Even the shortest row could not be in time; with more patience, or while nothing waits, it may be."""
    gate, clock = Gate(), ManualClock(100.0)
    async with started(gate, cost=known_cost(), clock=clock) as scheduler:
        scheduler.turn_away(100.15, Priority.NORMAL)
        scheduler.submit([work(0)])
        await gate.running()
        scheduler.submit([work(n, deadline_s=110.0) for n in range(1, 11)])
        with pytest.raises(Overloaded, match="10 rows wait for model/1"):
            scheduler.turn_away(100.15, Priority.LOW)
        scheduler.turn_away(115.0, Priority.LOW)
        scheduler.turn_away(None, Priority.LOW)
        gate.open.set()
    assert scheduler.journal.totals().shed == {"admission": 1}


async def test_a_request_of_which_nothing_can_be_in_time_is_soon_refused() -> None:
    """A few of its pieces are asked for, and the others are not."""

    class Full(Waits):
        asked = 0

        def admit(self, one: Work, queue: RowQueue[Work], load: Load, now_s: float) -> float | None:
            self.asked += 1
            return 3.0 if one.rows == 1 else None

    policy = Full()
    async with started(Gate(), policy=policy) as scheduler:
        with pytest.raises(Overloaded):
            scheduler.submit([work(n, deadline_s=1e9) for n in range(500)])
        assert policy.asked == MOST_REFUSALS
        few = [work(n) for n in range(3)]
        scheduler.submit([work(1, 2), *few])
        assert [type(one.future.exception()) for one in few] == [Overloaded] * 3
        assert scheduler.journal.totals().shed == {"admission": 503}


async def test_what_takes_longer_than_it_may_is_told_so() -> None:
    """Not that others wait, nor when to ask again, since that would not help."""
    clock = ManualClock(100.0)
    async with started(Gate(), cost=known_cost(), clock=clock) as scheduler:
        scheduler.submit([work(1, deadline_s=100.05)])  # tried all the same
        with pytest.raises(
            Overloaded,
            match=r"model/1 takes about 0\.1\d* s for this, which makes no answer within the 0\.05 s",
        ) as raised:
            scheduler.submit([work(2, deadline_s=100.05)])
    assert raised.value.retry_after_s is None
    assert 0.09 < raised.value.details["predicted_s"] < 0.2


async def test_the_loop_s_lag_counts() -> None:
    """Answers that the event loop was late to fetch tell how late it will be with the next ones."""
    async with started(Model(), cost=known_cost(0.001, 0.001)) as scheduler:
        for value in range(8):
            scheduler.submit([one := work(value)])
            time.sleep(0.05)  # noqa: ASYNC251 - a loop that is busy with something else
            assert await outcome(one) == [value + 1.0]
        with pytest.raises(Overloaded, match=r"and the server is 0\.0\d+ s behind"):
            scheduler.submit([work(1, deadline_s=time.monotonic() + 0.05)])
        await asyncio.sleep(0.5)
        scheduler.submit([one := work(1, deadline_s=time.monotonic() + 0.5)])
        assert await outcome(one) == [2.0]


async def test_higher_priority_takes_the_place_of_lower() -> None:
    """A full queue sheds bulk work first, its callers are told, and equals refuse each other."""
    gate = Gate()
    async with started(gate, max_queue_rows=4) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        bulk = [work(n, priority=Priority.LOW) for n in range(1, 5)]
        scheduler.submit(bulk)
        with pytest.raises(Overloaded):
            scheduler.submit([work(5, priority=Priority.LOW)])
        urgent = [work(6), work(7)]
        scheduler.submit(urgent)
        assert scheduler.waiting_rows == 4
        told = [one for one in bulk if one.future.done()]
        assert len(told) == 2
        for one in told:
            error = one.future.exception()
            assert isinstance(error, Overloaded)
            assert "more urgent work came" in error.message
            assert error.retry_after_s is not None
        with pytest.raises(Overloaded):
            scheduler.submit([work(n) for n in range(10, 14)])
        gate.open.set()
        assert [await outcome(one) for one in urgent] == [[7.0], [8.0]]
    assert scheduler.journal.totals().shed == {"queue_full": 5, "evicted": 2}


async def test_urgent_work_overtakes() -> None:
    """High before normal before low, and within one priority by deadline."""
    gate = Gate()
    async with started(gate, max_rows=1, table=BatchingTable(ageing_s=5)) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        works = [
            work(1, priority=Priority.LOW),
            work(2),
            work(3, priority=Priority.HIGH),
        ]
        scheduler.submit(works)
        gate.open.set()
        await asyncio.gather(*[outcome(one) for one in works])
    assert gate.batches == [[0], [3], [2], [1]]


async def test_a_deadline_that_is_put_off_counts() -> None:
    """A second caller who has more time keeps the row alive."""
    gate, clock = Gate(), ManualClock(10.0)
    async with started(gate, clock=clock) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        scheduler.submit([one := work(1, deadline_s=11.0), two := work(2, deadline_s=11.0)])
        one.put_off(20.0)
        two.put_off(10.5)  # never earlier
        assert (one.deadline_s, two.deadline_s) == (20.0, 11.0)
        two.put_off(None)
        assert two.deadline_s is None
        two.put_off(5.0)
        assert two.deadline_s is None
        clock.advance(2.0)
        gate.open.set()
        assert await outcome(one) == [2.0]
        assert await outcome(two) == [3.0]


async def test_those_for_whom_there_is_no_time_are_counted() -> None:
    """Late ones and vanished ones apart, in metrics and journal."""
    gate, clock, metrics = Gate(), ManualClock(10.0), Metrics()
    scheduler = scheduler_of(gate, metrics, clock=clock)
    scheduler.start(asyncio.get_running_loop())
    scheduler.submit([work(0)])
    await gate.running()
    late, left = work(1, deadline_s=11.0), work(5, deadline_s=11.5)
    gone = [work(2), work(3, deadline_s=60.0)]
    scheduler.submit([late, left, *gone, last := work(4)])
    clock.advance(2.0)
    for one in (left, *gone):  # the first as a request does whose time is up
        one.future.cancel()
    gate.open.set()
    assert await outcome(late) is DeadlineExceeded
    assert await outcome(last) == [5.0]
    await scheduler.close()
    for reason, pieces in {"expired": 2, "abandoned": 2}.items():
        labels = {"model": "model", "version": "1", "reason": reason}
        assert metrics.registry.get_sample_value("augury_shed_total", labels) == pieces
    assert scheduler.journal.totals().shed == {"expired": 2, "abandoned": 2}


async def test_hopeless_work_is_told_the_estimate() -> None:
    """It was let in, but waited too long to be in time now."""
    gate, clock = Gate(), ManualClock(10.0)
    async with started(gate, clock=clock, cost=known_cost(0.0, 0.2)) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        scheduler.submit([one := work(1, deadline_s=11.0)])
        clock.advance(0.9)
        gate.open.set()
        with pytest.raises(DeadlineExceeded, match=r"takes about 0\.2 s .* 0\.1 s were left"):
            await one.future
    assert scheduler.journal.totals().shed == {"hopeless": 1}


class Waits:
    """A policy that waits for three pieces of work, or for ever."""

    def urgency(self, one: Work) -> float:
        return one.enqueued_s

    def admit(self, one: Work, queue: RowQueue[Work], load: Load, now_s: float) -> float | None:
        return None

    def choose(self, queue: RowQueue[Work], load: Load, now_s: float) -> Choice[Work]:
        if len(queue) < 3:
            return Choice([])
        batch = queue.window(3)
        queue.remove(batch)
        return Choice(batch, "full")

    def observed(self, batch: BatchDone) -> None:
        assert batch.rows


async def test_a_policy_may_wait() -> None:
    """Each newcomer makes it look again; at the end nothing waits any longer."""
    model = Model()
    async with started(model, policy=Waits(), instances=2) as scheduler:
        works = [work(n) for n in range(5)]
        for one in works:
            scheduler.submit([one])
            await asyncio.sleep(0.01)
        assert [await outcome(one) for one in works[:3]] == [[1.0], [2.0], [3.0]]
        assert not works[3].future.done()
    assert [one.future.result().outputs["y"][0, 0] for one in works[3:]] == [4, 5]
    assert model.batches == [[0, 1, 2], [3, 4]]
    assert [one.reason for one in scheduler.journal.last()] == ["drain", "full"]


async def test_a_timer_releases_what_waits() -> None:
    """The policy says when to look again, and nobody has to come."""
    model = Model()
    table = BatchingTable(policy="fixed", timeout_s=0.05)
    async with started(model, table=table, instances=2) as scheduler:
        works = [work(1), work(2)]
        scheduler.submit(works)
        assert [await outcome(one) for one in works] == [[2.0], [3.0]]
    assert model.batches == [[1, 2]]
    assert [one.reason for one in scheduler.journal.last()] == ["timeout"]


class Broken(Waits):
    """A policy with a bug in each of its answers."""

    def choose(self, queue: RowQueue[Work], load: Load, now_s: float) -> Choice[Work]:
        raise ZeroDivisionError

    def observed(self, batch: BatchDone) -> None:
        raise ZeroDivisionError


async def test_a_broken_policy_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    """What waits goes as it came, and the log says so once."""
    async with started(Model(), policy=Broken()) as scheduler:
        for value in range(3):
            scheduler.submit([one := work(value)])
            assert await outcome(one) == [value + 1.0]
    assert caplog.text.count("batching policy failed") == 1


class Careless(Waits):
    """A policy that takes work out of the queue and then answers something else than it has taken."""

    def __init__(self, how: str) -> None:
        self.how = how

    def choose(self, queue: RowQueue[Work], load: Load, now_s: float) -> Choice[Work]:
        batch = queue.window(64)
        strange: dict[str, Any] = {
            "nothing": None,
            "no batch": Choice(None),  # type: ignore[arg-type]
            "lost": Choice(batch[1:]),
            "twice": Choice(batch),
            "not hopeless": Choice(batch, hopeless=None),  # type: ignore[arg-type]
        }
        if self.how != "twice":
            queue.remove(batch)
        if self.how == "raises":
            raise ZeroDivisionError
        choice: Choice[Work] = strange[self.how]
        return choice


@pytest.mark.parametrize("how", ["raises", "nothing", "no batch", "lost", "twice", "not hopeless"])
async def test_a_careless_policy_loses_nobody(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """What it took and did not answer for waits again, and its instance lives on."""
    gate = Gate()
    async with started(gate, policy=Careless(how)) as scheduler:
        works = [work(0)]
        scheduler.submit(works)
        await gate.running()
        works += [work(1, 2), work(3)]
        scheduler.submit(works[1:])
        gate.open.set()
        assert [await outcome(one) for one in works] == [[1.0], [2.0, 3.0], [4.0]]
        assert all(thread.is_alive() for thread in scheduler._threads)
    assert sum(map(len, gate.batches)) == 4
    assert caplog.text.count("batching policy failed") == 1


async def test_whatever_breaks_around_a_batch_its_instance_and_cores_live_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who waited is told, and the cores are given back for the others."""
    budget = CpuBudget(1, SystemClock())

    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError

    async with (
        started(Model(), budget=budget) as scheduler,
        started(Model(), budget=budget) as other,
    ):
        with monkeypatch.context() as patched:
            patched.setattr(scheduler._room, "call_next", broken)
            scheduler.submit([one := work(1)])
            assert await outcome(one) is RuntimeFailed
        with monkeypatch.context() as patched:
            patched.setattr(scheduler._room, "learn", broken)
            scheduler.submit([one := work(2)])
            assert await outcome(one) == [3.0]
            while scheduler._free_at_s:  # noqa: ASYNC110 - the instance says nothing else
                await asyncio.sleep(0.001)
        for each in (scheduler, other):
            each.submit([one := work(3)])
            assert await outcome(one) == [4.0]


async def test_a_policy_that_fails_as_work_comes_takes_none_of_it() -> None:
    """All or none, whatever happens."""

    class Picky(Waits):
        def urgency(self, one: Work) -> float:
            if one.rows == 2:
                raise ZeroDivisionError
            return 0.0

    async with started(Model(), policy=Picky()) as scheduler:
        with pytest.raises(ZeroDivisionError):
            scheduler.submit([work(1), work(2, 3)])
        assert scheduler.waiting_rows == 0


async def test_the_journal_tells_why() -> None:
    """Reason, rows, what was predicted and what it took, for each batch."""
    cost = known_cost(0.001, 0.001)
    policy: Any = make_policy(PolicyContext(BatchingTable(), 4, cost))
    gate, metrics = Gate(), Metrics()
    scheduler = scheduler_of(gate, metrics, cost=cost, policy=policy, max_rows=4)
    scheduler.start(asyncio.get_running_loop())
    works = [work(0)]
    scheduler.submit(works)
    await gate.running()
    works += [work(n) for n in range(1, 6)]
    scheduler.submit(works[1:])
    gate.open.set()
    await asyncio.gather(*[outcome(one) for one in works])
    told = scheduler.journal.last()
    assert [(one.rows, one.pieces, one.outcome) for one in told] == [
        (1, 1, "ok"), (4, 4, "ok"), (1, 1, "ok")
    ]  # fmt: skip
    assert told[1].reason == "full"
    assert told[1].predicted_s > 0
    assert told[1].tail_s >= told[1].predicted_s
    assert told[1].queue_s > 0
    labels = {"model": "model", "version": "1"}
    value = metrics.registry.get_sample_value
    assert value("augury_batch_dispatch_total", {**labels, "reason": "full"}) == 1
    assert value("augury_batch_predicted_seconds_count", labels) == 3
    await scheduler.close()


async def test_a_failing_batch_is_counted_with_its_parts() -> None:
    """One that failed, and its parts as retries."""
    gate = Gate()
    async with started(gate) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        works = [work(-1 if n == 37 else n) for n in range(64)]
        scheduler.submit(works)
        gate.open.set()
        await asyncio.gather(*[outcome(one) for one in works])
    totals = scheduler.journal.totals()
    # Halved six times: two runs for each, one of which fails.
    assert totals.dispatches["retry"] == 12
    assert totals.outcomes == {"ok": 7, "failed": 7}


async def test_the_late_are_left_out_of_retries() -> None:
    """Their deadline passed while the first run failed: they are told, and cost no further run."""
    clock = ManualClock(10.0)

    class Slow(Model):
        def __call__(self, *arguments: Any) -> Any:
            clock.advance(1.0)
            return super().__call__(*arguments)

    model = Slow()
    async with started(model, clock=clock) as scheduler:
        works = [work(-1), work(2), work(3, deadline_s=10.5), work(4, 5, deadline_s=10.5)]
        scheduler.submit(works)
        assert [await outcome(one) for one in works] == [
            RuntimeFailed,
            [3.0], DeadlineExceeded, DeadlineExceeded
        ]  # fmt: skip
    assert model.batches == [[-1, 2, 3, 4, 5], [-1, 2], [-1], [2]]
    assert scheduler.journal.totals().shed == {"expired": 2}


async def test_a_late_piece_of_many_rows_is_not_searched_to_its_end() -> None:
    """Its rows are of no use any more."""
    clock = ManualClock(10.0)

    class Slow(Model):
        def __call__(self, *arguments: Any) -> Any:
            clock.advance(1.0)
            return super().__call__(*arguments)

    model = Slow()
    async with started(model, clock=clock) as scheduler:
        one = work(*range(1, 9), -1, deadline_s=12.5)
        scheduler.submit([one])
        assert await outcome(one) is DeadlineExceeded
    assert len(model.batches) == 3
