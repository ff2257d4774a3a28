"""A real server process for the benchmarks, on a free port, stopped at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Args:
        url: Where.
        pid: Its process.
        ready_s: Seconds from start to ready.
    """

    url: str
    pid: int
    ready_s: float

    def rss_mib(self) -> float:
        """Resident memory, MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def cpu_s(self) -> float:
        """CPU seconds used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(
    *args: str, port: int = 18080, store: str = "memory://", **settings: str
) -> Iterator[Running]:
    """`augury serve` with *args* on *port*; ready when the block begins.

    Args:
        *args: Of the command line.
        port: For HTTP.
        store: Its store.
        **settings: More settings by their environment names (``AUGURY_CACHE_BYTES="0"``).
    """
    command = [str(Path(sys.executable).with_name("augury")), "serve", *args]
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--http-port", str(port), "--store", store],
            cwd=folder,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "AUGURY_DRAIN_GRACE_S": "0",
                "AUGURY_LOG_LEVEL": "warning",
                **settings,
            },
        )
        url = f"http://127.0.0.1:{port}"
        try:
            while not _ready(url):
                if process.poll() is not None or time.perf_counter() - started > 60:
                    raise SystemExit(f"server did not start: {process.stderr.read().decode()}")  # type: ignore[union-attr]
                time.sleep(0.01)
            yield Running(url, process.pid, time.perf_counter() - started)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
            return bool(json.load(answer)["ready"])
    except (urllib.error.URLError, ConnectionError):
        return False
