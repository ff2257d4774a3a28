"""CPU time and memory of a server are found without its help."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from augury.bench.measure.processes import Watcher, cpu_seconds, descendants, listeners

# Listens, has a child that burns CPU, and tells its port.
_SERVER = """
import os, socket, subprocess, sys, time
sock = socket.socket(); sock.bind(("127.0.0.1", 0)); sock.listen(); sock.set_inheritable(True)
child = subprocess.Popen([sys.executable, "-c", "x = bytearray(40_000_000)\\nwhile True: pass"], close_fds=False)
print(sock.getsockname()[1], child.pid, flush=True)
try:
    sys.stdin.read()
finally:
    child.kill(); child.wait()
"""


@pytest.fixture
def server() -> Iterator[tuple[int, int, int]]:
    """Port, pid and the child's pid."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    port, child = map(int, process.stdout.readline().split())
    yield port, process.pid, child
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


def test_found_by_its_port(server: tuple[int, int, int]) -> None:
    """The eldest of those who hold the socket; its child, which holds it too, is counted with it."""
    port, pid, child = server
    assert listeners("127.0.0.1", port) == (pid,)
    assert listeners("localhost", port) == (pid,)
    assert set(descendants([pid])) == {pid, child}


def test_nobody_listens() -> None:
    """Another machine's processes, and a port without one, are not known."""
    assert listeners("192.0.2.1", 80) == ()
    assert listeners("127.0.0.1", 1) == ()


def test_children_count(server: tuple[int, int, int]) -> None:
    """A busy child's CPU time and memory are the server's."""
    _, pid, child = server
    watcher = Watcher([pid])
    watcher.begin()
    watcher.watch(0.0, 0.0, 10.0)
    before_s = cpu_seconds(child)
    until_s = time.monotonic() + 30
    while cpu_seconds(child) < before_s + 0.3 and time.monotonic() < until_s:
        time.sleep(0.05)
    watcher.watch(10.0, 0.0, 10.0)
    use = watcher.use()
    assert use is not None
    assert set(use.pids) == {pid, child}
    assert use.cpu_s >= 0.29
    assert use.rss_peak_bytes >= use.rss_after_bytes > 40_000_000
    assert use.cores > 0


def test_of_a_process_that_has_ended() -> None:
    """It is left out, quietly."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert descendants([process.pid]) == []
    watcher = Watcher([process.pid])
    watcher.begin()
    assert watcher.use() is None
    assert descendants([os.getpid()])
