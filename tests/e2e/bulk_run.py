"""A real ``augury tweets score`` process whose terminal a test reads, and which it may kill."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.server import clean_environment

_POSITION = re.compile(r"([\d,]+) of ([\d,]+) entries, [\d,]+/s, (?:\d+ (?:s|min|h) ?)+ ?left")


class BulkRun:
    """A running command with a terminal as its stderr.

    Args:
        file: What is scored.
        store: URL of the store.
        *options: More of the command line.
    """

    def __init__(self, file: Path, store: str, *options: str) -> None:
        code = "from augury.app.cli import main; main()"
        self._terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "tweets", "score", str(file), "--store", store, *options],
            cwd=file.parent,
            env={**clean_environment(), "TERM": "xterm", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        self._shown = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._terminal, 65536)
            except OSError:  # the other end is closed
                return
            if not part:
                return
            self._shown += part.decode(errors="replace")

    @property
    def shown(self) -> str:
        """All that was written on the terminal."""
        return self._shown

    @property
    def position(self) -> int:
        """Entries that are done, as the bar tells; 0 before it does."""
        told = _POSITION.findall(self._shown[-20_000:])
        return int(told[-1][0].replace(",", "")) if told else 0

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until *condition* holds or the process has ended; whether it holds."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s and self.process.poll() is None:
            if condition():
                return True
            time.sleep(0.02)
        return condition()

    def kill(self) -> None:
        """``kill -9``, at once."""
        self.process.send_signal(signal.SIGKILL)
        self._closed()

    def finish(self, timeout_s: float) -> tuple[int, str]:
        """Its exit code and stdout, once it has ended."""
        out, _ = self.process.communicate(timeout=timeout_s)
        self._closed()
        return self.process.returncode, out.decode()

    def _closed(self) -> None:
        self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._reader.join(5)
        os.close(self._terminal)

    def peak_mib(self) -> float:
        """The most memory that it has ever held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(s.split()[1]) for s in status.splitlines() if "VmHWM" in s) / 1024
