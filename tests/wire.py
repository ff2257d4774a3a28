"""HTTP by hand, for what no client library would send."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

# Generous: the machine may be busy with other tests.
ANSWER_S = 30.0


@dataclass(frozen=True)
class Answer:
    """A whole response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """A connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection(host, port))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, data: bytes, *, body: bool = True) -> Answer:
        """Send bytes and read one answer."""
        await self.send(data)
        return await self.answer(body=body)

    async def answer(self, *, body: bool = True) -> Answer:
        """Read one answer; *body* is false after HEAD.

        Raises:
            asyncio.IncompleteReadError: The connection ended before the answer did.
        """
        async with asyncio.timeout(ANSWER_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").rstrip().split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            size = int(headers.get("content-length", "0")) if body else 0
            content = await self.reader.readexactly(size)
            return Answer(int(first.split(" ")[1]), headers, content)

    async def ended(self) -> bool:
        """Wait for the server to close; whether it did so without sending anything more."""
        async with asyncio.timeout(ANSWER_S):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True


def get(path: str, *headers: str, version: str = "1.1") -> bytes:
    """A GET request."""
    lines = [f"GET {path} HTTP/{version}", "Host: localhost", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def post(path: str, body: bytes, *headers: str, version: str = "1.1") -> bytes:
    """A POST request with its length."""
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}"]
    return ("\r\n".join([*lines, *headers]) + "\r\n\r\n").encode() + body
