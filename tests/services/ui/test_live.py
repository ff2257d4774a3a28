from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from augury.services.ui.live import _events
from augury.services.ui.sampler import Subscription
from augury.services.ui.schemas import ServerHistory
from tests.application import InProcess, in_process
from tests.e2e.server import serving
from tests.models import write_identity


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    write_identity(path)
    return path


@pytest.fixture
async def running(repository: Path) -> AsyncIterator[InProcess]:
    async with in_process(repository) as application:
        yield application


async def test_the_history_is_what_its_schema_says(running: InProcess) -> None:
    """Version, range, models and samples; both ranges, and nothing else."""
    for name, interval_s in (("15m", 5.0), ("24h", 120.0)):
        answer = await running.client.get(f"/api/ui/history?range={name}")
        assert answer.headers["cache-control"] == "no-store"
        told = ServerHistory.model_validate_json(answer.content)
        assert (told.range, told.interval_s, told.tweets) == (name, interval_s, False)
        (model,) = told.models
        assert (model.model, model.version, model.state) == ("identity", "1", "ready")
        assert model.answers
    with pytest.raises(ValidationError):
        ServerHistory.model_validate_json(answer.content[:-1] + b',"samples":1}')
    refused = await running.client.get("/api/ui/history?range=1y")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")


async def test_the_routes_are_documented(running: InProcess) -> None:
    """In the API's document, typed."""
    document = (await running.client.get("/openapi.json")).json()
    assert "/api/ui/live" in document["paths"]
    content = document["paths"]["/api/ui/history"]["get"]["responses"]["200"]["content"]
    assert content["application/json"]["schema"]["$ref"].endswith("/ServerHistory")


async def test_the_dashboard_is_there_for_any_repository(running: InProcess) -> None:
    """Without the tweet application there is no page at /, but the dashboard is."""
    assert (await running.client.get("/ui")).status_code == 200
    assert (await running.client.get("/")).status_code == 404


@asynccontextmanager
async def connected(
    host: str, port: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, closed when the block ends."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def read_events(lines: AsyncIterator[str], count: int) -> list[dict[str, str]]:
    """The first *count* events of a stream."""
    events: list[dict[str, str]] = []
    event: dict[str, str] = {}
    async for line in lines:
        if line == "":
            if "data" in event:
                events.append(event)
                if len(events) == count:
                    break
            event = {}
        else:
            name, _, value = line.partition(":")
            event[name] = value.strip()
    return events


@pytest.mark.e2e
async def test_a_stream_lives_until_the_drain(repository: Path, tmp_path: Path) -> None:
    """Samples with ids come every few seconds; SIGTERM ends the stream, which holds nothing up."""
    with serving(tmp_path, str(repository), model_control="none") as server:
        async with (
            httpx2.AsyncClient(base_url=server.url, timeout=30) as client,
            client.stream("GET", "/api/ui/live") as stream,
        ):
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["cache-control"] == "no-store"
            body = {"rows": [{"x": [1.0, 2.0]}]}
            await client.post("/api/models/identity/predict", json=body)
            lines = stream.aiter_lines()
            first, second = await read_events(lines, 2)
            assert (first["event"], second["event"]) == ("sample", "sample")
            assert int(second["id"]) == int(first["id"]) + 1
            sample: dict[str, Any] = json.loads(first["data"])
            assert 4 <= sample["seconds"] <= 6.5
            history = ServerHistory.model_validate_json(
                (await client.get("/api/ui/history")).content
            )
            assert len(history.samples) >= 2
            began_s = time.monotonic()
            server.stop()
            assert [line async for line in lines if line.startswith("data")] == []
            assert time.monotonic() - began_s < 5


async def test_a_stream_ends_and_gives_its_place_back() -> None:
    """After its time, however much happens: whoever comes back is asked for credentials again."""
    subscription, held = Subscription(), ExitStack()
    left: list[bool] = []
    held.callback(left.append, True)
    events = [event async for event in _events(held, subscription, heartbeat_s=0.01, lasts_s=0.05)]
    assert events[0].startswith(b"retry: ")
    assert events[-1] == b": still here\n\n"
    assert left == [True]


@pytest.mark.e2e
async def test_streams_are_bounded(repository: Path, tmp_path: Path) -> None:
    """32 listen; the 33rd is told when to ask again; who leaves gives the place back."""
    with serving(tmp_path, str(repository), model_control="none") as server:
        request = f"GET /api/ui/live HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n\r\n".encode()
        async with AsyncExitStack() as held:
            for _ in range(32):
                last = await held.enter_async_context(connected(server.host, server.port))
                last[1].write(request)
                assert b"200" in await last[0].readline()
            async with httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
                refused = await client.get("/api/ui/live")
                assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
                assert int(refused.headers["retry-after"]) == 30
                last[1].close()
                status = 429
                async with asyncio.timeout(10):
                    while status == 429:
                        await asyncio.sleep(0.1)
                        async with client.stream("GET", "/api/ui/live") as stream:
                            status = stream.status_code
                assert status == 200
        server.stop()


@pytest.mark.e2e
async def test_listening_is_no_waiting(repository: Path, tmp_path: Path) -> None:
    """The time of a stream in the metrics is that to its beginning, however long it lasts."""
    with serving(tmp_path, str(repository), model_control="none") as server:
        async with httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
            async with client.stream("GET", "/api/ui/live") as stream:
                await read_events(stream.aiter_lines(), 1)  # comes after some seconds
            name = 'augury_request_seconds_sum{model="",protocol="/api/ui/live"} '
            told: list[str] = []
            async with asyncio.timeout(10):
                while not told:
                    await asyncio.sleep(0.1)
                    lines = (await client.get("/metrics")).text.splitlines()
                    told = [line for line in lines if line.startswith(name)]
            assert float(told[0].removeprefix(name)) < 1
        server.stop()
