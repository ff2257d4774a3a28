"""Tests of ``augury.batching.priority``."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from augury.batching.priority import NICENESS, step_back
from tests.batching.scheduling import Model, Outputs, outcome, started, work


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is the process's elsewhere")
async def test_instances_go_after_the_event_loop() -> None:
    """Each instance's thread is nicer than the loop's, whose own stays as it was."""
    found: list[int] = []

    class Nice(Model):
        def __call__(self, *arguments: object) -> Outputs:
            found.append(niceness())
            return super().__call__(*arguments)  # type: ignore[arg-type]

    before = niceness()
    async with started(Nice()) as scheduler:
        scheduler.submit([one := work(1)])
        assert await outcome(one) == [2.0]
    assert found == [min(before + NICENESS, 19)]
    assert niceness() == before


def test_where_it_is_forbidden_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox without the system call, or another system: it computes all the same."""

    def forbidden(*_: object) -> None:
        raise PermissionError

    with ThreadPoolExecutor(1) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(os, "setpriority", forbidden)
            pool.submit(step_back).result()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "platform", "darwin")
            pool.submit(step_back).result()
        assert pool.submit(niceness).result() == niceness()
