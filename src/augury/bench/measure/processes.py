"""CPU time and memory of the server's processes, children included, read from /proc.

Works on the same machine, and in no other process's stead: what may not be read is left out.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ServerUse:
    """What the server's processes used while it was measured.

    Args:
        pids: The processes at the end.
        cpu_s: CPU seconds within the measured window.
        window_s: Length of that window.
        rss_before_bytes: Resident memory before the load, of all processes together; pages that they share
            count in each.
        rss_peak_bytes: The most that was seen, four times a second.
        rss_after_bytes: After it.
        pss_after_bytes: After it, with shared pages divided among those who share them; ``None`` where that
            may not be read.
    """

    pids: tuple[int, ...]
    cpu_s: float
    window_s: float
    rss_before_bytes: int
    rss_peak_bytes: int
    rss_after_bytes: int
    pss_after_bytes: int | None

    @property
    def cores(self) -> float:
        """Cores that were busy on average."""
        return self.cpu_s / self.window_s if self.window_s else float("nan")


class Watcher:
    """Samples the processes under some roots.

    Args:
        roots: The server's processes; their children are found anew at each sample.
    """

    def __init__(self, roots: Sequence[int]) -> None:
        self.roots = tuple(roots)
        self._known_s: dict[int, float] = {}
        self._window: list[tuple[float, float]] = []
        self._sampled_s = 0.0
        self._before = self._last = self._peak = 0
        self._pids: tuple[int, ...] = self.roots

    def begin(self) -> None:
        """Before the load."""
        self._known_s, self._window = {}, []
        self.sample()
        self._before = self._peak = self._last

    def watch(self, now_s: float, from_s: float, until_s: float) -> None:
        """Look now and then; the window's CPU time is that between *from_s* and *until_s*."""
        inside = from_s <= now_s
        begins = inside and not self._window
        ends = now_s >= until_s and len(self._window) == 1
        if begins or ends:
            self._window.append((time.monotonic(), self.sample()))
        elif now_s - self._sampled_s > 0.25:
            self._sampled_s = now_s
            self.sample()

    def sample(self) -> float:
        """CPU seconds of all processes so far; processes that have ended keep theirs."""
        resident = 0
        self._pids = tuple(descendants(self.roots))
        for pid in self._pids:
            with suppress(OSError, ValueError, IndexError):
                self._known_s[pid] = cpu_seconds(pid)
                resident += int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
        self._last = resident
        self._peak = max(self._peak, resident)
        return sum(self._known_s.values())

    def use(self) -> ServerUse | None:
        """What was used, once the load is over; ``None`` when the window was never seen."""
        after = self.sample()
        if not self._window:
            return None
        if len(self._window) == 1:
            self._window.append((time.monotonic(), after))
        (from_s, before_cpu_s), (until_s, after_cpu_s) = self._window
        return ServerUse(
            self._pids,
            after_cpu_s - before_cpu_s,
            until_s - from_s,
            self._before,
            self._peak,
            self._last,
            _proportional(self._pids),
        )


def cpu_seconds(pid: int) -> float:
    """User and system time of one process, its threads included."""
    fields = (_PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def descendants(roots: Iterable[int]) -> list[int]:
    """*roots* and all their children, as far as they live."""
    found: dict[int, None] = {}
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid in found or not (_PROC / str(pid)).exists():
            continue
        found[pid] = None
        for file in (_PROC / str(pid) / "task").glob("*/children"):
            with suppress(OSError):
                todo += map(int, file.read_text().split())
    return list(found)


def listeners(host: str, port: int) -> tuple[int, ...]:
    """The processes of this machine that listen on *port*: the eldest of each family.

    Empty when *host* is no address of this machine, or when its processes may not be looked at.
    """
    if not _is_local(host):
        return ()
    inodes = _listening(port)
    if not inodes:
        return ()
    owners = {
        int(one.name) for one in _PROC.iterdir() if one.name.isdigit() and _holds(one, inodes)
    }
    owners.discard(os.getpid())
    children = {pid for owner in owners for pid in descendants([owner]) if pid != owner}
    return tuple(sorted(owners - children))


def _is_local(host: str) -> bool:
    with suppress(OSError):
        for family, kind, proto, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with suppress(OSError), socket.socket(family, kind, proto) as sock:
                sock.bind(address)
                return True
    return False


def _listening(port: int) -> set[str]:
    wanted = f":{port:04X}"
    inodes = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == "0A":
                    inodes.add(f"socket:[{fields[9]}]")
    return inodes


def _holds(process: Path, inodes: set[str]) -> bool:
    with suppress(OSError):
        for link in (process / "fd").iterdir():
            with suppress(OSError):
                if os.readlink(link) in inodes:  # noqa: PTH115 - "socket:[1]" is no path
                    return True
    return False


def _proportional(pids: Iterable[int]) -> int | None:
    total = 0
    for pid in pids:
        try:
            text = (_PROC / str(pid) / "smaps_rollup").read_text()
        except OSError:
            return None
        total += next(
            (int(one.split()[1]) * 1024 for one in text.splitlines() if one.startswith("Pss:")), 0
        )
    return total or None
