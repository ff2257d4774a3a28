"""A server's processes: started on given cores, paused while others are measured, and ended, all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from augury.bench.measure.processes import cpu_seconds, descendants

_STOP_S = 15.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Process:
    """A command in a session of its own, with all that it starts.

    Args:
        command: What runs.
        environment: Beside the runner's own.
        folder: Where it runs, and where its ``server.log`` goes.
        cores: For ``taskset``: ``0``, ``0,1``.
    """

    def __init__(
        self, command: list[str], environment: dict[str, str], folder: Path, cores: str
    ) -> None:
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["taskset", "-c", cores, *command],
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._known: dict[int, str] = {}
        self.idle_cores = 0.0

    @property
    def alive(self) -> bool:
        """Whether the command itself still runs."""
        return self._process.poll() is None

    def pids(self) -> list[int]:
        """The command and all that it started; what has lost its parent is remembered from earlier looks."""
        for pid in descendants([self.pid]):
            with contextlib.suppress(OSError):
                self._known.setdefault(pid, _born(pid))
        for pid, born in list(self._known.items()):
            try:
                same = _born(pid) == born
            except OSError:
                same = False
            if not same:
                del self._known[pid]
        return list(self._known)

    def cpu_s(self) -> float:
        """CPU seconds of those that live."""
        total = 0.0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                total += cpu_seconds(pid)
        return total

    def rss_mib(self) -> float:
        """Resident memory of all of them, MiB; shared pages count in each."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return total * _PAGE_BYTES / 2**20

    def pause(self) -> None:
        """Take it off the cores, so that it costs nothing while others are measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def rest(self, seconds: float = 2.0) -> None:
        """See what it uses while nothing is asked; call it once, after the first answers."""
        before, since = self.cpu_s(), time.monotonic()
        time.sleep(seconds)
        self.idle_cores = (self.cpu_s() - before) / (time.monotonic() - since)

    def settle(self, limit_s: float = 10.0) -> None:
        """Wait until it has done what was asked before: within a tenth of a core of what it uses at rest."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            before, since = self.cpu_s(), time.monotonic()
            time.sleep(0.4)
            if (self.cpu_s() - before) / (time.monotonic() - since) < self.idle_cores + 0.1:
                return

    def stop(self) -> None:
        """End it, kindly at first."""
        pids = self.pids()
        self.resume()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        until = time.monotonic() + 5
        while (pids := self.pids()) and time.monotonic() < until:
            time.sleep(0.1)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)

    def tail(self, lines: int = 5) -> str:
        """The end of its log."""
        return " / ".join(
            self.log.read_text(encoding="utf-8", errors="replace").split("\n")[-lines - 1 :]
        )[-400:]

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _born(pid: int) -> str:
    """Start time of a process in clock ticks, so that its number is not mistaken for a later one's."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
