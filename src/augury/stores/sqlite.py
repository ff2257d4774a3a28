"""Keep items in one SQLite file that outlives the process.

The store of a single machine: several processes may have the file open at once, a restart loses
nothing, and after a power cut the last writes may be missing but the file is sound (WAL with
``synchronous=NORMAL``).  The file is bounded by the disk alone; space of removed items is used
again, but not given back.  Every call on the file runs on one thread that the store owns, so the
event loop never waits for a disk.  What happens to a damaged file is :mod:`.sqlite_file`'s matter.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, Self
from urllib.parse import SplitResult, unquote

from augury.core.clock import Clock
from augury.core.errors import Unavailable
from augury.stores import sqlite_tallies
from augury.stores.base import Change, Vector
from augury.stores.sqlite_file import SqliteFile, T, Work, range_of, transaction
from augury.stores.tally import check_changes, check_page

_SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value BLOB NOT NULL, expires_at REAL)
    STRICT, WITHOUT ROWID
    """,
    # For the purge; items that never expire take no room in it.
    "CREATE INDEX IF NOT EXISTS kv_expires_at ON kv (expires_at) WHERE expires_at IS NOT NULL",
    *sqlite_tallies.SCHEMA,
)

_LIVE: Final = "(expires_at IS NULL OR expires_at > :now)"
_SELECT: Final = f"SELECT value FROM kv WHERE key = :key AND {_LIVE}"  # noqa: S608  a constant
_DELETE: Final = f"DELETE FROM kv WHERE key = :key AND {_LIVE}"  # noqa: S608  a constant
_UPSERT: Final = (
    "INSERT INTO kv (key, value, expires_at) VALUES (:key, :value, :expires_at) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"
)
_PUT_IF_ABSENT: Final = f"{_UPSERT} WHERE kv.expires_at <= :now"
_PURGE: Final = (
    "DELETE FROM kv WHERE key IN "
    "(SELECT key FROM kv WHERE expires_at <= :now ORDER BY expires_at LIMIT :rows)"
)

# One write a minute also removes expired rows; at 200 small rows this adds a millisecond to it.
# While there are more, the following writes go on with them.
PURGE_EVERY_S: Final = 60.0
PURGE_ROWS: Final = 200
# A page of a scan ends early at this size, whatever its number of rows.
PAGE_BYTES: Final = 8 * 1024 * 1024
# Changes of one transaction; the file is held for well under a second.
COMMIT_CHANGES: Final = 512


class SqliteStore:
    """A :class:`~augury.stores.base.KeyValueStore` and ``TallyStore`` in one SQLite file.

    Made by :meth:`open`.
    """

    def __init__(self, file: SqliteFile, executor: ThreadPoolExecutor, clock: Clock) -> None:
        self._file = file
        self._executor = executor
        self._clock = clock
        # Looked at on the thread only.
        self._next_purge_s = clock.monotonic()
        self._closed = False
        self._fault: str | None = None

    @classmethod
    async def open(
        cls, path: Path, *, clock: Clock, on_corrupt: Callable[[Path, str], None]
    ) -> Self:
        """Open the file at *path*, or make it, and the folders above it.

        Args:
            path: The file; relative to the working folder of this moment.
            clock: Its wall time decides what has expired, as other processes must agree on it.
            on_corrupt: Called on the event loop, now or during any later call, when a damaged file
                was kept aside as ``<name>.corrupt-<UTC time>`` and an empty one started: the new
                name, and what was wrong.

        Raises:
            InvalidSetting: The path is a folder, is read-only, or SQLite is too old.
            StoreCorrupt: The file is another application's or a later version's; it is unchanged.
            Unavailable: The disk is full, or another process holds the file.
        """
        loop = asyncio.get_running_loop()

        def tell(kept: Path, reason: str) -> None:
            loop.call_soon_threadsafe(on_corrupt, kept, reason)

        file = SqliteFile(path, schema=_SCHEMA, table="kv", clock=clock, on_corrupt=tell)
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sqlite-{path.name}")
        store = cls(file, executor, clock)
        try:
            await loop.run_in_executor(executor, file.open)
        except BaseException:
            # Cancelled, the thread may still be opening: what it opens is closed behind it.
            await store.close()
            raise
        return store

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def path(self) -> Path:
        """The file, absolute, links followed."""
        return self._file.path

    @property
    def fault(self) -> str | None:
        return f"the store {self.path} is closed" if self._closed else self._fault

    async def get(self, key: str) -> bytes | None:
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        def work(connection: sqlite3.Connection) -> list[bytes | None]:
            now = self._clock.time()
            with transaction(connection, "DEFERRED"):  # one snapshot, one pair of locks
                rows = [
                    connection.execute(_SELECT, {"key": key, "now": now}).fetchone() for key in keys
                ]
            return [None if row is None else row[0] for row in rows]

        return await self._run(work)

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        await self.set_many({key: value}, ttl_s=ttl_s)

    async def set_many(self, items: Mapping[str, bytes], *, ttl_s: float | None = None) -> None:
        # Copied: the caller may change its mapping before the thread comes to it.
        rows = [{"key": key, "value": value} for key, value in items.items()]

        def work(connection: sqlite3.Connection) -> None:
            self._purge(connection)
            expires_at = self._expires_at(ttl_s)
            with transaction(connection):
                connection.executemany(_UPSERT, ({**row, "expires_at": expires_at} for row in rows))

        await self._run(work)

    async def put_if_absent(self, key: str, value: bytes, *, ttl_s: float | None = None) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            self._purge(connection)
            row = {
                "key": key,
                "value": value,
                "expires_at": self._expires_at(ttl_s),
                "now": self._clock.time(),
            }
            return connection.execute(_PUT_IF_ABSENT, row).rowcount == 1

        return await self._run(work)

    async def delete(self, *keys: str) -> int:
        def work(connection: sqlite3.Connection) -> int:
            self._purge(connection)
            now = self._clock.time()
            with transaction(connection):
                return connection.executemany(
                    _DELETE, [{"key": key, "now": now} for key in keys]
                ).rowcount

        return await self._run(work) if keys else 0

    async def scan(self, prefix: str, *, page_size: int = 500) -> AsyncIterator[tuple[str, bytes]]:
        if page_size < 1:
            raise ValueError(f"page_size is {page_size}, it must be 1 or more")
        last: str | None = None
        while page := await self._run(partial(self._page, prefix, last, page_size)):
            for item in page:
                yield item
            last = page[-1][0]

    async def count(self, prefix: str = "") -> int:
        where, bounds = range_of(prefix, "key")
        query = f"SELECT count(*) FROM kv WHERE {where} AND {_LIVE}"  # noqa: S608  constants only

        def work(connection: sqlite3.Connection) -> int:
            now = self._clock.time()
            return int(connection.execute(query, {**bounds, "now": now}).fetchone()[0])

        return await self._run(work)

    async def commit(self, changes: Sequence[Change]) -> list[bool]:
        changes = list(changes)
        check_changes(changes)
        done: list[bool] = []
        for first in range(0, len(changes), COMMIT_CHANGES):
            page = changes[first : first + COMMIT_CHANGES]
            done += await self._run(partial(self._commit, page))
        return done

    async def sums(self, table: str) -> dict[str, Vector]:
        return await self._run(partial(sqlite_tallies.sums, table))

    async def sums_of(self, tables: Sequence[str], member: str) -> list[Vector]:
        return await self._run(partial(sqlite_tallies.sums_of, list(tables), member))

    async def top(self, table: str, *, offset: int = 0, limit: int) -> list[tuple[str, int]]:
        check_page(limit, offset)
        return await self._run(partial(sqlite_tallies.top, table, offset, limit))

    async def bottom(
        self, table: str, *, at_least: int | None = None, at_most: int | None = None, limit: int
    ) -> list[tuple[str, int]]:
        check_page(limit)
        return await self._run(partial(sqlite_tallies.bottom, table, at_least, at_most, limit))

    async def ranks_of(self, table: str, members: Sequence[str]) -> list[int]:
        return await self._run(partial(sqlite_tallies.ranks_of, table, list(members)))

    async def rank_count(self, table: str) -> int:
        return await self._run(partial(sqlite_tallies.rank_count, table))

    async def drop_tables(self, prefix: str) -> int:
        dropped = 0
        for kind in sqlite_tallies.KINDS:
            last: str | None = None
            while (
                table := await self._run(partial(sqlite_tallies.next_table, kind, prefix, last))
            ) is not None:
                dropped += 1
                while await self._run(partial(sqlite_tallies.drop_page, kind, table)):
                    pass
                last = table
        return dropped

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            # Shielded: a cancelled close must not leave the file open.
            loop = asyncio.get_running_loop()
            await asyncio.shield(loop.run_in_executor(self._executor, self._file.close))
        finally:
            self._executor.shutdown(wait=False)

    async def _run(self, work: Work[T]) -> T:
        if self._closed:
            raise Unavailable(f"the store {self.path} is closed", path=str(self.path))
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._executor, self._file.run, work)
        except Unavailable as error:
            self._fault = error.message
            raise
        self._fault = None
        return answer

    def _commit(self, changes: Sequence[Change], connection: sqlite3.Connection) -> list[bool]:
        self._purge(connection)
        return sqlite_tallies.commit(changes, self._clock.time(), connection)

    def _expires_at(self, ttl_s: float | None) -> float | None:
        return None if ttl_s is None else self._clock.time() + ttl_s

    def _purge(self, connection: sqlite3.Connection) -> None:
        """Remove some expired rows, if it is time; part of every write."""
        now_s = self._clock.monotonic()
        if now_s >= self._next_purge_s:
            parameters = {"now": self._clock.time(), "rows": PURGE_ROWS}
            if connection.execute(_PURGE, parameters).rowcount < PURGE_ROWS:
                self._next_purge_s = now_s + PURGE_EVERY_S

    def _page(
        self, prefix: str, after: str | None, rows: int, connection: sqlite3.Connection
    ) -> list[tuple[str, bytes]]:
        where, bounds = range_of(prefix, "key")
        if after is not None:
            where = f"{where} AND key > :after"
        query = (
            f"SELECT key, value FROM kv WHERE {where} AND {_LIVE} "  # noqa: S608  constants only
            "ORDER BY key LIMIT :rows"
        )
        parameters = {**bounds, "after": after, "now": self._clock.time(), "rows": rows}
        page: list[tuple[str, bytes]] = []
        size_bytes = 0
        with closing(connection.execute(query, parameters)) as cursor:
            for key, value in cursor:
                page.append((key, value))
                size_bytes += len(value)
                if size_bytes >= PAGE_BYTES:
                    break
        return page


async def open_url(
    url: SplitResult,
    *,
    clock: Clock,
    on_corrupt: Callable[[Path, str], None],
    timeout_s: float,
) -> SqliteStore:
    """Open ``sqlite:///relative/path`` or ``sqlite:////absolute/path``.

    Args:
        url: The URL, split; ``%`` escapes in its path are understood.
        clock: Passed to the store.
        on_corrupt: Passed to the store.
        timeout_s: Not used; how long to wait for another process is the file's own matter.

    Raises:
        ValueError: The URL names a host, no path, or parameters.
        OperatorError: See :meth:`SqliteStore.open`.
    """
    del timeout_s
    path = unquote(url.path.removeprefix("/"))
    if url.netloc or not path:
        raise ValueError("write sqlite:///relative/path or sqlite:////absolute/path")
    if url.query or url.fragment:
        raise ValueError("sqlite takes no parameters; write ? and # in a path as %3F and %23")
    if path == ":memory:":
        raise ValueError("write memory:// for a store without a file")
    if "\0" in path:
        raise ValueError("a path cannot hold a NUL character")
    return await SqliteStore.open(Path(path), clock=clock, on_corrupt=on_corrupt)
