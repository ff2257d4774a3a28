"""Starting a peer, and looking at its answers; the peer is a small script with Python's own HTTP server."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from benchmarks.peers.peer import Peer, Start
from benchmarks.peers.running import NotMeasured, Running
from benchmarks.peers.setting import Setting
from benchmarks.peers.spot import Spot
from benchmarks.peers.works import Work

from tests.redis_server import free_port

SERVER = """
import http.server, json, os, pathlib, sys, time
pathlib.Path("pid").write_text(str(os.getpid()))
mode, port = sys.argv[1], int(sys.argv[2])
if mode == "never":
    time.sleep(600)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        row = json.loads(self.rfile.read(int(self.headers["content-length"])))["x"]
        if mode == "halves":
            self.send_response(200); self.send_header("content-length", "1000"); self.end_headers()
            self.wfile.write(b"{"); self.close_connection = True
            return
        body = json.dumps({"y": row if mode == "right" else [1.0] * len(row)}).encode()
        self.send_response(200); self.send_header("content-length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@dataclass(frozen=True)
class Script(Peer):
    """The script above, in a given mode."""

    mode: str = "right"

    def command(self, start: Start) -> list[str]:
        return [sys.executable, "-c", SERVER, self.mode, str(start.port)]


def running(folder: Path, mode: str, port: int = 0) -> Running:
    rows = [[float(at)] * 4 for at in range(8)]
    work = Work("identity", "identity", "identity", folder, 0.1, rows)
    # In the project's own environment, by its name.
    peer = Script(
        "bare", "script", "none", "", tried=(Setting("as it is"),), start_s=2.0, mode=mode
    )
    return Running(
        peer, work, folder / "cache", folder=folder / "run", port=port or free_port(), cores=_core()
    )


def _core() -> str:
    return str(min(os.sched_getaffinity(0)))


def gone(folder: Path) -> bool:
    """Whether the script has ended; its parent may be someone who has not noticed yet."""
    pid = int((folder / "run" / "pid").read_text())
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_what_does_not_start_is_ended(tmp_path: Path) -> None:
    """After its time it is no peer any more, and no process either."""
    with pytest.raises(NotMeasured, match="did not start"):
        running(tmp_path, "never")

    assert gone(tmp_path)


def test_nobody_else_is_measured_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that an earlier run left behind on the port is told, not asked; one that goes is waited for."""
    leaving = socket.create_server(("127.0.0.1", 0))
    port = leaving.getsockname()[1]
    threading.Timer(0.5, leaving.close).start()
    peer = running(tmp_path, "right", port)
    peer.stop()
    monkeypatch.setattr("benchmarks.peers.running.FREE_WITHIN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as left, pytest.raises(NotMeasured, match="in use"):
        running(tmp_path, "right", left.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_starts_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """The runner turns both into SystemExit; the server that nobody knows of yet goes with it."""

    with leaving(number):
        threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
        with pytest.raises(SystemExit):
            running(tmp_path, "never")

    assert gone(tmp_path)


@contextmanager
def leaving(number: signal.Signals) -> Iterator[None]:
    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(number, leave)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_half_an_answer_is_told_as_such(tmp_path: Path) -> None:
    """A connection that breaks in the middle is a reason in the table, not a traceback."""
    with pytest.raises(NotMeasured, match="IncompleteRead"):
        running(tmp_path, "halves")

    assert gone(tmp_path)


@pytest.mark.parametrize("mode", ["right", "wrong"])
def test_answers_are_looked_at_under_load(tmp_path: Path, mode: str) -> None:
    """A server that answers with the right status and the wrong numbers is found out."""
    server = running(tmp_path, mode)
    try:
        rows: list[Any] = server.work.rows
        with Spot(server, rows) as spot:
            time.sleep(0.8)
        if mode == "right":
            assert spot.verdict(rows).endswith("looked at under load: exact")
        else:
            with pytest.raises(NotMeasured, match="under load: wrong numbers"):
                spot.verdict(rows)
    finally:
        server.stop()

    assert gone(tmp_path)
