"""A real ``augury serve`` process on a free port, for the tests that need sockets and signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

# Generous: the machine may be busy with other tests.
START_S = 40.0
STOP_S = 40.0


class ServerProcess:
    """A running server.

    Args:
        command: What to run.
        folder: Its working folder.
        environment: Its environment.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        self.host = ""
        self.port = 0
        self._lines: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, name="server-log", daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return "".join(self._lines)

    def events(self) -> list[dict[str, Any]]:
        """The JSON events of its log."""
        return [json.loads(line) for line in list(self._lines) if line.startswith("{")]

    def wait_until_listening(self) -> None:
        """Return when the log names the URL."""
        if not self._listening.wait(START_S):
            self.process.kill()
            raise AssertionError(f"the server did not start:\n{self.log}")

    def wait_until_ready(self) -> None:
        """Return when ``/readyz`` answers 200."""
        until_s = time.monotonic() + START_S
        told = ""
        while time.monotonic() < until_s and self.process.poll() is None:
            try:
                answer = httpx2.get(f"{self.url}/readyz", timeout=START_S)
            except httpx2.TransportError as error:
                told = repr(error)
            else:
                if answer.status_code == 200:
                    return
                told = answer.text
            time.sleep(0.02)
        raise AssertionError(f"the server did not become ready: {told}\n{self.log}")

    def client(self, **options: Any) -> httpx2.Client:
        """A client of it."""
        return httpx2.Client(base_url=self.url, timeout=START_S, **options)

    def connect(self) -> socket.socket:
        """A bare connection, for what no client would send."""
        return socket.create_connection((self.host, self.port), timeout=START_S)

    def send(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(timeout_s)
        self._reader.join(5)
        return code

    def stop(self) -> None:
        """SIGTERM; it must end in good order."""
        self.send(signal.SIGTERM)
        code = self.wait()
        assert code == 0, f"exit code {code}:\n{self.log}"
        assert "Traceback" not in self.log, self.log

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_S)
        self._reader.join(5)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def cpu_s(self) -> float:
        """CPU seconds that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self, *, peak: bool = False) -> float:
        """Resident memory, or the most that it ever was."""
        name = "VmHWM" if peak else "VmRSS"
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if name in line) / 1024

    def open_files(self) -> list[str]:
        """What its file descriptors stand for."""
        found = []
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(OSError):  # closed just now
                found.append(os.readlink(link))  # noqa: PTH115 - "socket:[1]" is no path
        return found

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            text = line.decode(errors="replace")
            self._lines.append(text)
            if not self._listening.is_set() and '"url"' in text:
                where = urlsplit(json.loads(text)["url"])
                self.host, self.port = where.hostname or "", where.port or 0
                self._listening.set()
        self._listening.set()


def serve_command(*args: str) -> list[str]:
    """The command ``augury serve`` of this very environment."""
    return [sys.executable, "-c", "from augury.app.cli import main; main()", "serve", *args]


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment without any setting of Augury but *settings*."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUGURY_")}
    given = {f"AUGURY_{name.upper()}": value for name, value in settings.items()}
    return {**kept, "AUGURY_LOG_FORMAT": "json", "AUGURY_DRAIN_GRACE_S": "0", **given}


@contextmanager
def serving(
    folder: Path, *args: str, ready: bool = True, **settings: str
) -> Iterator[ServerProcess]:
    """``augury serve`` with *args* in *folder*; ended when the block ends, if the test did not.

    Args:
        folder: Working folder.
        *args: Of the command line; the port is chosen by the system.
        ready: Whether to wait for readiness, or only for the socket.
        **settings: For the environment; ``drain_grace_s`` is 0 unless given.
    """
    server = ServerProcess(
        serve_command(*args, "--http-port", "0"), folder, clean_environment(**settings)
    )
    try:
        server.wait_until_listening()
        assert server.process.poll() is None, server.log
        if ready:
            server.wait_until_ready()
        yield server
    finally:
        server.kill()


def run_serve(folder: Path, *args: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """``augury serve`` that is expected to end by itself."""
    return subprocess.run(
        serve_command(*args),
        cwd=folder,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
