"""Open one SQLite file safely: whose it is, what to do when it is damaged, what to say when it fails.

:mod:`augury.stores.sqlite` says what is in the file; this module only keeps it usable.  A damaged
file of ours is kept aside under another name and replaced by an empty one; a file of another
application is refused and left as it is.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from augury.core.clock import Clock
from augury.core.errors import InvalidSetting, OperatorError, StoreCorrupt, TooLarge, Unavailable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

# "Augy", in the file's header (offset 68): whose file it is.
APPLICATION_ID: Final = 0x41756779
# 2 added the tallies; a file of 1 gets them when it is opened.
SCHEMA_VERSION: Final = 2
# STRICT tables came with it.
MIN_SQLITE: Final = (3, 37, 0)

BUSY_TIMEOUT_S: Final = 5.0
# A disk that damages every new file must not be filled with files kept aside.
SET_ASIDE_EVERY_S: Final = 60.0
# The WAL is cut back to this size after a burst of writes.
_WAL_BYTES: Final = 64 * 1024 * 1024

_FILE_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100


class _DamageError(Exception):
    """The file is ours, or nobody's, and cannot be read."""


class SqliteFile:
    """One file, the connection to it, and its repair.

    All methods block; all must be called on one thread, as Python's sqlite3 checks.

    Args:
        path: The file; its folder is made when it is missing.
        schema: SQL that makes the tables, each statement harmless when they are there.
        table: One of them; a file of ours without it is damaged.
        clock: Wall time for expiry and names, monotonic time for pauses.
        on_corrupt: Called with the new name of a damaged file and what was wrong with it.
    """

    def __init__(
        self,
        path: Path,
        *,
        schema: Sequence[str],
        table: str,
        clock: Clock,
        on_corrupt: Callable[[Path, str], None],
    ) -> None:
        self.path = path
        self._schema = schema
        self._table = table
        self._clock = clock
        self._on_corrupt = on_corrupt
        self._connection: sqlite3.Connection | None = None
        # Device and inode of the open file: the path may come to name another one.
        self._identity: tuple[int, int] | None = None
        self._is_ours = False
        self._last_set_aside_s: float | None = None

    def open(self) -> None:
        """Open or make the file.

        Raises:
            InvalidSetting: The path cannot be a store's file.
            StoreCorrupt: The file is another application's, or a later version's.
            Unavailable: The disk is full, or another process holds the file for too long.
        """
        if sqlite3.sqlite_version_info < MIN_SQLITE:
            wanted = ".".join(map(str, MIN_SQLITE))
            raise InvalidSetting(
                f"the store {self.path} needs SQLite {wanted} or later, "
                f"this Python has {sqlite3.sqlite_version}",
                path=str(self.path),
            )
        try:
            self.path = self.path.resolve()
            self._prepare_place()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._unavailable("the disk is full") from error
            raise self._impossible(f"cannot be opened: {error}") from error
        try:
            try:
                self._connect()
            except _DamageError as damage:
                self._set_aside(str(damage))
                self._connect()
        except _DamageError as damage:
            raise self._corrupt(f"is damaged again at once: {damage}") from damage
        except sqlite3.Error as error:
            if _code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise self._impossible(f"cannot be opened: {error}") from error
            raise self._translated(error) from error

    def run(self, work: Work[T]) -> T:
        """Do *work*; on a damaged file once more, with an empty one.

        Raises:
            Unavailable: It cannot be done now; the message says why.
            TooLarge: A key or value is over SQLite's own limit.
        """
        try:
            try:
                return self._attempt(work)
            except _DamageError as damage:
                last_s, now_s = self._last_set_aside_s, self._clock.monotonic()
                if last_s is not None and now_s - last_s < SET_ASIDE_EVERY_S:
                    raise
                self._set_aside(str(damage))
                return self._attempt(work)
        except _DamageError as damage:
            if not self._is_ours:
                self.close()  # never found sound: not to be used by the next call
            raise self._unavailable(f"is damaged again: {damage}") from damage
        except OperatorError as error:
            # The service runs already: its requests fail, it does not stop.
            raise Unavailable(error.message, path=str(self.path)) from error
        except sqlite3.Error as error:
            if _code(error) is None:
                raise  # a mistake of the caller, found by Python's sqlite3 itself
            raise self._translated(error) from error

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _attempt(self, work: Work[T]) -> T:
        # The file may have been removed, or kept aside by another process: what is written to it
        # would be lost.  The look takes 2 µs.
        if self._connection is None or _identity(self.path) != self._identity:
            self.close()
            self._connect()
        assert self._connection is not None  # noqa: S101  for the type checker
        try:
            return work(self._connection)
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                raise _DamageError(str(error)) from error
            raise

    def _prepare_place(self) -> None:
        if self.path.is_dir():
            raise self._impossible("is a folder; name a file in it")
        if self.path.exists() and not self.path.is_file():
            raise self._impossible("is not a regular file")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite opens a file that it may not write without a word, and fails at the first write.
        # The folder must be writable too: -wal and -shm lie beside the file.
        for place in (self.path.parent, self.path):
            if place.exists() and not os.access(place, os.R_OK | os.W_OK):
                raise self._impossible(f"cannot be written: {place} is read-only for this user")

    def _connect(self) -> None:
        # Looked up before and after: should another process replace the file in between, the next
        # call sees a stranger and opens again.
        identity = _identity(self.path)
        self._identity, self._is_ours = identity, False
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        self._connection = connection
        try:
            try:
                self._check_or_create(connection)
            except sqlite3.DatabaseError as error:
                if _is_damage(error):
                    raise _DamageError(str(error)) from error
                raise
        except _DamageError:
            raise  # still open: see _set_aside
        except BaseException:
            self.close()
            raise
        self._identity = identity or _identity(self.path)
        self._is_ours = True

    def _check_or_create(self, connection: sqlite3.Connection) -> None:
        # Nothing is changed before it is certain that the file is ours.
        with transaction(connection, "DEFERRED"):
            application = _pragma(connection, "application_id")
            version = _pragma(connection, "user_version")
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
        if tables or version or application:
            if application != APPLICATION_ID:
                raise self._corrupt(
                    f"is the SQLite database of another application (application_id "
                    f"{application:#x}, a store has {APPLICATION_ID:#x}); name another file"
                )
            if version > SCHEMA_VERSION:
                raise self._corrupt(
                    f"was written by a later Augury (schema {version}, this one knows "
                    f"{SCHEMA_VERSION}); upgrade, or name another file"
                )
            if self._table not in tables:
                raise _DamageError(f"its table {self._table} is missing")
        if version < SCHEMA_VERSION:
            # Before the switch to WAL, so that the main file names its owner from the start.
            with transaction(connection):
                for statement in self._schema:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        _switch_to_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        connection.execute(f"SELECT 1 FROM {self._table} LIMIT 1").fetchone()  # noqa: S608  a constant

    def _set_aside(self, reason: str) -> None:
        """Rename the damaged file, unless another process has done so.

        Raises:
            StoreCorrupt: It is not ours, or cannot be renamed.
        """
        try:
            kept = self._rename(reason)
        finally:
            # Not earlier: SQLite empties and removes the -wal of a file that it closes, but leaves
            # it alone when the file has another name by then.
            self.close()
        if kept is not None:
            self._last_set_aside_s = self._clock.monotonic()
            self._on_corrupt(kept, reason)

    def _rename(self, reason: str) -> Path | None:
        """The new name, or ``None`` when another process was quicker."""
        try:
            # The lock is on the file, not on its name: of two processes that find the damage, the
            # second waits here and then sees that the name belongs to another file.
            with self.path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _identity(self.path) != self._identity:
                    return None
                if not self._is_ours and _is_of_another(file.read(_HEADER_BYTES)):
                    raise self._corrupt(
                        f"is the damaged SQLite database of another application ({reason}); "
                        "name another file"
                    )
                kept = self._unused_name()
                # The main file last: without its -wal it is no worse, but a fresh file must not
                # meet an old -wal.
                for suffix in ("-wal", "-shm", ""):
                    part = self.path.with_name(self.path.name + suffix)
                    if part.exists():
                        part.rename(kept.with_name(kept.name + suffix))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._corrupt(
                f"is damaged ({reason}) and cannot be kept aside: {error}"
            ) from error
        return kept

    def _unused_name(self) -> Path:
        stamp = datetime.fromtimestamp(self._clock.time(), UTC).strftime("%Y%m%dT%H%M%SZ")
        kept = self.path.with_name(f"{self.path.name}.corrupt-{stamp}")
        number = 1
        while kept.exists():  # twice in a second; a rename would replace the first one
            number += 1
            kept = self.path.with_name(f"{self.path.name}.corrupt-{stamp}-{number}")
        return kept

    def _impossible(self, fault: str) -> InvalidSetting:
        return InvalidSetting(f"the store {self.path} {fault}", path=str(self.path))

    def _corrupt(self, fault: str) -> StoreCorrupt:
        return StoreCorrupt(f"the store {self.path} {fault}", path=str(self.path))

    def _unavailable(self, fault: str) -> Unavailable:
        return Unavailable(f"the store {self.path}: {fault}", path=str(self.path))

    def _translated(self, error: sqlite3.Error) -> Unavailable | TooLarge:
        match _code(error):
            case sqlite3.SQLITE_FULL:
                return self._unavailable(f"the disk is full ({error})")
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return self._unavailable(
                    f"another process has held it for {BUSY_TIMEOUT_S:g} s ({error})"
                )
            case sqlite3.SQLITE_TOOBIG:
                return TooLarge(f"the store {self.path}: {error}", path=str(self.path))
            case _:
                return self._unavailable(str(error))


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "IMMEDIATE") -> Generator[None]:
    """All or nothing; ``IMMEDIATE`` waits for the right to write, ``DEFERRED`` only reads."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite rolls back by itself on some errors
            connection.execute("ROLLBACK")
        raise


def range_of(prefix: str, column: str) -> tuple[str, dict[str, str]]:
    """SQL for "*column* starts with *prefix*", by its index alone, and the parameters.

    SQLite compares TEXT byte by byte, and UTF-8 keeps the order of code points, so what is in
    question runs from *prefix* up to its successor.
    """
    if not prefix:
        return "TRUE", {}
    # U+10FFFF is the last code point: a prefix of nothing else has no successor.
    head = prefix.rstrip("\U0010ffff")
    if not head:
        return f"{column} >= :low", {"low": prefix}
    # Surrogates are no characters: U+D7FF is followed by U+E000.
    following = "\ue000" if head[-1] == "\ud7ff" else chr(ord(head[-1]) + 1)
    return f"{column} >= :low AND {column} < :high", {"low": prefix, "high": head[:-1] + following}


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # SQLite does not wait for its busy timeout here, and two processes may start at once.
    until_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > until_s:
                raise
            time.sleep(0.01)  # on the store's own thread
        else:
            return


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code, or ``None`` when Python's sqlite3 raised by itself."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_damage(error: sqlite3.Error) -> bool:
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _is_of_another(header: bytes) -> bool:
    """Whether a file that starts with *header* is an SQLite database, but not a store."""
    # https://www.sqlite.org/fileformat2.html#the_database_header
    return header.startswith(_FILE_MAGIC) and header[68:72] != APPLICATION_ID.to_bytes(4, "big")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
