"""From settings to a server that answers, until it is told to stop."""

from __future__ import annotations

from pathlib import Path

from augury.app.build import open_application
from augury.app.settings import Settings
from augury.edge.server import Server, bind
from augury.observe.logs import configure_logging, get_logger

_log = get_logger(__name__)


async def listen(
    settings: Settings, repository: Path | None, apps: tuple[str, ...], started_s: float
) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        settings: The settings.
        repository: The models to serve; ``None`` for the bundled application.
        apps: Bundled applications to add.
        started_s: Monotonic time at which the process began, for the log.

    Raises:
        OperatorError: The port is taken, or a setting, folder or store cannot be used.
    """
    configure_logging(format=settings.log_format, level=settings.log_level, file=settings.log_file)
    # Bind first: a port in use should not cost the wait for the models.
    listener = bind(settings.host, settings.http_port)
    async with open_application(settings, repository, apps) as application:
        server = Server(
            application.edge,
            application.drain,
            grace_s=settings.drain_grace_s,
            drain_timeout_s=settings.drain_timeout_s,
        )
        manager = application.core.manager
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        _log.info(
            "ready" if not manager.unready() else "listening, but not ready",
            url=f"http://{shown}:{port}",
            models=list(manager.models()),
            after_s=round(application.core.clock.monotonic() - started_s, 2),
        )
        await server.serve([listener])
    _log.info("stopped")
