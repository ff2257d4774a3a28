"""SIGTERM and SIGINT: what has been accepted is answered, whatever the load."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import ServerProcess, serving
from tests.models import write_identity, write_spin, write_stubborn
from tests.wire import Answer, Wire, post

pytestmark = pytest.mark.e2e

IDENTITY = "/api/models/identity/predict"
SPIN = "/api/models/spin/predict"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """identity and spin."""
    path = tmp_path / "models"
    write_identity(path)
    write_spin(path)
    return path


class Load:
    """Clients that ask until the server goes away, and count what became of each request."""

    def __init__(self, server: ServerProcess) -> None:
        self.port = server.port
        self.counts: Counter[str] = Counter()

    async def connections_kept(self) -> None:
        """Requests one after another on a connection; a new one when the server closes it."""
        rng = random.Random()
        while (wire := await self._connect()) is not None:
            async with wire:
                closing = False
                while not closing and not wire.reader.at_eof():
                    answer = await self._ask(wire)
                    closing = answer is None or answer.headers.get("connection") == "close"
                    if rng.random() < 0.02:
                        await asyncio.sleep(rng.random() * 0.3)

    async def connection_each(self) -> None:
        """A connection for each request."""
        while (wire := await self._connect()) is not None:
            async with wire:
                await self._ask(wire, "Connection: close")

    async def _connect(self) -> Wire | None:
        try:
            return await Wire.open("127.0.0.1", self.port)
        except OSError:
            self.counts["refused"] += 1
            return None

    async def _ask(self, wire: Wire, *headers: str) -> Answer | None:
        x = [random.randrange(1 << 20), random.randrange(1 << 20)]
        try:
            answer = await wire.ask(
                post(IDENTITY, json.dumps({"rows": [{"x": x}]}).encode(), *headers)
            )
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.counts[f"lost: {error!r}"] += 1
            return None
        right = answer.status == 200 and json.loads(answer.body)["rows"][0]["y"] == x
        self.counts["answered" if right else f"wrong: {answer.status} {answer.body!r}"] += 1
        return answer


@asynccontextmanager
async def load(server: ServerProcess, *, kept: int, each: int) -> AsyncIterator[Load]:
    """Clients at work; the block ends when all of them have been refused."""
    clients = Load(server)
    tasks = [asyncio.create_task(clients.connections_kept()) for _ in range(kept)]
    tasks += [asyncio.create_task(clients.connection_each()) for _ in range(each)]
    yield clients
    async with asyncio.timeout(60):
        await asyncio.gather(*tasks)


async def turns_for(server: ServerProcess, seconds: float) -> int:
    """Turns of spin that take about *seconds* on this machine, as busy as it is."""
    async with await Wire.open("127.0.0.1", server.port) as wire:
        answer = await wire.ask(post(SPIN, b'{"rows": [{"turns": [20000]}]}'))
    taken_ms: float = json.loads(answer.body)["timing"]["runtime_ms"]
    return int(20_000 * seconds * 1e3 / taken_ms)


async def ended(server: ServerProcess, timeout_s: float = 40) -> int:
    """Its exit code, without blocking this loop."""
    return await asyncio.to_thread(server.wait, timeout_s)


async def spin(server: ServerProcess, turns: int) -> Answer:
    """Ask the slow model."""
    async with await Wire.open("127.0.0.1", server.port) as wire:
        body = json.dumps({"rows": [{"turns": [turns]}]}).encode()
        return await wire.ask(post(SPIN, body))


@pytest.mark.parametrize("grace_s", ["0", "0.5"])
async def test_sigterm_under_load_loses_nothing(
    repository: Path, tmp_path: Path, grace_s: str
) -> None:
    """32 connections that are kept and 16 clients that connect for each request: none is cut."""
    with serving(tmp_path, str(repository), drain_grace_s=grace_s) as server:
        async with load(server, kept=32, each=16) as clients:
            await asyncio.sleep(1.5)
            server.send(signal.SIGTERM)
        assert await ended(server) == 0
        assert set(clients.counts) == {"answered", "refused"}, clients.counts
        assert clients.counts["answered"] > 200
        assert clients.counts["refused"] == 48
        assert "Traceback" not in server.log
        assert not [event for event in server.events() if event["level"] in ("warning", "error")]


async def test_what_lasts_a_second_is_finished(repository: Path, tmp_path: Path) -> None:
    """Slow requests under way and in the queue are answered; readiness is off meanwhile."""
    with serving(tmp_path, str(repository), drain_grace_s="1.0") as server:
        turns = await turns_for(server, 1.0)
        slow = [asyncio.create_task(spin(server, turns + number)) for number in range(3)]
        await asyncio.sleep(0.3)
        server.send(signal.SIGTERM)
        await asyncio.sleep(0.4)
        with server.client() as client:
            ready = client.get("/readyz")
            assert (ready.status_code, ready.json()["reasons"]) == (503, ["draining"])
            assert ready.headers["connection"] == "close"
            assert client.get("/livez").status_code == 200
        answers = [json.loads((await one).body)["rows"] for one in slow]
        assert answers == [[{"done": [turns + number]}] for number in range(3)]
        assert await ended(server) == 0


async def test_the_drain_s_timeout_is_kept(repository: Path, tmp_path: Path) -> None:
    """Requests that outlast it are told 503, under way or waiting; what can be stopped is stopped."""
    with serving(tmp_path, str(repository), drain_timeout_s="1") as server:
        turns = await turns_for(server, 60.0)
        slow = [asyncio.create_task(spin(server, turns + number)) for number in range(3)]
        await asyncio.sleep(0.5)
        started_s = time.monotonic()
        server.send(signal.SIGTERM)
        for one in slow:
            assert_cut(await one)
        assert await ended(server) == 0
        assert 1.0 <= time.monotonic() - started_s < 10
        assert "Traceback" not in server.log
        events = [event["event"] for event in server.events()]
        assert "the drain's time is up" in events
        assert "a model has not finished; left as it is" not in events


async def test_a_model_that_cannot_be_stopped_does_not_keep_the_process(tmp_path: Path) -> None:
    """It ends soon after the drain's timeout all the same, and its exit code tells."""
    write_stubborn(tmp_path / "models")
    with serving(tmp_path, "models", drain_timeout_s="1") as server:
        async with await Wire.open("127.0.0.1", server.port) as wire:
            body = b'{"rows": [{"boxes": [400000]}]}'  # each with each: a minute and more
            slow = asyncio.create_task(wire.ask(post("/api/models/stubborn/predict", body)))
            await asyncio.sleep(0.5)
            started_s = time.monotonic()
            server.send(signal.SIGTERM)
            assert_cut(await slow)
        assert await ended(server) == 1
        assert 1.0 <= time.monotonic() - started_s < 20
        assert "Traceback" not in server.log
        events = [event["event"] for event in server.events()]
        assert "the drain's time is up" in events
        assert "a model has not finished; left as it is" in events


def assert_cut(answer: Answer) -> None:
    """It tells that the server had to stop."""
    assert (answer.status, json.loads(answer.body)["code"]) == (503, "unavailable")


async def test_a_signal_s_second_time_ends_it_at_once(repository: Path, tmp_path: Path) -> None:
    """Ctrl-C twice is meant; the exit code tells the signal."""
    with serving(tmp_path, str(repository)) as server:
        turns = await turns_for(server, 60.0)
        slow = asyncio.create_task(spin(server, turns))
        await asyncio.sleep(0.5)
        server.send(signal.SIGINT)
        await asyncio.sleep(1.0)
        assert server.process.poll() is None
        started_s = time.monotonic()
        server.send(signal.SIGINT)
        assert await ended(server) == 130
        assert time.monotonic() - started_s < 5
        assert "Traceback" not in server.log
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_idle_it_goes_in_good_order(repository: Path, tmp_path: Path, number: int) -> None:
    """No traceback, exit code 0, soon, connections or not."""
    with serving(tmp_path, str(repository)) as server:
        async with await Wire.open("127.0.0.1", server.port) as unused:
            started_s = time.monotonic()
            server.send(number)
            assert await unused.ended()
            assert await ended(server) == 0
            assert time.monotonic() - started_s < 10
        assert "Traceback" not in server.log
        assert [event["event"] for event in server.events()][-1] == "stopped"


async def test_connections_are_not_leaked(repository: Path, tmp_path: Path) -> None:
    """Whatever clients do, the file descriptors come back."""
    with serving(tmp_path, str(repository)) as server:
        with server.client() as client:
            client.get("/livez")
            client.get("/metrics")
        await asyncio.sleep(0.3)
        before = set(server.open_files())
        rude: list[Any] = []
        for number in range(60):
            wire = await Wire.open("127.0.0.1", server.port)
            data = post(IDENTITY, b'{"rows": [{"x": [1, 2]}]}')
            await wire.send([data, data[:-5], b"\x00\xff", b""][number % 4])
            rude.append(wire)
        await asyncio.sleep(0.3)
        for wire in rude:
            wire.writer.transport.abort()
        for _ in range(200):
            left = set(server.open_files()) - before
            if not left:
                break
            await asyncio.sleep(0.05)
        assert not left
        server.stop()
