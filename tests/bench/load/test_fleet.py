"""Worker processes that cannot be had, or leave."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from augury.bench.load import fleet
from augury.bench.load.fleet import Fleet
from augury.core.errors import OperatorError


def test_none_is_left_when_one_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is ended when there are no processes left for the second."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def limited(*given: Any, **more: Any) -> subprocess.Popen[bytes]:
        if started:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        started.append(start(*given, **more))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", limited)
    with pytest.raises(OperatorError, match="cannot start worker 2 of 3: Resource temporarily"):
        Fleet(3).__enter__()
    assert started[0].poll() is not None


def test_a_worker_that_closes_its_output_is_told() -> None:
    """Even when it does not end."""
    process = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        worker = fleet._Worker(process, bytearray())
        assert "closed its output" in fleet._lost(worker, wait_s=0.1).message
    finally:
        process.kill()
        process.communicate()
