"""Tests of ``augury.batching.scheduler``, with real threads and no model but a function."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import numpy as np
import pytest

from augury.batching.scheduler import RowErrors, Scheduler, Work, WorkResult
from augury.core.cancellation import Cancellation
from augury.core.clock import ManualClock
from augury.core.errors import (
    DeadlineExceeded,
    InvalidInput,
    Overloaded,
    Refused,
    RuntimeFailed,
    Unavailable,
)
from augury.core.tensor import Array, Ragged
from augury.observe.metrics import Metrics
from tests.batching.scheduling import Gate, Model, Outputs, outcome, scheduler_of, started, work


async def test_rows_come_back() -> None:
    """As a result with its times."""
    async with started(Model()) as scheduler:
        one = work(1, 2)
        scheduler.submit([one])
        result = await one.future
    assert result.outputs["y"].tolist() == [[2], [3]]
    assert result.errors == {}
    assert result.queue_s >= 0
    assert result.runtime_s >= 0


async def test_a_batch_grows_while_the_instance_is_busy() -> None:
    """Late binding: what came meanwhile goes together, up to the limit, in order."""
    gate = Gate()
    async with started(gate, max_rows=4) as scheduler:
        works = [work(0)]
        scheduler.submit(works)
        await gate.running()
        for value in range(1, 7):
            works.append(work(value))
            scheduler.submit(works[-1:])
        gate.open.set()
        assert [await outcome(one) for one in works] == [[float(n + 1)] for n in range(7)]
    assert gate.batches == [[0], [1, 2, 3, 4], [5, 6]]


async def test_idle_instances_work_at_once() -> None:
    """Each takes a batch of its own while the other computes."""
    gate = Gate()
    async with started(gate, instances=2) as scheduler:
        first, second = work(1), work(2)
        scheduler.submit([first])
        await gate.running()
        scheduler.submit([second])
        await gate.running()
        assert not first.future.done()
        gate.open.set()
        assert [await outcome(first), await outcome(second)] == [[2.0], [3.0]]
    assert sorted(gate.batches) == [[1], [2]]


@pytest.mark.parametrize("guilty", [{17}, {0}, {63}, {3, 4, 40}, set(range(64))])
async def test_rows_fail_alone(guilty: set[int]) -> None:
    """Of 64 that were computed together, only the guilty have no answer."""
    gate = Gate()
    async with started(gate) as scheduler:
        first = work(0)
        scheduler.submit([first])
        await gate.running()
        works = [work(-1 if n in guilty else n) for n in range(64)]
        scheduler.submit(works)
        gate.open.set()
        outcomes = [await outcome(one) for one in works]
    assert outcomes == [RuntimeFailed if n in guilty else [n + 1.0] for n in range(64)]
    assert len(gate.batches[1]) == 64
    assert len(gate.batches) <= 2 + 12 * len(guilty)


async def test_rows_of_one_piece_fail_alone() -> None:
    """A request of many rows loses the guilty ones only."""
    async with started(Model()) as scheduler:
        one = work(1, -1, 3, -4, 5)
        scheduler.submit([one])
        assert await outcome(one) == [2.0, RuntimeFailed, 4.0, RuntimeFailed, 6.0]


async def test_pieces_of_many_rows_fail_alone() -> None:
    """Both ways of isolating together."""
    gate = Gate()
    async with started(gate) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        works = [work(1, 2), work(3, -1), work(-1, -2), work(-3), work(4)]
        scheduler.submit(works)
        gate.open.set()
        outcomes = [await outcome(one) for one in works]
    failed = RuntimeFailed
    assert outcomes == [[2.0, 3.0], [4.0, failed], [failed, failed], failed, [5.0]]


async def test_each_row_keeps_its_own_error() -> None:
    """When all rows of a piece fail, each for its reason."""

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        raise [InvalidInput("this"), Refused("that")][int(inputs["x"][0, 0])]

    async with started(run) as scheduler:
        one = work(0, 1, 0)
        scheduler.submit([one])
        result = await one.future
    assert result.outputs == {}
    assert {row: type(error) for row, error in result.errors.items()} == {
        0: InvalidInput, 1: Refused, 2: InvalidInput
    }  # fmt: skip


async def test_refused_rows_reach_their_own_work() -> None:
    """What postprocessing refuses in a batch is told to whom it belongs, by their own count."""
    gate = Gate()

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        outputs, _ = gate(inputs, rows)
        bad = (inputs["x"][:, 0] == 7).nonzero()[0]
        return outputs, {int(row): Refused("seven") for row in bad}

    async with started(run) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        works = [work(1, 7), work(7), work(2), work(7, 7, 3)]
        scheduler.submit(works)
        gate.open.set()
        outcomes = [await outcome(one) for one in works]
    assert outcomes == [[2.0, Refused], [Refused], [3.0], [Refused, Refused, 4.0]]
    assert len(gate.batches) == 2


async def test_refused_rows_of_a_rescued_piece() -> None:
    """A refusal and a failure in one piece of work are both told."""

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        values = inputs["x"][:, 0]
        if (values < 0).any():
            raise RuntimeFailed("negative")
        return {"y": inputs["x"] + 1}, {int(r): Refused("7") for r in (values == 7).nonzero()[0]}

    async with started(run) as scheduler:
        one = work(1, 7, -1, 2)
        scheduler.submit([one])
        assert await outcome(one) == [2.0, Refused, RuntimeFailed, 3.0]


@pytest.mark.parametrize("grown", [1, -1, 2])
async def test_a_wrong_number_of_rows_reaches_nobody(grown: int) -> None:
    """Nobody gets another's row because the model lost count."""

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        return {"y": np.zeros((rows + grown, 1))}, {}

    async with started(run) as scheduler:
        works = [work(1), work(2, 3)]
        scheduler.submit(works)
        assert await outcome(works[0]) == RuntimeFailed
        assert await outcome(works[1]) == [RuntimeFailed] * 2


async def test_a_model_that_adds_rows_up_answers_them_one_by_one() -> None:
    """Right for one row alone, it is asked row by row."""

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        return {"y": inputs["x"].sum(axis=0, keepdims=True)}, {}

    async with started(run) as scheduler:
        one = work(1, 2, 3)
        scheduler.submit([one])
        assert await outcome(one) == [1.0, 2.0, 3.0]


async def test_an_output_without_rows_fails() -> None:
    """A scalar is nobody's answer."""
    async with started(lambda inputs, rows, cancel: ({"y": np.array(3.0)}, {})) as scheduler:
        one = work(1)
        scheduler.submit([one])
        with pytest.raises(RuntimeFailed, match="no batch axis rows of output 'y' for 1 rows"):
            await one.future


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), MemoryError()]
)
async def test_whatever_a_model_raises_its_instance_lives_on(error: BaseException) -> None:
    """Even sys.exit() is only the guilty row's failure."""
    model = Model()
    model.error = error
    async with started(model) as scheduler:
        works = [work(-1), work(1, -2), work(5)]
        scheduler.submit(works)
        outcomes = [await outcome(one) for one in works]
        assert outcomes == [RuntimeFailed, [2.0, RuntimeFailed], [6.0]]


@pytest.mark.parametrize("outputs", [None, ({"y": [1, 2]}, {}), ({"y": None}, {}), ("y", {}), 3])
async def test_whatever_a_model_returns_its_instance_lives_on(outputs: Any) -> None:
    """An answer that is none fails, and the next is taken."""
    async with started(lambda inputs, rows, cancel: outputs) as scheduler:
        for one in (work(1), work(1, 2)):
            scheduler.submit([one])
            assert await outcome(one) in (RuntimeFailed, [RuntimeFailed] * 2)


async def test_strange_refusals_leave_nobody_waiting() -> None:
    """Even what goes wrong after the run is told to all who wait."""
    strange: Any = lambda inputs, rows, cancel: ({"y": inputs["x"]}, 9)  # noqa: E731 - no type would fit
    async with started(strange) as scheduler:
        one = work(1)
        scheduler.submit([one])
        assert await outcome(one) is RuntimeFailed
        another = work(1)
        scheduler.submit([another])
        assert await outcome(another) is RuntimeFailed


async def test_outputs_as_long_as_the_padded_batch() -> None:
    """Rows that were computed apart are put together at the longest length, never broadcast."""

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        if (inputs["ids"] < 0).any():
            raise RuntimeFailed("negative")
        return {"y": inputs["ids"]}, {}

    async with started(run) as scheduler:
        rows = tuple(np.array(row) for row in ([1], [2, 3, 4], [-1], [5, 6]))
        one = Work({"ids": Ragged(rows, pad=0)}, 4, asyncio.get_running_loop().create_future())
        scheduler.submit([one])
        result = await one.future
    assert list(result.errors) == [2]
    assert result.outputs["y"].tolist() == [[1, 0, 0], [2, 3, 4], [0, 0, 0], [5, 6, 0]]


async def test_outputs_of_changing_rank_leave_nobody_waiting() -> None:
    """What cannot be put together is a failure, not a dead thread."""

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        if rows > 1:
            raise RuntimeFailed("one by one, please")
        return {"y": np.zeros((1,) * int(inputs["x"][0, 0]))}, {}

    async with started(run) as scheduler:
        one = work(1, 2)
        scheduler.submit([one])
        assert await outcome(one) is RuntimeFailed


async def test_inputs_of_one_size_share_a_batch() -> None:
    """Where an input's size is open, those of one size are computed together, each once."""
    gate = Gate()
    async with started(gate) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        sizes = [1, 3, 1, 2, 3, 1]
        works = []
        for size in sizes:
            works.append(work(size))
            works[-1].columns["x"] = np.full((1, size), size, "f8")
        scheduler.submit(works)
        gate.open.set()
        results = [await one.future for one in works]
    assert [result.outputs["y"].tolist() for result in results] == [
        [[size + 1.0] * size] for size in sizes
    ]
    assert gate.batches == [[0], [1, 1, 1], [3, 3], [2]]


async def test_columns_that_never_merge_fail() -> None:
    """Work whose columns differ in more than size leaves nobody waiting."""
    gate = Gate()
    async with started(gate) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        good, strange = work(1), work(2)
        strange.columns = {"other": np.zeros((1, 1))}
        scheduler.submit([good, strange])
        gate.open.set()
        assert await outcome(good) == [2.0]
        assert await outcome(strange) is RuntimeFailed


async def test_overload_is_told_with_a_hint() -> None:
    """None of the pieces is taken, and the caller learns when to come back."""
    gate = Gate()
    async with started(gate, max_queue_rows=4) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        waiting = [work(1, 2), work(3)]
        scheduler.submit(waiting)
        refused = [work(4), work(5)]
        with pytest.raises(Overloaded, match=r"3 rows wait for model/1, the limit is 4") as raised:
            scheduler.submit(refused)
        assert raised.value.retry_after_s is not None
        assert raised.value.retry_after_s >= 1
        scheduler.submit([last := work(6)])
        gate.open.set()
        assert [await outcome(one) for one in [*waiting, last]] == [[2.0, 3.0], [4.0], [7.0]]
    assert not any(one.future.done() for one in refused)
    assert gate.batches == [[0], [1, 2, 3, 6]]


async def test_nothing_to_do_is_always_taken() -> None:
    """A request whose rows were all refused meets neither a full queue nor a closed one."""
    gate = Gate()
    async with started(gate, max_queue_rows=1) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        waiting = work(1, 2, 3)
        scheduler.submit([waiting])
        scheduler.submit([])
        gate.open.set()
    scheduler.submit([])
    assert waiting.future.done()


async def test_those_who_have_gone_make_room() -> None:
    """A queue full of rows that nobody wants refuses nobody."""
    gate, clock = Gate(), ManualClock(100.0)
    async with started(gate, max_queue_rows=4, clock=clock) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        gone = [work(n) for n in range(1, 5)]
        scheduler.submit(gone)
        with pytest.raises(Overloaded):
            scheduler.submit([work(9)])
        for one in gone:
            one.future.cancel()
        clock.advance(1.0)
        scheduler.submit([one := work(5)])
        gate.open.set()
        assert await outcome(one) == [6.0]
    assert gate.batches == [[0], [5]]


async def test_a_late_row_is_not_computed() -> None:
    """Its deadline passed while it waited: it is told, and costs no run."""
    gate, clock = Gate(), ManualClock(10.0)
    async with started(gate, clock=clock) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        late, in_time = work(1, deadline_s=11.0), work(2, deadline_s=13.0)
        scheduler.submit([late, in_time])
        clock.advance(2.0)
        gate.open.set()
        assert await outcome(late) is DeadlineExceeded
        assert await outcome(in_time) == [3.0]
    assert gate.batches == [[0], [2]]


async def test_cancelled_work_is_not_computed() -> None:
    """Whose client has gone leaves the queue."""
    gate = Gate()
    async with started(gate) as scheduler:
        scheduler.submit([work(0)])
        await gate.running()
        gone, stays = work(1), work(2)
        scheduler.submit([gone, stays])
        gone.future.cancel()
        gate.open.set()
        assert await outcome(stays) == [3.0]
    assert gate.batches == [[0], [2]]


async def test_work_cancelled_while_it_runs_harms_nobody() -> None:
    """Its answer is dropped, its neighbours' arrive."""
    gate = Gate()
    async with started(gate) as scheduler:
        works = [work(1), work(2)]
        scheduler.submit(works)
        await gate.running()
        works[0].future.cancel()
        gate.open.set()
        assert await outcome(works[1]) == [3.0]


async def test_isolating_leaves_out_those_who_have_gone() -> None:
    """A batch that fails is not run again for a client that has hung up."""
    gate = Gate()
    async with started(gate) as scheduler:
        works = [work(-1), work(2), work(3)]
        scheduler.submit(works)
        await gate.running()
        works[0].future.cancel()
        works[2].future.cancel()
        gate.open.set()
        assert await outcome(works[1]) == [3.0]
    assert gate.batches == [[-1, 2, 3], [2]]


async def test_close_finishes_what_waits() -> None:
    """Then takes nothing more."""
    gate = Gate()
    async with started(gate, max_rows=2) as scheduler:
        works = [work(n) for n in range(6)]
        scheduler.submit(works)
        await gate.running()
        closing = asyncio.create_task(scheduler.close())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="model/1 is being unloaded"):
            scheduler.submit([work(9)])
        gate.open.set()
        await closing
        assert [one.future.result().outputs["y"][0, 0] for one in works] == [1, 2, 3, 4, 5, 6]
        await scheduler.close()


async def test_close_without_instances_leaves_nobody_waiting() -> None:
    """A scheduler that was never started tells what waits so."""
    async with started(Model(), start=False) as scheduler:
        one = work(1)
        scheduler.submit([one])
    assert await outcome(one) is Unavailable


async def test_an_instance_that_cannot_start_does_not_harm_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When threads run out, those that run are stopped."""
    async with started(Model(), start=False, instances=3) as scheduler:
        start, left = threading.Thread.start, iter([True, True, False])

        def scarce(thread: threading.Thread) -> None:
            if thread.name.startswith("augury-") and not next(left):
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", scarce)
        with pytest.raises(RuntimeError, match="can't start"):
            scheduler.start(asyncio.get_running_loop())
        scheduler.submit([one := work(1)])
        assert await outcome(one) == [2.0]


def test_a_closed_loop_drops_the_answers(caplog: pytest.LogCaptureFixture) -> None:
    """An instance that answers after the loop has ended says so, and does not die of it."""
    gate = Gate()
    scheduler = scheduler_of(gate, max_rows=1, max_queue_rows=9)

    async def leave() -> None:
        scheduler.start(asyncio.get_running_loop())
        scheduler.submit([work(1), work(2)])
        await gate.running()

    asyncio.run(leave())
    gate.open.set()
    asyncio.run(scheduler.close())
    assert "answers dropped" in caplog.text
    assert gate.batches == [[1], [2]]


async def test_metrics_count_batches_rows_and_waiting() -> None:
    """One batch, its rows, the wait of each piece; nothing waits at the end."""
    metrics = Metrics()
    gate = Gate()
    scheduler = scheduler_of(gate, metrics, max_queue_rows=99)

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"model": "model", "version": "1"})

    scheduler.start(asyncio.get_running_loop())
    scheduler.submit([work(0)])
    await gate.running()
    scheduler.submit(works := [work(1), work(2, 3)])
    assert value("augury_queue_rows") == 3
    gate.open.set()
    for one in works:
        await one.future
    assert value("augury_queue_rows") == 0
    assert value("augury_batch_rows_count") == 2
    assert value("augury_batch_rows_sum") == 4
    assert value("augury_queue_seconds_count") == 3
    assert value("augury_runtime_seconds_count") == 2
    assert value("augury_batch_padding_ratio_sum") == 0
    await scheduler.close()


async def test_every_answer_belongs_to_its_request() -> None:
    """20,000 unique pieces at once, with guilty rows, late ones and vanishing clients."""
    chance = random.Random(7)
    clock = ManualClock(0.0)

    def run(inputs: dict[str, Array], rows: int, cancel: Cancellation | None) -> Outputs:
        x = inputs["x"]
        if (x < 0).any():
            raise RuntimeFailed("a negative number")
        seven: RowErrors = {int(row): Refused("7") for row in (x[:, 0] % 97 == 7).nonzero()[0]}
        return {"y": x * 3 + 1, "tag": inputs["tag"]}, seven

    fates: list[str] = []

    async def ask(scheduler: Scheduler, number: int) -> None:
        rows = chance.choice([1, 1, 1, 2, 5])
        values = np.arange(number * 10, number * 10 + rows, dtype="f8")
        guilty = {row for row in range(rows) if chance.random() < 0.01}
        values[list(guilty)] *= -1
        values[list(guilty)] -= 1
        tags = np.array([f"{number}/{row}".encode() for row in range(rows)], object)
        fate = chance.choices(["stay", "go", "late"], [0.9, 0.08, 0.02])[0]
        one = Work(
            {"x": values.reshape(-1, 1), "tag": tags},
            rows,
            asyncio.get_running_loop().create_future(),
            0.0 if fate == "late" else None,
        )
        scheduler.submit([one])
        fates.append(fate)
        if fate == "go":
            for _ in range(chance.randrange(5)):
                await asyncio.sleep(0)
            one.future.cancel()
            return
        try:
            result: WorkResult = await one.future
        except DeadlineExceeded:
            assert fate == "late"
            return
        except RuntimeFailed:
            assert len(guilty) == rows
            return
        assert fate == "stay"
        refused = {row for row, value in enumerate(values) if value >= 0 and value % 97 == 7}
        assert {r for r, e in result.errors.items() if isinstance(e, RuntimeFailed)} == guilty
        assert {r for r, e in result.errors.items() if isinstance(e, Refused)} == refused
        for row in set(range(rows)) - guilty - refused:
            assert result.outputs["y"][row, 0] == values[row] * 3 + 1
            assert result.outputs["tag"][row] == tags[row]

    async with (
        started(run, instances=3, max_rows=32, max_queue_rows=1_000_000, clock=clock) as scheduler,
        asyncio.TaskGroup() as group,
    ):
        for number in range(20_000):
            group.create_task(ask(scheduler, number))
    assert len(fates) == 20_000
