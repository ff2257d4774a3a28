"""A peer that runs: started, found to answer rightly, then asked."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from augury.bench.dialects.base import RAW
from augury.bench.run import Workload, prepare
from benchmarks import models
from benchmarks.peers.peer import Peer, Start
from benchmarks.peers.process import Process
from benchmarks.peers.setting import Setting
from benchmarks.peers.works import Work

IN_PLACE = ("augury", "bare")  # in the project's own environment
CHECKED_ROWS = 24
FREE_WITHIN_S = 15.0
# RoBERTa's quantised activations share a scale in a batch, so that scores move with their companions, by 0.05 or so; the
# seed's are FP32.  Answers to other texts would be 0.25 off, with a third or half of the labels right.
MEAN_DIFFERENCE, LABELS_RIGHT = 0.1, 0.7


class NotMeasured(Exception):
    """A peer could not be installed, started or believed; the message goes into the table."""


class Running:
    """A server with one work.

    Args:
        peer: Which.
        work: What it serves.
        cache: Where environments are.
        folder: For its files; emptied.
        port: Its own, and the two after it.
        cores: Where it may run.
        setting: How it is set; ``None``: as the search found, or the first of its list.

    Raises:
        NotMeasured: It could not be installed or started.
    """

    def __init__(
        self,
        peer: Peer,
        work: Work,
        cache: Path,
        *,
        folder: Path,
        port: int,
        cores: str,
        setting: Setting | None = None,
    ) -> None:
        self.peer, self.work = peer, work
        self.setting = setting or peer.setting(work)[0]
        self.url = f"http://127.0.0.1:{port}{peer.path(work)}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder, self._port, self._cores = folder, port, cores
        try:
            self._python = (
                Path(sys.executable)
                if peer.name in IN_PLACE
                else models.environment(
                    cache / (peer.home or peer.name) / "venv", peer.requirements
                )
            )
            self._prepare(None, 0)
        except (subprocess.CalledProcessError, OSError, StopIteration) as error:
            said = getattr(error, "stderr", None) or str(error)
            last = said.decode() if isinstance(said, bytes) else said
            raise NotMeasured(f"not installed: {last.strip().splitlines()[-1][:200]}") from None
        self.ready_s = self._launch()

    def _prepare(self, slo_s: float | None, waiting: int) -> None:
        start = Start(
            self.work, self._port, self._folder, self._python, self.setting, slo_s, waiting
        )
        command = self.peer.command(start)
        self._start = (command, self.peer.environment(start), self._folder, self._cores)

    def bound(self, slo_s: float, waiting: int) -> None:
        """Start it anew, and tell it what is late and how much may wait.

        Raises:
            NotMeasured: It did not start again.
        """
        idle_cores = self.process.idle_cores
        self.process.resume()
        self.process.stop()
        self._prepare(slo_s, waiting)
        self._launch()
        self.process.idle_cores = idle_cores

    def _launch(self) -> float:
        """Start it, and wait for its first answer; how long that took."""
        began = time.monotonic()
        _check_free(self._port)
        self.process = Process(*self._start)
        try:
            self._wait(began)
        except BaseException:
            # Ctrl-C or SIGTERM while it starts, too: nobody else knows of it yet.
            self.process.stop()
            raise
        return time.monotonic() - began

    def _wait(self, began: float) -> None:
        first = self.peer.body(self.work, self.work.rows[0])
        while True:
            try:
                self.ask(first, timeout_s=5)
            except (OSError, ValueError) as error:
                late = time.monotonic() - began > self.peer.start_s
                if late or not self.process.alive:
                    raise NotMeasured(f"did not start: {error}; {self.process.tail()}") from None
                time.sleep(0.1)
            else:
                return

    def resume(self) -> bool:
        """Let it go on after a pause; whether it had to be started anew, since it no longer answered.

        Raises:
            NotMeasured: It did not start again.
        """
        self.process.resume()
        try:
            self._insist(self.peer.body(self.work, self.work.rows[0]))
        except (OSError, ValueError, NotMeasured):
            idle_cores = self.process.idle_cores
            self.process.stop()
            self._launch()
            self.process.idle_cores = idle_cores
            return True
        return False

    def ask(self, body: Any, timeout_s: float = 30) -> bytes:
        """One request, one answer."""
        request = urllib.request.Request(
            self.url, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                data: bytes = answer.read()
        except http.client.HTTPException as error:  # half an answer, or none
            raise ConnectionError(f"{type(error).__name__}: {error}") from None
        return data

    def _insist(self, body: Any) -> bytes:
        """Ask again when it is refused: BentoML may, while it learns how long a batch takes."""
        for _ in range(40):
            try:
                return self.ask(body, timeout_s=10)
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503):
                    raise
            time.sleep(0.1)
        raise NotMeasured("refuses everything")

    def check(self, truth: Callable[[list[Any]], list[list[float]]]) -> str:
        """Compare answers to concurrent requests with *truth*.

        Returns:
            The difference, in words.

        Raises:
            NotMeasured: They are not those.
        """
        rows = self.work.rows[-CHECKED_ROWS:]
        with ThreadPoolExecutor(8) as pool:
            bodies = [self.peer.body(self.work, row) for row in rows]
            got = [self.peer.answer(self.work, data) for data in pool.map(self._insist, bodies)]
        wanted = truth(rows)
        return compare(self.work.kind, got, wanted)

    def workload(self, slo_s: float | None) -> Workload:
        """For the load generator; Augury is told the deadline of each request in its header."""
        url = self.url.split("/", 3)
        if self.peer.name == "augury":
            return prepare(
                "/".join(url[:3]), dialect="native", model=self.work.package.name,
                texts=self.work.rows, slo_s=slo_s, check="status",
            )  # fmt: skip
        rows = [
            {RAW: json.dumps(self.peer.body(self.work, row)).encode()} for row in self.work.rows
        ]
        return prepare(self.url, dialect="raw", rows=rows, slo_s=slo_s, check="status")

    def stop(self) -> None:
        """End all its processes."""
        self.process.stop()


def _check_free(port: int) -> None:
    """Else whoever has the port would be measured in the server's place.

    A server that was there before may take a moment to go.

    Raises:
        NotMeasured: Somebody listens there, and goes on doing so.
    """
    until_s = time.monotonic() + FREE_WITHIN_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                pass
        except OSError:
            return
        if time.monotonic() > until_s:
            raise NotMeasured(f"did not start: port {port} is in use by another process")
        time.sleep(0.2)


def compare(kind: str, got: Sequence[list[float]], wanted: Sequence[list[float]]) -> str:
    """Hold answers against what they should be; the difference, in words.

    Raises:
        NotMeasured: They are not those.
    """
    pairs = list(zip(got, wanted, strict=True))
    if any(len(one) != len(other) for one, other in pairs):
        raise NotMeasured(f"answers of {len(got[0])} numbers instead of {len(wanted[0])}")
    mean = sum(
        sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one) for one, other in pairs
    ) / len(pairs)
    same = sum(_top(one) == _top(other) for one, other in pairs) / len(pairs)
    if kind == "identity":
        if mean > 1e-6:
            raise NotMeasured(f"wrong numbers: they are {mean:.2g} off on average")
        return "exact"
    if mean > MEAN_DIFFERENCE or same < LABELS_RIGHT:
        raise NotMeasured(f"wrong answers: scores {mean:.2g} off, {same:.0%} of the labels right")
    return f"scores {mean:.2g} off on average, {same:.0%} of the labels as in the tight loop"


def _top(scores: list[float]) -> int:
    return scores.index(max(scores))
