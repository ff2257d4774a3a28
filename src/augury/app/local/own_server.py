"""A server process of our own around one model, for as long as something is measured."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Final, NoReturn

from augury.core.errors import OperatorError
from augury.packages.reader import MANIFEST_NAME, ModelPackage

# The server ends when its standard input does, however this process ends: a SIGKILL leaves it no time for anything.
_START: Final = """
import os, signal, threading
def watch():
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=watch, daemon=True, name="parent").start()
from augury.app.cli import main
main()
"""
START_S: Final = 120.0
STOP_S: Final = 30.0


@dataclass(frozen=True)
class OwnServer:
    """A server that answers.

    Args:
        url: Where.
        pid: Its process.
        settings: What it was given by the environment.
        inherited: Names of what it has besides, of the environment of this process.
    """

    url: str
    pid: int
    settings: dict[str, str]
    inherited: tuple[str, ...] = ()


@contextmanager
def serve_package(
    package: ModelPackage, *, cache: bool = False, cpus: tuple[int, ...] = ()
) -> Iterator[OwnServer]:
    """``augury serve`` with nothing but *package*, on a free port of loopback; stopped when the block ends.

    Args:
        package: The model and version.
        cache: Whether it remembers answers.
        cpus: Cores that it stays on; empty: any.

    Raises:
        OperatorError: It does not start; its last words.
    """
    settings = {
        "AUGURY_LOG_LEVEL": "warning",
        "AUGURY_LOG_FORMAT": "console",
        "AUGURY_DRAIN_GRACE_S": "0",
        "AUGURY_STORE": "memory://",
        "AUGURY_MODEL_CONTROL": "none",
    }
    if not cache:
        settings |= {"AUGURY_CACHE_BYTES": "0", "AUGURY_CACHE_STORE": "off"}
    inherited = sorted(
        name for name in os.environ if name.startswith("AUGURY_") and name not in settings
    )
    with TemporaryDirectory(prefix="augury-bench-") as folder, TemporaryFile() as log:
        repository = Path(folder, "models")
        lay_out(package, repository)
        port = _free_port()
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and command
            [
                *(sys.executable, "-P", "-c", _START),
                *("serve", str(repository), "--host", "127.0.0.1", "--http-port", str(port)),
            ],
            cwd=folder,
            env={**os.environ, **settings},
            # Nothing is ever written to it: that it ends is the word to stop.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            # Ctrl-C ends the measuring; the server is stopped after it.
            start_new_session=True,
        )
        try:
            if cpus:
                os.sched_setaffinity(process.pid, cpus)  # before it has threads
            url = f"http://127.0.0.1:{port}"
            until_s = time.monotonic() + START_S
            while not _is_ready(url):
                if process.poll() is not None or time.monotonic() > until_s:
                    log.seek(0)
                    words = log.read().decode(errors="replace").strip().splitlines()
                    said = f": {words[-1]}" if words else ""
                    raise OperatorError(f"the server for {package.name} did not start{said}")
                time.sleep(0.02)
            yield OwnServer(url, process.pid, settings, tuple(inherited))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            finally:
                if process.stdin is not None:
                    process.stdin.close()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within the block ``kill`` and a terminal that is closed end this process as an exit does: what was started is stopped.

    What is ignored already (``nohup``) stays so.
    """

    def leave(number: int, frame: object) -> NoReturn:
        sys.exit(128 + number)

    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def lay_out(package: ModelPackage, repository: Path) -> None:
    """Make *repository* hold that one version, by links."""
    model = repository / package.name
    model.mkdir(parents=True)
    (model / str(package.version)).symlink_to(package.path.resolve(), target_is_directory=True)
    manifest = package.path.resolve().parent / MANIFEST_NAME
    if manifest.exists():
        (model / MANIFEST_NAME).symlink_to(manifest)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310 - http, ours
            return bool(json.load(answer)["ready"])
    except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
        return False
