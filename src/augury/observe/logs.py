"""One log for everything in the process: ours, uvicorn's, and any library's.

Events go through structlog into the standard library's logging, and events of the standard
library's loggers through the same processors, so that all come out alike: on stderr for people
(``console``) or machines (``json``), and as JSON lines in a file, if one is named.  Whatever is
logged passes :mod:`augury.observe.redact`.

The standard library's logging belongs to the process, hence the functions here do; the ``app``
calls :func:`configure_logging` once.  One process writes a log file: two would rotate it under each
other.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Collection
from logging.handlers import TimedRotatingFileHandler
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

import structlog
from structlog.contextvars import merge_contextvars
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import (
    JSONRenderer,
    StackInfoRenderer,
    TimeStamper,
    format_exc_info,
)
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import EventDict, Processor, WrappedLogger

from augury.core.errors import InvalidSetting
from augury.observe.redact import Redactor

LEVELS: Final = ("debug", "info", "warning", "error", "critical")

# Loggers that bring handlers of their own, unless uvicorn is started with ``log_config=None``.
_FOREIGN_LOGGERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")

_CONSOLE_HANDLER: Final = "augury-console"
_FILE_HANDLER: Final = "augury-file"

# All but tab and newline: they could rewrite an operator's terminal.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class EventLogger(structlog.BoundLoggerBase):
    """Logs events: a short constant sentence, and the facts as fields.

    A call below the level costs one look into a dict.  Fields given to :meth:`bind` are part of
    every event of the logger that it returns.
    """

    _logger: logging.Logger

    def debug(self, event: str, **fields: Any) -> None:
        """For whoever looks for a fault."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._proxy_to_logger("debug", event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        """What an operator wants to have seen: starts, loads, changes."""
        if self._logger.isEnabledFor(logging.INFO):
            self._proxy_to_logger("info", event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """It goes on, but not as it was asked to."""
        if self._logger.isEnabledFor(logging.WARNING):
            self._proxy_to_logger("warning", event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        """Something that was asked for did not happen."""
        if self._logger.isEnabledFor(logging.ERROR):
            self._proxy_to_logger("error", event, **fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error with the traceback of the exception that is being handled."""
        if self._logger.isEnabledFor(logging.ERROR):
            self._proxy_to_logger("error", event, **{"exc_info": True, **fields})

    def critical(self, event: str, **fields: Any) -> None:
        """The process cannot go on."""
        if self._logger.isEnabledFor(logging.CRITICAL):
            self._proxy_to_logger("critical", event, **fields)

    def bind(self, **fields: Any) -> Self:
        """A logger that adds *fields* to each of its events."""
        return super().bind(**fields)


_redactor = Redactor()
# Loggers that now have a level of their own.
_always: set[str] = set()

_SHARED: Final[tuple[Processor, ...]] = (
    merge_contextvars,
    add_logger_name,
    add_log_level,
    TimeStamper(fmt="iso", utc=True),
    StackInfoRenderer(),
    # Before the redactor: a traceback's last line may quote a credential.
    format_exc_info,
    _redactor,
)


def get_logger(name: str) -> EventLogger:
    """The logger called *name*, by custom the module's ``__name__``.

    It may be made, and used, before :func:`configure_logging`, and follows it at once.
    """
    if not structlog.is_configured():
        # The same for every format, level and file: all that can be chosen is in the handlers.
        # Hence a logger may be cached, and what is logged early is redacted as well.
        structlog.configure(
            processors=[*_SHARED, ProcessorFormatter.wrap_for_formatter],
            wrapper_class=EventLogger,
            logger_factory=logging.getLogger,
            cache_logger_on_first_use=True,
        )
    return cast("EventLogger", structlog.get_logger(name))


def configure_logging(
    *,
    format: Literal["console", "json"],
    level: str,
    file: Path | None,
    always: Collection[str] = (),
    keep_days: int = 7,
    log_content: bool = False,
) -> None:
    """Say where the log goes; called again, it replaces what it said before.

    A file that cannot be written is warned of once, and the service goes on without it; the file is
    written again as soon as it can be.

    Args:
        format: On stderr, lines for people (coloured on a terminal) or JSON.
        level: The least level that is logged: debug, info, warning, error or critical.
        file: JSON lines go here too; a new file starts at midnight UTC, the old one gets its date
            as a suffix.
        always: Loggers whose events of level info are logged although *level* is higher.
        keep_days: Old files that are kept, 1 or more.
        log_content: Log the texts of requests; without it, only their length.

    Raises:
        InvalidSetting: An unknown format or level, or no day to keep.
    """
    if format not in ("console", "json"):
        raise InvalidSetting(f"log format {format!r}; known are: console, json", value=format)
    if level.lower() not in LEVELS:
        raise InvalidSetting(f"log level {level!r}; known are: {', '.join(LEVELS)}", value=level)
    if keep_days < 1:
        raise InvalidSetting(f"log files are kept for {keep_days} days; keep 1 or more")

    log = get_logger(__name__)
    _redactor.log_content = log_content
    root = logging.getLogger()
    for handler in list(root.handlers):
        if handler.name in (_CONSOLE_HANDLER, _FILE_HANDLER):
            root.removeHandler(handler)
            handler.close()

    console = logging.StreamHandler(sys.stderr)
    console.name = _CONSOLE_HANDLER
    console.setFormatter(_json_formatter() if format == "json" else _console_formatter())
    root.addHandler(console)
    root.setLevel(level.upper())
    for name in _always:
        logging.getLogger(name).setLevel(logging.NOTSET)
    _always.clear()
    if root.level > logging.INFO:
        _always.update(always)
    for name in _always:
        logging.getLogger(name).setLevel(logging.INFO)
    for name in _FOREIGN_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)

    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = _DailyFile(file, keep_days)
        except OSError as error:
            _tell_no_file(log, file, error)
        else:
            root.addHandler(handler)


class _DailyFile(TimedRotatingFileHandler):
    """JSON lines in a file of today; those of *keep_days* days before lie beside it."""

    def __init__(self, path: Path, keep_days: int) -> None:
        super().__init__(
            path,
            when="midnight",
            backupCount=keep_days,
            encoding="utf-8",
            errors="backslashreplace",  # half a surrogate pair, as JSON writes it
            utc=True,
        )
        self.name = _FILE_HANDLER
        self.setFormatter(_json_formatter())
        self._path = path
        self._told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            # First: what follows comes here too.
            self._told = True
            _tell_no_file(get_logger(__name__), self._path, error)


def _tell_no_file(log: EventLogger, path: Path, error: OSError) -> None:
    log.warning(
        "the log file cannot be written; going on without it", file=str(path), reason=str(error)
    )


def _json_formatter() -> ProcessorFormatter:
    return _formatter(JSONRenderer(serializer=json.dumps, default=str, ensure_ascii=False))


def _console_formatter() -> ProcessorFormatter:
    # Values are quoted by the renderer where need be, the event itself is not.
    return _formatter(
        _without_controls,
        ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # Tracebacks are text by now; anything but this one warns of it.
            exception_formatter=plain_traceback,
        ),
    )


def _formatter(*render: Processor) -> ProcessorFormatter:
    return ProcessorFormatter(
        foreign_pre_chain=(ExtraAdder(), *_SHARED),
        processors=(ProcessorFormatter.remove_processors_meta, _without_colour_twin, *render),
    )


def _without_colour_twin(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    # uvicorn sends each message a second time, with colours in it.
    event.pop("color_message", None)
    return event


def _without_controls(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _CONTROL.sub(lambda match: ascii(match[0])[1:-1], value)
    # A newline here could pass for an event of its own; tracebacks keep theirs.
    event["event"] = str(event.get("event", "")).replace("\n", "\\n")
    return event
