"""Small servers that behave as a test wants, each in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

# Number of the request (from 0), path, body -> the bytes of the answer; None closes the connection.
Answering = Callable[[int, str, bytes], Awaitable[bytes | None]]

MODEL = {
    "name": "m",
    "default_version": "1",
    "versions": [
        {
            "version": "1",
            "signature": {
                "inputs": [{"name": "x", "datatype": "INT64", "shape": [2]}],
                "outputs": [{"name": "y", "datatype": "INT64", "shape": [2]}],
            },
            "example": {"rows": [{"x": [1, 2]}]},
        }
    ],
}


@dataclass
class Served:
    """What a server has seen."""

    answering: Answering
    port: int = 0
    requests: int = 0
    connections: int = 0
    headers: list[bytes] = field(default_factory=list)
    stop: Callable[[], object] = lambda: None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"


def answer(value: Any, status: int = 200, *headers: str) -> bytes:
    """*value* as JSON, as a whole answer."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    lines = [f"HTTP/1.1 {status} x", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def echo(number: int, path: str, body: bytes) -> bytes | None:
    """The native dialect; ``y`` is ``x``."""
    if path.startswith("/api/models") and not body:
        return answer({"models": [{"name": "m"}]} if path == "/api/models" else MODEL)
    rows = json.loads(body)["rows"]
    return answer({"rows": [{"y": row["x"]} for row in rows]})


@contextmanager
def serving(answering: Answering = echo) -> Iterator[Served]:
    """A server on a free port; ended with the block."""
    served = Served(answering)
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with _listening(served):
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10)
    served.stop = lambda: loop.call_soon_threadsafe(stop.set)
    try:
        yield served
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@asynccontextmanager
async def _listening(served: Served) -> AsyncIterator[None]:
    tasks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.add(writer)
        served.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lower = head.lower()
                at = lower.find(b"content-length:")
                size = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
                body = await reader.readexactly(size)
                if size:
                    served.headers.append(head)
                    served.requests += 1
                told = await served.answering(
                    served.requests - 1, head.split(b" ")[1].decode(), body
                )
                if told is None:
                    break
                writer.write(told)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=512)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        # What has been accepted just now gets its transport first: asyncio forgets it once the server is closed.
        asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
        await asyncio.sleep(0.01)
        server.close()
        # Some may have been accepted just now, and have no task yet; transports close in the next turn of the loop.
        for _ in range(3):
            for writer in writers:
                writer.transport.abort()  # what nobody reads any more is not waited for
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0.01)
        await asyncio.gather(*tasks, return_exceptions=True)
