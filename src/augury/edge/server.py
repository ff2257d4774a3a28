"""The listening socket, and how the server goes away without cutting anybody off.

On SIGTERM or SIGINT: readiness goes off and each answer asks its client to close; new requests are
still answered for ``grace_s``, so that balancers notice.  Then the socket takes no new connections,
those already in its backlog are accepted and answered, and the requests under way are finished.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Iterator
from typing import Any, Final, cast

import uvicorn

from augury.core.errors import InvalidSetting, PortInUse
from augury.edge.health import Drain
from augury.edge.http import Edge
from augury.observe.logs import get_logger

# Time for the loop to accept what the kernel has queued, once the backlog is closed.
_BACKLOG_S: Final = 0.05
# Time for a request that was on its way when the socket closed.
_LINGER_S: Final = 0.2

_log = get_logger(__name__)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        PortInUse: Another process listens there.
        InvalidSetting: The host is not one of this machine, or the port is not allowed.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise InvalidSetting(f"host {host!r} is not an address of this machine (--host)") from None
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} on {host} is in use by another process; "
                "choose another with --http-port"
            ) from None
        if error.errno == errno.EACCES:
            raise InvalidSetting(
                f"port {port} needs privileges that this process lacks; choose one above 1023"
            ) from None
        raise InvalidSetting(f"cannot listen on {host} port {port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


class Server(uvicorn.Server):
    """uvicorn with a drain that loses nothing.

    Args:
        edge: The application.
        drain: Told when the server begins to go away.
        grace_s: Seconds in which a draining server still takes new connections.
        drain_timeout_s: Seconds after which requests still under way are cut.
    """

    def __init__(self, edge: Edge, drain: Drain, *, grace_s: float, drain_timeout_s: float) -> None:
        config = uvicorn.Config(
            cast(Any, edge),
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(drain_timeout_s)),
        )
        super().__init__(config)
        self._drain = drain
        self._grace_s = grace_s

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._drain.begun = True
        _log.info("draining", grace_s=self._grace_s)
        await asyncio.sleep(self._grace_s)
        # Linux: a backlog of 0 keeps newcomers waiting unaccepted instead of being reset later.
        for listener in sockets or []:
            with contextlib.suppress(OSError):
                listener.listen(0)
        await asyncio.sleep(_BACKLOG_S)
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LINGER_S)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals on the loop; unlike uvicorn's own, they are not raised again at the end."""
        loop = asyncio.get_running_loop()
        handled = (signal.SIGINT, signal.SIGTERM)
        for number in handled:
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self.should_exit:
            self.force_exit = True  # asked twice: go now
        self.should_exit = True
