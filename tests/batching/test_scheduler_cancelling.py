"""Batches that nobody wants any more are stopped: ``augury.batching.watch`` and the scheduler."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augury.batching.scheduler import Scheduler, Work
from augury.core.cancellation import Cancellation
from augury.core.clock import ManualClock
from augury.core.errors import DeadlineExceeded
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
    """Seconds before the model would have ended; nobody is told of a failure, nothing is learnt."""
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
    assert scheduler.cost.observations == 1


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
    """The timer ends with the work, and models of quick batches have none."""
    gate = Gate()
    async with started(gate) as scheduler:
        scheduler.submit([one := work(1)])
        await gate.running()
        assert watched(scheduler)
        gate.open.set()
        await one.future
        await until(lambda: not watched(scheduler))
        for value in range(40):
            scheduler.submit([one := work(value)])
            await one.future
        await until(lambda: not watched(scheduler))
        scheduler.submit([one := work(1)])
        assert not watched(scheduler)
        await one.future


async def test_no_cpu_while_idle() -> None:
    """Instances sleep until something comes."""
    async with started(Gate(), instances=4):
        await asyncio.sleep(0.05)
        cpu_s = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - cpu_s < 0.05
