"""The audit log: who changed what, from where, and what came of it.

One JSON line for each event, to the logger ``augury.audit`` and, if one is named, to a file.  A call
that changes something is written down *before* it is carried out, and refused when that fails; its
outcome is a second line with the same ``call``.  What a stranger can cause at will (failed logins,
refused calls) is bounded, and what was left out is counted.  Never in it: credentials, bodies, queries.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from augury.core.clock import Clock
from augury.core.errors import Unavailable
from augury.edge.auth.throttle import Throttle
from augury.observe.logs import get_logger
from augury.observe.redact import redacted_text

# What it tells is logged whatever the level is.
LOGGER: Final = "augury.audit"

# As many older files are kept, named .1 (the newest) and so on.
KEPT_FILES: Final = 5

_MAX_FIELD: Final = 300
_MAX_TARGETS: Final = 20
_ANYBODY: Final = "*"

_log = get_logger(__name__)
_audit = get_logger(LOGGER)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who, and from where.

    Args:
        caller: The caller's name.
        address: The client's; empty when unknown.
        request_id: What the client or a proxy calls the request; empty when it has no name.
    """

    caller: str
    address: str = ""
    request_id: str = ""


class Audit:
    """Writes events down.

    Args:
        clock: For the time of events.
        file: Lines are appended to it; ``None``: they go to the logger only.
        max_bytes: A file that would grow over it is set aside first.
    """

    def __init__(self, clock: Clock, *, file: Path | None = None, max_bytes: int) -> None:
        self._clock = clock
        self._file = None if file is None else AuditFile(file, max_bytes)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="augury-audit")
        self._by_address = Throttle(clock, burst=10, every_s=6.0)
        self._by_all = Throttle(clock, burst=100, every_s=0.6)
        self._left_out = 0

    async def begin(self, actor: Actor, action: str, targets: Mapping[str, Any]) -> str:
        """Write down that a call begins; it may be carried out when this returns.

        Returns:
            What the call is called in :meth:`end`.

        Raises:
            Unavailable: It could not be written.
        """
        call = secrets.token_hex(8)
        try:
            await self._write("call begun", actor, action=action, targets=targets, call=call)
        except (OSError, ValueError) as error:  # ValueError: a path that can be none
            reason = getattr(error, "strerror", None) or "no reason given"
            raise Unavailable(
                "the audit log cannot be written, so nothing may be changed "
                f"({reason}); the operator must make room (audit_file)",
                retry_after_s=10.0,
            ) from error
        return call

    async def end(self, actor: Actor, action: str, call: str, status: int) -> None:
        """Write down what came of a call; what was done is done, so a failure is only logged."""
        await self._try("call ended", actor, action=action, call=call, status=status)

    async def refused(
        self, actor: Actor, action: str, targets: Mapping[str, Any], status: int
    ) -> None:
        """Write down that a call was refused; bounded."""
        if self._may(actor.address):
            await self._try("call refused", actor, action=action, targets=targets, status=status)

    async def login_failed(self, address: str, kind: str) -> None:
        """Write down a wrong credential; bounded.

        Args:
            address: The client's.
            kind: "password", "key" or "token".
        """
        if self._may(address):
            await self._try("login failed", Actor("nobody", address), action=kind)

    def write(self, event: str, actor: Actor, **fields: Any) -> None:
        """Write *event* down, in this thread.

        Raises:
            OSError: The file cannot be written.
            ValueError: Its path cannot be one.
        """
        line = self._line(event, actor, fields)
        if self._file is not None:
            self._file.append(json.dumps(line).encode() + b"\n")
        # First the file: what the log tells has been written.
        _audit.info(event, **{name: value for name, value in line.items() if name != "event"})

    def close(self) -> None:
        """End the thread, when all has been written."""
        self._executor.shutdown(wait=True)

    async def _write(self, event: str, actor: Actor, **fields: Any) -> None:
        if self._file is None:
            self.write(event, actor, **fields)
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, lambda: self.write(event, actor, **fields))

    async def _try(self, event: str, actor: Actor, **fields: Any) -> None:
        try:
            await self._write(event, actor, **fields)
        except (OSError, ValueError) as error:
            _log.error("the audit log cannot be written", event_lost=event, reason=str(error))

    def _may(self, address: str) -> bool:
        if self._by_address.try_once(address) or self._by_all.try_once(_ANYBODY):
            self._left_out += 1
            return False
        return True

    def _line(self, event: str, actor: Actor, fields: Mapping[str, Any]) -> dict[str, Any]:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(self._clock.time(), UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "event": event,
            "caller": _short(actor.caller),
        }
        if actor.address:
            line["address"] = _short(actor.address)
        if actor.request_id:
            line["request_id"] = _short(actor.request_id)
        for name, value in fields.items():
            if isinstance(value, Mapping):
                some = list(value.items())[:_MAX_TARGETS]
                line[name] = {_short(key): _short(one) for key, one in some}
            else:
                line[name] = value if isinstance(value, int) else _short(value)
        left_out, self._left_out = self._left_out, 0
        if left_out:
            line["left_out_before"] = left_out
        return line


class AuditFile:
    """A file of lines that several processes append to.

    Each line is written in one call and flushed to the disk.  At *max_bytes* the file becomes
    ``NAME.1``, that one ``NAME.2``, up to :data:`KEPT_FILES`; a lock file beside it keeps two processes
    from doing so at once.

    Args:
        path: The file; it and its folder are made if need be, for this user alone.
        max_bytes: Bound of one file.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def append(self, line: bytes) -> None:
        """Write *line*, which ends in a newline, for good.

        Raises:
            OSError: It could not be written whole.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked():
            self._rotate(len(line))
            # Opened anew each time: changes are rare, and another process may have set it aside.
            number = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                size = os.fstat(number).st_size
                if os.write(number, line) != len(line):
                    os.ftruncate(number, size)  # half a line is worse than none
                    raise OSError(28, "no space left for a whole line", str(self._path))
                os.fsync(number)
            finally:
                os.close(number)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        beside = self._path.with_name(self._path.name + ".lock")
        number = os.open(beside, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield
        finally:
            os.close(number)

    def _rotate(self, more_bytes: int) -> None:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        if size == 0 or size + more_bytes <= self._max_bytes:
            return
        for number in range(KEPT_FILES - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _short(value: Any) -> str:
    return redacted_text(str(value))[:_MAX_FIELD]
