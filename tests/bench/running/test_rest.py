"""Waiting until a server is done, whatever it does at rest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from augury.bench.measure.processes import Watcher
from augury.bench.running.rest import Rest

# Uses a third of a core for ever, as runtimes with threads of their own do.
_BUSY = """
import time
while True:
    until = time.process_time() + 0.01
    while time.process_time() < until:
        pass
    time.sleep(0.02)
"""


@pytest.fixture
def busy() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", _BUSY])
    yield process.pid
    process.kill()
    process.wait()


def test_idle_use_is_no_work(busy: int) -> None:
    """A server that is never at zero is at rest when it does no more than before the load."""
    rest = Rest(Watcher((busy,)), settle_s=10)
    rest.learn()
    assert rest.idle_cores > 0.1
    assert rest.wait() < 9


def test_what_is_more_than_that_is_waited_for(busy: int) -> None:
    """Not for ever."""
    rest = Rest(Watcher((busy,)), settle_s=1.0)
    assert rest.wait() >= 1.0
