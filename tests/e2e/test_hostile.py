"""A real server and clients that mean it no good; afterwards it still answers."""

from __future__ import annotations

import asyncio
import json
import random
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess, serving
from tests.models import write_classifier, write_identity
from tests.wire import Wire, get, post

pytestmark = pytest.mark.e2e

IDENTITY = "/api/models/identity/predict"
MIB = 1 << 20


@asynccontextmanager
async def attacked(
    tmp_path: Path, *args: str, client_timeout_s: str = "30"
) -> AsyncIterator[ServerProcess]:
    """A server that must be in good health when the block ends, and stop in good order."""
    write_identity(tmp_path / "models")
    write_classifier(tmp_path / "models")
    with serving(tmp_path, "models", *args, client_timeout_s=client_timeout_s) as server:
        yield server
        with server.client() as client:
            assert client.get("/readyz").status_code == 200
            answer = client.post(IDENTITY, json={"rows": [{"x": [1, 2]}]})
            assert answer.json()["rows"] == [{"y": [1, 2]}]
        await asyncio.to_thread(server.stop)
        assert not [event for event in server.events() if event["level"] == "error"]


async def upload(server: ServerProcess, size: int) -> int:
    """Send a body of *size* bytes to the classifier; the answer's status, 0 when there is none."""
    async with await Wire.open("127.0.0.1", server.port) as wire:
        filler = size - len(b'{"rows":[{"text":""}]}')
        head = post("/api/models/mood/predict", b"").replace(b": 0", b": %d" % size)
        with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            await wire.send(head + b'{"rows":[{"text":"')
            for start in range(0, filler, MIB):
                await wire.send(b"x" * min(MIB, filler - start))
                if wire.reader._buffer:  # type: ignore[attr-defined]
                    break
            else:
                await wire.send(b'"}]}')
            return (await wire.answer()).status
    return 0


async def test_many_large_bodies_take_bounded_memory(tmp_path: Path) -> None:
    """100 bodies of 32 MiB at once, 3.2 GB: some are answered, the others are told to come back."""
    async with attacked(tmp_path) as server:
        before_mib = server.rss_mib()
        statuses = await asyncio.gather(*(upload(server, 32 * MIB) for _ in range(100)))
        assert 200 in statuses
        assert set(statuses) <= {200, 429}, statuses
        # 256 MiB of bodies, one of them decoded, and what the allocator keeps.
        assert server.rss_mib(peak=True) - before_mib < 1000


async def test_a_body_over_the_limit_is_told(tmp_path: Path) -> None:
    """One byte more than 32 MiB is 413, at once, by its announcement."""
    async with attacked(tmp_path) as server, await Wire.open("127.0.0.1", server.port) as wire:
        head = post(IDENTITY, b"").replace(b": 0", b": %d" % (32 * MIB + 1))
        answer = await wire.ask(head)
        assert answer.status == 413
        assert f"{32 * MIB} (max_body_bytes)" in json.loads(answer.body)["detail"]


async def test_a_million_bad_rows_take_bounded_memory(tmp_path: Path) -> None:
    """Rows of nothing are counted before they are looked at."""
    async with attacked(tmp_path) as server:
        before_mib = server.rss_mib()
        async with await Wire.open("127.0.0.1", server.port) as wire:
            answer = await wire.ask(post(IDENTITY, b'{"rows":[' + b"{}," * 4_000_000 + b"{}]}"))
            assert answer.status == 413
            assert "max_request_rows" in json.loads(answer.body)["detail"]
        assert server.rss_mib(peak=True) - before_mib < 1000


async def test_texts_where_numbers_should_be_take_no_memory(tmp_path: Path) -> None:
    """A list with one long text among many short ones is refused as what it is."""
    async with attacked(tmp_path) as server:
        before_mib = server.rss_mib()
        async with await Wire.open("127.0.0.1", server.port) as wire:
            long = b'"' + b"x" * 4_000_000 + b'"'
            row = b'{"rows":[{"x":[' + long + b',"y"' * 1_000_000 + b"]}]}"
            assert (await wire.ask(post(IDENTITY, row))).status == 400
        assert server.rss_mib(peak=True) - before_mib < 500


async def test_slow_clients_are_cut_and_the_others_are_not(tmp_path: Path) -> None:
    """Two hundred connections that trickle headers do not keep anybody waiting."""
    async with attacked(tmp_path, client_timeout_s="1") as server:
        slow = [await Wire.open("127.0.0.1", server.port) for _ in range(200)]
        for wire in slow:
            await wire.send(b"GET / HTTP/1.1\r\nA: ")
        async with await Wire.open("127.0.0.1", server.port) as wire:
            for _ in range(20):
                assert (await wire.ask(get("/livez"))).status == 200
        assert all(await asyncio.gather(*(wire.ended() for wire in slow)))
        for wire in slow:
            wire.writer.transport.abort()


async def test_garbage(tmp_path: Path) -> None:
    """Random bytes, random requests cut at random places: nothing breaks."""
    rng = random.Random(7)
    async with attacked(tmp_path) as server:
        pieces = [
            post(IDENTITY, b'{"rows": [{"x": [1, 2]}]}'),
            get("/api/models"),
            get("/openapi.json", "Accept-Encoding: gzip;q=1e999"),
            get("/" + "%00%ff/" * 50),
            get("/livez?" + "&".join(f"a{number}=b" for number in range(5000))),
            post(IDENTITY, b"[" * 100_000),
            bytes(rng.randrange(256) for _ in range(2000)),
        ]
        for _ in range(300):
            async with await Wire.open("127.0.0.1", server.port) as wire:
                data = bytearray(rng.choice(pieces))
                for _ in range(rng.randrange(3)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                with suppress(ConnectionError):
                    await wire.send(bytes(data[: rng.randrange(1, len(data) + 1)]))
                    if rng.random() < 0.5:
                        with suppress(TimeoutError):
                            await asyncio.wait_for(wire.reader.read(100), 0.02)


async def test_more_connections_than_file_descriptors(tmp_path: Path) -> None:
    """When they run out, newcomers wait and no model is lost; when they come back, all goes on."""
    async with attacked(tmp_path) as server:
        pid = server.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(server.open_files()) + 50, hard))
        crowd = [await Wire.open("127.0.0.1", server.port) for _ in range(120)]
        await asyncio.sleep(1.0)
        used_s = server.cpu_s()
        await asyncio.sleep(2.5)  # longer than between two looks at the repository
        busy_s = server.cpu_s() - used_s
        for wire in crowd:
            wire.writer.transport.abort()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        await asyncio.sleep(0.5)
        assert busy_s < 2.0
