"""Batches that nobody wants any more are stopped: ``augury.batching.watch`` and the scheduler."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augury.batching.cost import CostModel
from augury.batching.scheduler import Scheduler, Work
from augury.core.cancellation import Cancellation, RunCancelled
from augury.core.clock import ManualClock
from augury.core.errors import DeadlineExceeded, Overloaded
from augury.core.tensor import Array
from augury.observe.metrics import Metrics
from augury.runtimes.base import RuntimeOptions
from augury.runtimes.onnx import OnnxRuntime
from tests.batching.scheduling import Gate, Outputs, outcome, scheduler_of, started, work
from tests.models import write_spin

# Some ten seconds of products of matrices.
LONG = 500_000


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntime:
    folder: Path = write_spin(tmp_path_factory.mktemp("repository"))
    return OnnxRuntime(folder / "1" / "model.onnx", RuntimeOptions(threads=1, instances=1))


def spin(turns: int, deadline_s: float | None = None) -> Work:
    future = asyncio.get_running_loop().create_future()
    return Work({"turns": np.array([[turns]], np.int64)}, 1, future, deadline_s)


def running(runtime: OnnxRuntime) -> Any:
    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        return runtime.run(inputs, cancel), {}

    return run


class Slowed:
    """Takes 8 ms a batch and 1 ms a row, so many times; can be stopped."""

    def __init__(self, times: float) -> None:
        self.times = times
        self.stopped = 0

    def __call__(
        self, inputs: dict[str, Array], rows: int, cancel: Cancellation | None = None
    ) -> Outputs:
        until_s = time.monotonic() + self.times * (0.008 + 0.001 * rows)
        while time.monotonic() < until_s:
            time.sleep(0.001)
            if cancel is not None and cancel.cancelled:
                self.stopped += 1
                raise RunCancelled
        return {"y": inputs["x"] + 1}, {}


def watched(scheduler: Scheduler) -> bool:
    return scheduler._watch._timer is not None


async def until(happens: Any, patience_s: float = 20.0) -> float:
    """Seconds until it does."""
    started_s = time.monotonic()
    while not happens():
        assert time.monotonic() - started_s < patience_s
        await asyncio.sleep(0.005)
    return time.monotonic() - started_s


async def test_the_core_is_free_soon_after_the_client_has_gone(runtime: OnnxRuntime) -> None:
    """Seconds before the model would have ended; nobody is told of a failure."""
    metrics = Metrics()
    scheduler = scheduler_of(running(runtime), metrics)
    scheduler.start(asyncio.get_running_loop())
    scheduler.submit([one := spin(LONG)])
    await until(lambda: scheduler._executions[0].under_way is not None)
    await asyncio.sleep(0.1)
    one.future.cancel()
    assert await until(lambda: not scheduler._free_at_s) < 2
    cpu_s = time.process_time()
    await asyncio.sleep(0.3)
    assert time.process_time() - cpu_s < 0.15
    scheduler.submit([two := spin(5)])
    assert (await two.future).outputs["done"].tolist() == [[5]]
    totals = scheduler.journal.totals()
    assert totals.outcomes == {"cancelled": 1, "ok": 1}
    assert totals.shed == {"cancelled": 1}
    labels = {"model": "model", "version": "1", "reason": "cancelled"}
    assert metrics.registry.get_sample_value("augury_shed_total", labels) == 1
    await scheduler.close()
    assert scheduler.cost.observations == 2  # the first took at least that


async def test_a_model_that_has_become_slow_is_found_out() -> None:
    """Six times slower, so that batches as long as the deadline allows are stopped one after the other:
    they tell it, and a moment later rows are answered that have time enough for one.
    """
    cost = CostModel()
    for _ in range(30):
        for rows in (1, 4, 16, 64):
            cost.observe(rows, 1, 0.008 + 0.001 * rows)
    model = Slowed(6.0)
    async with started(model, cost=cost) as scheduler:
        for _ in range(3):
            works = [work(n, deadline_s=time.monotonic() + 0.1) for n in range(40)]
            scheduler.submit(works)
            await asyncio.gather(*[outcome(one) for one in works])
            await until(lambda: not scheduler._free_at_s)
        assert model.stopped == 3
        assert cost.predict(1, 1) > 0.018
        found: list[Any] = []
        for _ in range(10):
            with suppress(Overloaded):
                scheduler.submit([one := work(1, deadline_s=time.monotonic() + 0.2)])
                found.append(await outcome(one))
        assert [2.0] in found


async def test_a_batch_past_its_deadline_is_stopped(runtime: OnnxRuntime) -> None:
    """Whoever still waits is told, and it is not tried again in parts."""
    async with started(running(runtime)) as scheduler:
        now_s = time.monotonic()
        works = [spin(LONG, now_s + 0.3), spin(LONG, now_s + 0.2)]
        scheduler.submit(works)
        for one in works:
            with pytest.raises(DeadlineExceeded, match=r"while model/1 computed; .* was stopped"):
                await one.future
        assert await until(lambda: not scheduler._free_at_s) < 2
    assert [one.outcome for one in scheduler.journal.last()] == ["cancelled"]


async def test_one_who_waits_keeps_the_batch_alive() -> None:
    """It is computed to its end for whoever is left."""
    gate, clock = Gate(), ManualClock(10.0)
    async with started(gate, clock=clock) as scheduler:
        works = [work(1), work(2, deadline_s=11.0), work(3)]
        scheduler.submit(works)
        await gate.running()
        works[0].future.cancel()
        clock.advance(5.0)
        await asyncio.sleep(0.1)
        assert not works[1].future.done()
        gate.open.set()
        assert await outcome(works[2]) == [4.0]


async def test_a_deadline_put_off_while_it_runs_counts() -> None:
    """Somebody with more time has joined."""
    gate, clock = Gate(), ManualClock(10.0)
    async with started(gate, clock=clock) as scheduler:
        scheduler.submit([one := work(1, deadline_s=11.0)])
        await gate.running()
        one.put_off(None)
        clock.advance(5.0)
        await asyncio.sleep(0.1)
        gate.open.set()
        assert await outcome(one) == [2.0]


async def test_a_runtime_that_cannot_stop_finishes() -> None:
    """In vain, but nothing breaks."""
    gate = Gate()
    async with started(gate) as scheduler:
        scheduler.submit([one := work(1)])
        await gate.running()
        one.future.cancel()
        await asyncio.sleep(0.1)
        scheduler.submit([two := work(2)])
        gate.open.set()
        assert await outcome(two) == [3.0]
    assert scheduler.journal.totals().shed == {"cancelled": 1}


async def test_nothing_is_watched_while_nothing_is_under_way() -> None:
    """The timer ends with the work."""
    gate = Gate()
    async with started(gate) as scheduler:
        scheduler.submit([one := work(1)])
        await gate.running()
        assert watched(scheduler)
        gate.open.set()
        await one.future
        await until(lambda: not watched(scheduler))
        scheduler.submit([one := work(1)])
        await one.future
        await until(lambda: not watched(scheduler))


async def test_a_slow_batch_of_a_quick_model_is_stopped(runtime: OnnxRuntime) -> None:
    """However quick those before it were."""
    async with started(running(runtime)) as scheduler:
        for _ in range(40):
            scheduler.submit([one := spin(1)])
            await one.future
        await until(lambda: not watched(scheduler))
        scheduler.submit([one := spin(LONG)])
        await until(lambda: scheduler._executions[0].under_way is not None)
        one.future.cancel()
        assert await until(lambda: not scheduler._free_at_s) < 2
    assert scheduler.journal.totals().outcomes == {"ok": 40, "cancelled": 1}


async def test_stopped_at_its_last_row_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A piece of work whose rows are computed one by one, and whose client goes at one of them."""
    entered, rows_seen = threading.Semaphore(0), []

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        rows_seen.append(rows)
        if rows > 1:
            raise ValueError
        entered.release()
        assert cancel is not None
        for _ in range(4000):
            cancel.check()
            time.sleep(0.005)
        raise AssertionError

    async with started(run) as scheduler:
        scheduler.submit([one := work(1, 2)])
        assert await asyncio.to_thread(entered.acquire, timeout=20)
        caplog.clear()
        one.future.cancel()
        await until(lambda: not scheduler._free_at_s)
    assert caplog.text == ""
    assert rows_seen == [2, 1]
    assert scheduler.journal.totals().shed == {"cancelled": 1}
    assert scheduler.journal.totals().outcomes == {"failed": 1, "cancelled": 1}


async def test_no_cpu_while_idle() -> None:
    """Instances sleep until something comes."""
    async with started(Gate(), instances=4):
        await asyncio.sleep(0.05)
        cpu_s = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - cpu_s < 0.05
