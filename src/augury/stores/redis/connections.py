"""The connections to one Redis, a bounded number, each used by one caller at a time.

redis-py makes them: it connects, logs in, encrypts, and hiredis reads the answers.  Its own pool and
client are left out: together they cost more than the server does, and they try again by themselves.
A connection goes back to the pool only after the whole answer was read.  Whatever else happens to
it, a timeout above all, it is closed, so that nobody can get the answer to another's question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

Command = tuple[str | bytes | int, ...]


@dataclass(frozen=True, slots=True)
class Server:
    """Where a Redis is, and how to be let in.

    Args:
        host: Name or address.
        port: Its port.
        db: Number of the database.
        username: ``None`` for the server's default user.
        password: ``None`` for none.
        tls: Whether to speak TLS; the server's certificate is checked.
        tls_ca: File of the authorities that may have signed it; ``None`` for the system's.
    """

    host: str
    port: int
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False
    tls_ca: str | None = None


class _Checked:
    """Knows whether the other side has hung up."""

    _reader: asyncio.StreamReader | None = None

    @property
    def hung_up(self) -> bool:
        return self._reader is not None and self._reader.at_eof()


class _Plain(_Checked, Connection):
    pass


class _Encrypted(_Checked, SSLConnection):
    pass


class Connections:
    """The pool.

    Args:
        server: Whom to connect to.
        size: Connections at most; who wants one more waits.
        connect_timeout_s: For one attempt to connect.
    """

    def __init__(self, server: Server, *, size: int, connect_timeout_s: float) -> None:
        self.size = size
        self._make = _maker(server, connect_timeout_s)
        self._free = asyncio.Semaphore(size)
        self._idle: list[_Plain | _Encrypted] = []
        self._closed = False

    def hold(self) -> AbstractAsyncContextManager[None]:
        """The right to one connection; waits until fewer than *size* are in use."""
        return self._free

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send *commands* in one go; whoever calls has :meth:`hold`.

        Returns:
            The answer to each; an error that the server answered is returned, not raised.

        Raises:
            redis.exceptions.RedisError, OSError: There is no answer; the connection is closed.
        """
        connection = await self._take()
        try:
            await connection.send_packed_command(_packed(connection, commands), check_health=False)
            answers = [await _answer(connection) for _ in commands]
        except BaseException:
            # Also when the caller's time is up: half an answer may be on its way.
            await connection.disconnect(nowait=True)
            raise
        if self._closed:
            await connection.disconnect(nowait=True)
        else:
            self._idle.append(connection)
        return answers

    async def clear(self) -> None:
        """Close the connections that nobody uses."""
        idle, self._idle = self._idle, []
        for connection in idle:
            with suppress(RedisError, OSError):  # it is gone either way
                await connection.disconnect()

    async def close(self) -> None:
        """Close all; those in use when they come back."""
        self._closed = True
        await self.clear()

    async def _take(self) -> _Plain | _Encrypted:
        while self._idle:
            # The one used last: the others may grow cold and be closed by the server.
            connection = self._idle.pop()
            if connection.is_connected and not connection.hung_up:
                return connection
            await connection.disconnect(nowait=True)
        connection = self._make()
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection


async def _answer(connection: Connection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _packed(connection: Connection, commands: Sequence[Command]) -> list[bytes]:
    if len(commands) == 1:
        return connection.pack_command(*commands[0])
    return connection.pack_commands(commands)


def _maker(server: Server, connect_timeout_s: float) -> Callable[[], _Plain | _Encrypted]:
    common: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "db": server.db,
        "username": server.username,
        "password": server.password,
        "socket_connect_timeout": connect_timeout_s,
        # The link bounds the whole operation; a second watch would only cost.
        "socket_timeout": None,
        # A second try within the caller's time is the caller's to make.
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,  # flat answers, the same from every version of the server
    }
    if server.tls:
        return lambda: _Encrypted(**common, ssl_ca_certs=server.tls_ca)
    return lambda: _Plain(**common)
