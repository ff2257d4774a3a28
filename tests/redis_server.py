"""A real ``redis-server`` process on a free port, for the tests that kill, stop and restart it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# Generous: the machine may be busy with other tests.
START_S = 20.0
STOP_S = 20.0


class RedisServer:
    """A Redis of the test's own; a context manager that has started it.

    Args:
        folder: Where it keeps its data and its log.
        appendonly: Whether what it has confirmed is on the disk, and outlives :meth:`kill`.
        **options: More of its options, ``_`` for ``-``: ``maxmemory="1mb"``, ``requirepass="x"``.
    """

    def __init__(self, folder: Path, *, appendonly: bool = True, **options: str) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = free_port()
        self._password = options.get("requirepass", "")
        self._options = {
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            # Without it, what was confirmed within the last second or two may be lost by a kill.
            "appendfsync": "always",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """``redis://`` URL of its database 0, with its password if it has one."""
        secret = f":{self._password}@" if self._password else ""
        return f"redis://{secret}{self.address}/0"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a process, be it paused."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start it, always on the same port and over the same data.

        Args:
            wait: Return only when it answers commands.
        """
        assert not self.running, "it runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        given = {
            "bind": self.host,
            "port": str(self.port),
            "dir": str(self.folder),
            **self._options,
        }
        command = [
            "redis-server",
            *(part for name, value in given.items() for part in (f"--{name}", value)),
        ]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        if wait:
            self.wait_until_answering()

    def wait_until_answering(self) -> None:
        """Return when it has loaded its data and answers."""
        until_s = time.monotonic() + START_S
        answer = ""
        while self.running and time.monotonic() < until_s:
            try:
                answer = self.ask("PING")
            except OSError as error:
                answer = repr(error)
            if answer == "+PONG":
                return
            time.sleep(0.005)
        raise AssertionError(f"redis-server did not start: {answer}\n{self.log}")

    def kill(self) -> None:
        """SIGKILL, as by the kernel when memory is short; no harm when it does not run."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: it writes what it has to and ends."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start again after :meth:`kill` or :meth:`stop`, or kill and start."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay and are taken, but nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str | bytes, timeout_s: float = STOP_S) -> str:
        """Send one command on a connection of its own; the first line of the raw answer."""
        with socket.create_connection((self.host, self.port), timeout=timeout_s) as connection:
            if self._password:
                connection.sendall(_encoded("AUTH", self._password))
                _line(connection)
            connection.sendall(_encoded(*words))
            return _line(connection)

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.folder / "redis.log").read_text(errors="replace")

    def _end(self, number: int) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        if number != signal.SIGKILL:
            process.send_signal(signal.SIGCONT)  # a paused one would not hear it
        process.wait(STOP_S)


def _encoded(*words: str | bytes) -> bytes:
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def _line(connection: socket.socket) -> str:
    with connection.makefile("rb") as answer:
        return answer.readline().decode(errors="replace").rstrip("\r\n")


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_redis() -> None:
    """Skip the test where there is no redis-server, except in CI: there it fails."""
    if shutil.which("redis-server") is None:
        message = "redis-server is not installed (Debian: apt-get install redis-server)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A running Redis whose confirmed writes outlive a kill; ended with the test."""
    require_redis()
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running Redis for tests that leave it as it is; nothing in it outlives a test's use."""
    require_redis()
    with RedisServer(tmp_path_factory.mktemp("redis"), appendonly=False) as server:
        yield server
