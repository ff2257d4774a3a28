"""The inline path of ``augury.batching.scheduler``."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from augury.batching.cost import CostModel
from augury.batching.inline import InlineGate
from augury.batching.policies.base import BatchDone, Choice, Load
from augury.batching.queue import RowQueue
from augury.batching.scheduler import Scheduler, Work
from augury.core.cancellation import Cancellation
from augury.core.clock import ManualClock
from augury.core.errors import Refused, RuntimeFailed
from augury.core.tensor import Array, Columns, Ragged
from augury.observe.metrics import Metrics
from tests.batching.scheduling import Gate, Model, Outputs, scheduler_of, started, work


def columns(*values: float) -> Columns:
    return {"x": np.array(values, "f8").reshape(-1, 1)}


def always(max_rows: int = 64) -> InlineGate:
    return InlineGate(True, 0.0, max_rows)


async def test_rows_are_computed_where_they_stand() -> None:
    """The answer is there at once, read-only, and counted as inline."""
    metrics = Metrics()
    scheduler = scheduler_of(Model(), metrics, inline=always())
    scheduler.start(asyncio.get_running_loop())
    result = scheduler.try_inline(columns(1, 2), 2)
    assert result is not None
    assert result.outputs["y"].tolist() == [[2], [3]]
    assert result.queue_s == 0
    with pytest.raises(ValueError, match="read-only"):
        result.outputs["y"][0] = 5
    assert [one.reason for one in scheduler.journal.last()] == ["inline"]
    labels = {"model": "model", "version": "1"}
    value = metrics.registry.get_sample_value
    assert value("augury_batch_dispatch_total", {**labels, "reason": "inline"}) == 1
    assert value("augury_batch_rows_sum", labels) == 2
    assert value("augury_queue_seconds_count", labels) == 1
    await scheduler.close()


async def test_not_while_anything_is_under_way_or_waits() -> None:
    """Nobody overtakes, and a model is never run more often at once than it has instances."""
    gate = Gate()
    async with started(gate, inline=always()) as scheduler:
        works = [work(0), work(1)]
        scheduler.submit(works[:1])
        await gate.running()
        assert scheduler.try_inline(columns(5), 1) is None
        scheduler.submit(works[1:])
        assert scheduler.try_inline(columns(5), 1) is None
        gate.open.set()
        for one in works:
            await one.future
    assert scheduler.try_inline(columns(5), 1) is None  # closed


async def test_not_what_is_too_many_too_late_or_unmeasured() -> None:
    """It is submitted instead."""
    model, clock = Model(), ManualClock(10.0)
    async with started(model, clock=clock, inline=always(4)) as scheduler:
        assert scheduler.try_inline(columns(1, 2, 3, 4, 5), 5) is None
        assert scheduler.try_inline(columns(1), 1, 10.0) is None
        assert scheduler.try_inline(columns(1), 1, 10.1) is not None
    async with started(model) as scheduler:
        assert scheduler.try_inline(columns(1), 1) is None


async def test_rows_of_a_length_only_when_told_to() -> None:
    """What they cost depends on it."""

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        return {"y": inputs["ids"]}, {}

    ragged: Columns = {"ids": Ragged((np.array([1]), np.array([2, 3])), 0)}
    gate = InlineGate("auto", 1.0, 64)
    gate.rows = 64
    async with started(run, inline=gate) as scheduler:
        gate.rows = 64
        assert scheduler.try_inline(ragged, 2) is None
    async with started(run, inline=always()) as scheduler:
        result = scheduler.try_inline(ragged, 2)
    assert result is not None
    assert result.outputs["y"].tolist() == [[1, 0], [2, 3]]


async def test_a_lone_row_fails_as_it_would_elsewhere() -> None:
    """By the same error; of several rows the good ones are to be found out."""
    model = Model()
    async with started(model, inline=always()) as scheduler:
        with pytest.raises(RuntimeFailed, match="raised ValueError"):
            scheduler.try_inline(columns(-1), 1)
        assert scheduler.try_inline(columns(1, -1), 2) is None
        model.error = SystemExit(3)
        with pytest.raises(RuntimeFailed):
            scheduler.try_inline(columns(-1), 1)
        assert scheduler.try_inline(columns(1), 1) is not None
    assert scheduler.journal.totals().outcomes == {"failed": 3, "ok": 1}


@pytest.mark.parametrize("outputs", [{"y": np.zeros((2, 1))}, {"y": np.array(3.0)}, {"y": [1]}])
async def test_a_wrong_number_of_rows_reaches_nobody(outputs: Any) -> None:
    """Here neither."""
    async with started(lambda inputs, rows, cancel: (outputs, {}), inline=always()) as scheduler:
        with pytest.raises(RuntimeFailed):
            scheduler.try_inline(columns(1), 1)


async def test_refused_rows_are_told() -> None:
    """As the steps after the model say."""

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        return {"y": inputs["x"]}, {1: Refused("no")}

    async with started(run, inline=always()) as scheduler:
        result = scheduler.try_inline(columns(1, 2), 2)
    assert result is not None
    assert list(result.errors) == [1]


async def test_the_cost_model_learns() -> None:
    """A model computed inline alone becomes known, too."""
    async with started(Model(), inline=always()) as scheduler:
        for _ in range(3000):
            assert scheduler.try_inline(columns(1), 1) is not None
    assert scheduler.cost.known
    assert 0 < scheduler.cost.predict(1, 1) < 0.01


def cheap() -> CostModel:
    """A model that is computed inline, as far as anybody knows."""
    cost = CostModel()
    for _ in range(30):
        for rows in (1, 4, 16, 64):
            cost.observe(rows, 1, 1e-5 + rows * 1e-7)
    return cost


async def test_runs_that_fail_slowly_leave_the_event_loop() -> None:
    """They hold it up as those do that succeed."""
    clock, runs = ManualClock(10.0), 0

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        nonlocal runs
        runs += 1
        clock.advance(0.05)
        raise ValueError

    gate = InlineGate("auto", 1e-4, 64)
    async with started(run, clock=clock, cost=cheap(), inline=gate) as scheduler:
        assert gate.rows
        with pytest.raises(RuntimeFailed):
            scheduler.try_inline(columns(1), 1)
        assert scheduler.try_inline(columns(1), 1) is None
    assert runs == 1


async def test_larger_rows_than_were_measured_are_submitted() -> None:
    """A caller who may choose the size could hold up the loop."""
    gate = InlineGate("auto", 1.0, 64)
    gate.measured(columns(1), ["x"])
    async with started(Model(), cost=cheap(), inline=gate) as scheduler:
        assert scheduler.try_inline(columns(1), 1) is not None
        assert scheduler.try_inline({"x": np.zeros((1, 1000))}, 1) is None


class Peeking:
    """A policy that asks for an inline run at the worst moment: the queue is empty, nothing runs yet."""

    def __init__(self) -> None:
        self.scheduler: Scheduler | None = None
        self.inlined: list[object] = []

    def urgency(self, one: Work) -> float:
        return 0.0

    def admit(self, one: Work, queue: RowQueue[Work], load: Load, now_s: float) -> float | None:
        return None

    def choose(self, queue: RowQueue[Work], load: Load, now_s: float) -> Choice[Work]:
        batch = queue.window(64)
        queue.remove(batch)
        assert self.scheduler is not None
        self.inlined.append(self.scheduler.try_inline(columns(7), 1))
        return Choice(batch, "idle")

    def observed(self, batch: BatchDone) -> None:
        pass


async def test_nor_while_an_instance_chooses() -> None:
    """What it has taken out of the queue is about to run."""
    model, policy = Model(), Peeking()
    async with started(model, policy=policy, inline=always()) as scheduler:
        policy.scheduler = scheduler
        scheduler.submit([one := work(1)])
        await one.future
    assert policy.inlined == [None]
    assert model.batches == [[1]]


async def test_nor_when_the_queue_empties_as_it_is_looked_at() -> None:
    """Between two looks an instance may take what waits: busy is looked at last."""
    async with started(Model(), start=False, inline=always()) as scheduler:

        class Taken:
            """A queue whose last piece is taken just before it is looked at."""

            @property
            def rows(self) -> int:
                scheduler._free_at_s[0] = 1.0
                return 0

            def clear(self) -> list[Work]:
                return []

        queue: Any = Taken()
        scheduler._queue = queue
        assert scheduler.try_inline(columns(1), 1) is None
