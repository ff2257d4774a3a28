"""uvicorn, and how it goes away without cutting anybody off.

Told to stop: readiness goes off and each connection ends with its next answer; new connections are
still taken for ``grace_s``, so that balancers notice.  Then none can begin any more, those that have
begun are accepted and answered, and the requests under way are finished.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import Any, Final, cast

import uvicorn

from augury.edge.connection import Connection
from augury.edge.health import Drain
from augury.edge.http import Edge
from augury.edge.listener import BACKLOG, refuse_newcomers
from augury.observe.logs import get_logger

# Time for a handshake that has begun to end, and for the loop to accept it.
_BACKLOG_S: Final = 0.25
# Between two looks at what is still under way.
_LOOK_S: Final = 0.02
# Time for cancelled requests to say so to their clients.
_CUT_S: Final = 1.0

_log = get_logger(__name__)


class Server(uvicorn.Server):
    """uvicorn with a drain that loses nothing, and with bounds on slow clients.

    Args:
        edge: The application.
        drain: Told when the server begins to go away.
        grace_s: Seconds in which a draining server still takes new connections.
        drain_timeout_s: Seconds after which requests still under way are cut.
        client_timeout_s: Seconds that a client may keep the server waiting.
        max_header_bytes: Request line and headers may have so many bytes.
    """

    def __init__(
        self,
        edge: Edge,
        drain: Drain,
        *,
        grace_s: float,
        drain_timeout_s: float,
        client_timeout_s: float = 30.0,
        max_header_bytes: int = 65_536,
    ) -> None:
        application: object = edge
        connection = partial(
            Connection,
            application=application if isinstance(application, Edge) else None,
            drain=drain,
            max_header_bytes=max_header_bytes,
        )
        config = uvicorn.Config(
            cast(Any, edge),
            loop="none",
            http=cast(Any, connection),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            date_header=False,
            timeout_keep_alive=75,
            backlog=BACKLOG,
        )
        super().__init__(config)
        self._drain = drain
        self._grace_s = grace_s
        self._drain_timeout_s = drain_timeout_s
        self._client_timeout_s = client_timeout_s

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # once a second
            self._end_stalled()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._drain.begun = True
        _log.info("draining", grace_s=self._grace_s, timeout_s=self._drain_timeout_s)
        for connection in self._connections():
            connection.begin_to_end()
        await asyncio.sleep(self._grace_s)
        for listener in sockets or []:
            refuse_newcomers(listener)
        await asyncio.sleep(_BACKLOG_S)
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        try:
            async with asyncio.timeout(self._drain_timeout_s):
                await self._finish()
        except TimeoutError:
            await self._cut()

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """None: who runs the server decides what signals mean."""
        return contextlib.nullcontext()

    async def _finish(self) -> None:
        """Return when every connection is closed and every request done."""
        while self.server_state.connections or self.server_state.tasks:
            self._end_stalled()
            for connection in self._connections():
                connection.end_if_idle()
            await asyncio.sleep(_LOOK_S)

    async def _cut(self) -> None:
        tasks = set(self.server_state.tasks)
        _log.warning(
            "the drain's time is up", requests_cut=len(tasks), timeout_s=self._drain_timeout_s
        )
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CUT_S)
        for connection in self._connections():
            connection.transport.abort()

    def _end_stalled(self) -> None:
        for connection in self._connections():
            connection.end_if_stalled(self._client_timeout_s)

    def _connections(self) -> list[Connection]:
        return cast("list[Connection]", list(self.server_state.connections))
