"""From settings to a server that answers, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from augury.app.build import open_application
from augury.app.settings import Settings
from augury.core.garbage import freeze
from augury.edge.auth.audit import LOGGER as AUDIT_LOGGER
from augury.edge.listener import bind
from augury.edge.server import Server
from augury.observe.logs import configure_logging, get_logger

# A model's code cannot be interrupted; so long may it keep a server that is done otherwise.
_CLOSE_S: Final = 5.0

_log = get_logger(__name__)


class Stop:
    """What SIGTERM and SIGINT do: the first drains, any other ends the process at once.

    Before there is a server nothing has been accepted, so that even the first ends the process.
    """

    def __init__(self) -> None:
        self.server: Server | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals on the running loop while the block runs."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _stop(self, number: int) -> None:
        if self.server is None or self.server.should_exit:
            _log.warning("stopped at once", signal=signal.Signals(number).name)
            os._exit(128 + number)
        self.server.should_exit = True


async def listen(
    settings: Settings,
    repository: Path | None,
    apps: tuple[str, ...],
    started_s: float,
    passed_over: Sequence[tuple[str, str]] = (),
) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        settings: The settings.
        repository: The models to serve; ``None`` for the bundled application.
        apps: Bundled applications to add.
        started_s: Monotonic time at which the process began, for the log.
        passed_over: Names in the environment that no setting reads, each with advice.

    Raises:
        OperatorError: The port is taken, or a setting, folder or store cannot be used.
    """
    configure_logging(
        format=settings.log_format,
        level=settings.log_level,
        file=settings.log_file,
        always=(AUDIT_LOGGER,),
    )
    for name, advice in passed_over:
        _log.warning("variable is not read", name=name, advice=advice)
    stop = Stop()
    # Bind first: a port in use should not cost the wait for the models.
    with stop.installed(), closing(bind(settings.host, settings.http_port)) as listener:
        async with open_application(settings, repository, apps) as application:
            server = Server(
                application.edge,
                application.drain,
                grace_s=settings.drain_grace_s,
                drain_timeout_s=settings.drain_timeout_s,
                client_timeout_s=settings.client_timeout_s,
                max_header_bytes=settings.max_header_bytes,
            )
            stop.server = server
            manager = application.core.manager
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            _log.info(
                "ready" if not manager.unready() else "listening, but not ready",
                url=f"http://{shown}:{port}",
                models=list(manager.models()),
                after_s=round(application.core.clock.monotonic() - started_s, 2),
            )
            freeze()
            await server.serve([listener])
            # A thread: closing may hold up the loop itself.
            late = threading.Timer(_CLOSE_S, _leave_models)
            late.daemon = True
            late.start()
        late.cancel()
    _log.info("stopped")


def _leave_models() -> None:
    _log.error("a model has not finished; left as it is", waited_s=_CLOSE_S)
    os._exit(1)
