"""``[batching] deadline_s``: requests that name no deadline have that of their model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from augury.batching.scheduler import Scheduler
from augury.core.errors import DeadlineExceeded
from augury.core.request import Priority
from augury.pipeline.servable import ModelServable
from tests import models
from tests.pipeline.serving import ONE_INSTANCE, Gate, ask, serving, turns
from tests.pipeline.test_patience import Submitted, begin, busy, now_s

DUE_S = 0.4


def write(repository: Path, more: str = "") -> None:
    """identity, one batch at a time, answered within :data:`DUE_S`."""
    folder = models.write_identity(repository)
    text = f"{ONE_INSTANCE}[batching]\ndeadline_s = {DUE_S}\n{more}"
    (folder / "model.toml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("use_cache", [True, False])
async def test_it_is_kept_on_time_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_cache: bool
) -> None:
    """Told at the deadline, not when an instance comes to it, and as expired, not as a client who left."""
    write(tmp_path)
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        first = await busy(served, gate, priority=Priority.LOW)
        start_s = now_s()
        with pytest.raises(DeadlineExceeded, match=r"0\.400 s .* \[batching\] deadline_s"):
            await begin(served, use_cache=use_cache)
        assert DUE_S <= now_s() - start_s < DUE_S + 0.3
        gate.open.set()
        await first
        with served.engine.lease("identity") as servable:
            assert isinstance(servable, ModelServable)
            await asyncio.wait_for(empty(servable), 20)
            assert servable.scheduler.journal.totals().shed == {"expired": 1}


async def empty(servable: ModelServable) -> None:
    while servable.scheduler.waiting_rows:  # noqa: ASYNC110 - the queue tells nobody
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("use_cache", [True, False])
async def test_bulk_work_takes_as_long_as_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_cache: bool
) -> None:
    """It fills spare room, and nobody waits for a single row of it."""
    write(tmp_path)
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        first = await busy(served, gate, priority=Priority.LOW)
        submitted = Submitted(monkeypatch)
        bulk = begin(served, priority=Priority.LOW, use_cache=use_cache)
        await asyncio.sleep(DUE_S + 0.1)
        assert [work.deadline_s for work in submitted.works] == [None]
        gate.open.set()
        assert (await bulk).outputs["y"].tolist() == [[7, 7]]
        await first


async def test_who_allows_more_is_answered_though_the_first_named_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who began it leaves at the model's deadline, the row is computed for the other."""
    write(tmp_path)
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        first = await busy(served, gate, priority=Priority.LOW)
        leader = begin(served)
        await turns()
        joiner = begin(served, deadline_s=now_s() + 60)
        with pytest.raises(DeadlineExceeded):
            await leader
        gate.open.set()
        assert (await joiner).outputs["y"].tolist() == [[7, 7]]
        await first


@pytest.mark.parametrize("hasty", [False, True])
async def test_who_joins_has_the_whole_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hasty: bool
) -> None:
    """Not what is left of another's, nor all the time there is for having joined somebody in haste."""
    write(tmp_path)
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        first = await busy(served, gate, priority=Priority.LOW)
        submitted = Submitted(monkeypatch)
        leader = begin(served, deadline_s=now_s() + 0.2) if hasty else begin(served)
        await asyncio.sleep(0.1)
        asked_s = now_s()
        joiner = begin(served)
        await turns()
        (work,) = submitted.works
        assert work.deadline_s is not None
        assert DUE_S <= work.deadline_s - asked_s < DUE_S + 0.1
        gate.open.set()
        for one in (leader, joiner):
            assert (await one).outputs["y"].tolist() == [[7, 7]]
        await first


@pytest.mark.parametrize("more", ["", "[cache]\nenabled = false\n"])
async def test_what_is_answered_at_once_has_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """On the event loop nothing else is done, but the run is asked for with that deadline."""
    write(tmp_path, f"inline = true\n{more}")
    given: list[Any] = []
    inline = Scheduler.try_inline

    def noted(scheduler: Scheduler, *arguments: Any) -> Any:
        given.append(arguments[2])
        return inline(scheduler, *arguments)

    monkeypatch.setattr(Scheduler, "try_inline", noted)
    async with serving(tmp_path) as served:
        with served.engine.lease("identity") as servable:
            assert isinstance(servable, ModelServable)
            request = ask("identity", [7, 7])
            keys = served.engine.keys(servable, request.inputs, 1, {})
            asked_s = now_s()
            assert served.engine.infer_now(servable, request, keys) is not None
    assert request.deadline_s is None  # the caller's own
    (deadline_s,) = given
    assert DUE_S <= deadline_s - asked_s < DUE_S + 0.1
