"""Deadlines and priorities of requests that wait for the same row."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from augury.batching.scheduler import Scheduler
from augury.batching.work import Work
from augury.core.errors import DeadlineExceeded, Overloaded
from augury.core.request import InferResponse, Priority
from tests import models
from tests.pipeline.serving import ONE_INSTANCE, Gate, Serving, ask, serving, turns


def write(repository: Path) -> None:
    """identity, one batch at a time."""
    folder = models.write_identity(repository)
    (folder / "model.toml").write_text(ONE_INSTANCE, encoding="utf-8")


def now_s() -> float:
    return asyncio.get_running_loop().time()


class Submitted:
    """Every piece of work that is submitted; the first *refusals* of them are refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refusals: int = 0) -> None:
        self.works: list[Work] = []
        submit = Scheduler.submit

        def noted(scheduler: Scheduler, works: Sequence[Work]) -> None:
            self.works += works
            if len(self.works) <= refusals:
                raise Overloaded("not in time", retry_after_s=1.0)
            submit(scheduler, works)

        monkeypatch.setattr(Scheduler, "submit", noted)


def begin(served: Serving, **options: Any) -> asyncio.Task[InferResponse]:
    """Ask for one and the same row."""
    return asyncio.create_task(served.engine.infer(ask("identity", [7, 7], **options)))


async def busy(served: Serving, gate: Gate, **options: Any) -> asyncio.Task[InferResponse]:
    """Its instance has something to do for as long as the gate is closed."""
    task = asyncio.create_task(served.engine.infer(ask("identity", [0, 0], **options)))
    await gate.running()
    return task


@pytest.mark.parametrize("use_cache", [True, False])
async def test_deadline_and_priority_reach_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_cache: bool
) -> None:
    """Whether others may join or not."""
    write(tmp_path)
    async with serving(tmp_path) as served:
        Gate(monkeypatch).open.set()
        submitted = Submitted(monkeypatch)
        deadline_s = now_s() + 60
        await begin(served, use_cache=use_cache, deadline_s=deadline_s, priority=Priority.LOW)
        assert [(work.deadline_s, work.priority) for work in submitted.works] == [
            (deadline_s, Priority.LOW)
        ]


async def test_the_patient_are_answered_though_the_hasty_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hasty one leaves when its time is up, and the row is computed, once, for the others."""
    write(tmp_path)
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        first = await busy(served, gate)
        submitted = Submitted(monkeypatch)
        hasty = begin(served, deadline_s=now_s() + 0.05)
        await turns()
        patient = begin(served, deadline_s=now_s() + 60)
        endless = begin(served)
        await turns()
        with pytest.raises(DeadlineExceeded):
            await hasty
        (work,) = submitted.works
        assert work.deadline_s is None
        gate.open.set()
        for one in (patient, endless):
            assert (await one).outputs["y"].tolist() == [[7, 7]]
        await first
        assert gate.rows == [1, 1]


async def test_when_nobody_waits_any_more_it_is_not_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though one of those who have gone had put it off for ever."""
    write(tmp_path)
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        first = await busy(served, gate)
        hasty = begin(served, deadline_s=now_s() + 0.05)
        await turns()
        endless = begin(served)
        await turns()
        endless.cancel()
        with pytest.raises(DeadlineExceeded):
            await hasty
        gate.open.set()
        await first
        await asyncio.gather(endless, return_exceptions=True)
        await turns(20)
        assert gate.rows == [1]
        assert served.under_way == 0


async def test_the_urgent_do_not_wait_behind_bulk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the row computed for themselves, and whoever comes then joins them."""
    write(tmp_path)
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        first = await busy(served, gate)
        submitted = Submitted(monkeypatch)
        asked = []
        for priority in (Priority.LOW, Priority.NORMAL, Priority.LOW, Priority.NORMAL):
            asked.append(begin(served, priority=priority))
            await turns()
        assert [work.priority for work in submitted.works] == [Priority.LOW, Priority.NORMAL]
        gate.open.set()
        for one in asked:
            assert (await one).outputs["y"].tolist() == [[7, 7]]
        await first


@pytest.mark.parametrize(
    ("joiner_s", "answered"), [(None, True), (60.0, True), (0.5, False), (0.4, False)]
)
async def test_another_s_haste_refuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joiner_s: float | None, answered: bool
) -> None:
    """Who allows more time than the one who was refused asks once more; who does not, shares it."""
    write(tmp_path)
    async with serving(tmp_path) as served:
        Gate(monkeypatch).open.set()
        submitted = Submitted(monkeypatch, refusals=1)
        start_s = now_s()
        # Joins between the beginning and the refusal, as while a store is asked.
        with served.engine.lease("identity") as leased:
            servable: Any = leased
        inputs = ask("identity", [7, 7]).inputs
        (key,) = servable.keys.keys(inputs, 1, {})
        future = asyncio.get_running_loop().create_future()
        flight = servable.flights.lead(
            key, future, lambda *_: None, deadline_s=start_s + 0.5, priority=Priority.NORMAL
        )
        flight.join(start_s + 0.5)
        deadline_s = None if joiner_s is None else start_s + joiner_s
        joiner = begin(served, deadline_s=deadline_s)
        await turns()
        submitted.works.append(Work({}, 1, future))
        future.set_exception(Overloaded("not in time", retry_after_s=1.0))
        response = await joiner
        if answered:
            assert response.errors == {}
            assert response.outputs["y"].tolist() == [[7, 7]]
        else:
            assert isinstance(response.errors[0], Overloaded)
        assert len(submitted.works) == 1 + answered
        # Looked up once, however often it was asked for.
        assert served.looked_up("identity") == {"hit": 0, "shared": 1, "miss": 0}


async def test_they_ask_once_more_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal of one's own stands."""
    write(tmp_path)
    async with serving(tmp_path) as served:
        Gate(monkeypatch).open.set()
        submitted = Submitted(monkeypatch, refusals=100)
        response = await begin(served)
        assert isinstance(response.errors[0], Overloaded)
        assert len(submitted.works) == 1
