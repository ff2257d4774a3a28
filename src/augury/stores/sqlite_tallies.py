"""Sums and ranks in tables of the SQLite file; the part that :class:`.base.TallyStore` asks for.

Functions of a connection, called on the store's thread.  Sums are added up before they are written,
so that a thousand changes of one member cost one row.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeVar

import msgspec

from augury.stores.base import Change, Vector
from augury.stores.sqlite_file import range_of, transaction
from augury.stores.tally import added, fits, overflow

N = TypeVar("N")

Kind = Literal["sums", "ranks"]
KINDS: Final[tuple[Kind, ...]] = ("sums", "ranks")

# Vectors are arrays of MessagePack: a number below 128 takes a byte.
SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS sums (
        tally TEXT NOT NULL, member TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (tally, member)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS ranks (
        tally TEXT NOT NULL, member TEXT NOT NULL, rank INTEGER NOT NULL, PRIMARY KEY (tally, member)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS ranks_order ON ranks (tally, rank, member)",
)

# SQLite compares TEXT byte by byte, which in UTF-8 is the order of code points.
_TOP: Final = "SELECT member, rank FROM ranks WHERE tally = ? ORDER BY rank DESC, member DESC LIMIT ? OFFSET ?"
_BOTTOM: Final = (
    "SELECT member, rank FROM ranks WHERE tally = ? AND rank >= ? AND rank <= ? "
    "ORDER BY rank, member LIMIT ?"
)
_KV: Final = "SELECT value FROM kv WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)"
_DROP_ROWS: Final = 2000
_INT64_MAX: Final = 2**63 - 1

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Vector).decode


def commit(changes: Sequence[Change], now: float, connection: sqlite3.Connection) -> list[bool]:
    """Carry out *changes* in one transaction.

    Args:
        changes: Checked already.
        now: The wall time that decides what has expired.
        connection: To the file.

    Raises:
        TooLarge: One takes a number out of the limit; those before it were carried out.
    """
    try:
        return _commit_together(changes, now, connection)
    except _OverflowError as error:
        if len(changes) == 1:
            raise overflow(error.table) from None
    done: list[bool] = []
    for change in changes:
        done += commit([change], now, connection)
    return done


class _OverflowError(Exception):
    def __init__(self, table: str) -> None:
        super().__init__(table)
        self.table = table


def _commit_together(
    changes: Sequence[Change], now: float, connection: sqlite3.Connection
) -> list[bool]:
    values: dict[str, bytes | None] = {}
    written: set[str] = set()
    sums: defaultdict[str, dict[str, Vector]] = defaultdict(dict)
    ranks: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def holds(key: str, value: bytes | None) -> bool:
        if key not in values:
            row = connection.execute(_KV, (key, now)).fetchone()
            values[key] = None if row is None else row[0]
        return values[key] == value

    def take(change: Change) -> bool:
        if not all(holds(key, value) for key, value in change.expected.items()):
            return False
        values.update(change.values)
        written.update(change.values)
        for tally, vectors in change.sums.items():
            of_members = sums[tally]
            for member, vector in vectors.items():
                before = of_members.get(member)
                of_members[member] = vector if before is None else added(before, vector)
        for tally, numbers in change.ranks.items():
            of_tally = ranks[tally]
            for member, number in numbers.items():
                of_tally[member] = of_tally.get(member, 0) + number
        return True

    with transaction(connection):
        done = [take(change) for change in changes]
        connection.executemany(
            "DELETE FROM kv WHERE key = ?", [(key,) for key in written if values[key] is None]
        )
        connection.executemany(
            "INSERT OR REPLACE INTO kv (key, value, expires_at) VALUES (?, ?, NULL)",
            [(key, values[key]) for key in written if values[key] is not None],
        )
        _write_sums(sums, connection)
        _write_ranks(ranks, connection)
    return done


def _write_sums(sums: dict[str, dict[str, Vector]], connection: sqlite3.Connection) -> None:
    upserts: list[tuple[str, str, bytes]] = []
    gone: list[tuple[str, str]] = []
    # In the order of the rows on the disk.
    for tally, member, more in _in_order(sums):
        row = connection.execute(
            "SELECT vector FROM sums WHERE tally = ? AND member = ?", (tally, member)
        ).fetchone()
        after = added(() if row is None else _decode(row[0]), more)
        if not all(map(fits, after)):
            raise _OverflowError(tally)
        if after:
            upserts.append((tally, member, _encode(after)))
        elif row is not None:
            gone.append((tally, member))
    connection.executemany("INSERT OR REPLACE INTO sums VALUES (?, ?, ?)", upserts)
    connection.executemany("DELETE FROM sums WHERE tally = ? AND member = ?", gone)


def _write_ranks(ranks: dict[str, dict[str, int]], connection: sqlite3.Connection) -> None:
    upserts: list[tuple[str, str, int]] = []
    gone: list[tuple[str, str]] = []
    for tally, member, more in _in_order(ranks):
        after = _rank(connection, tally, member) + more
        if not fits(after):
            raise _OverflowError(tally)
        if after:
            upserts.append((tally, member, after))
        else:
            gone.append((tally, member))
    connection.executemany(
        "INSERT INTO ranks VALUES (?, ?, ?) "
        "ON CONFLICT (tally, member) DO UPDATE SET rank = excluded.rank",
        upserts,
    )
    connection.executemany("DELETE FROM ranks WHERE tally = ? AND member = ?", gone)


def _in_order(tables: dict[str, dict[str, N]]) -> Iterator[tuple[str, str, N]]:
    for tally in sorted(tables):
        of_members = tables[tally]
        for member in sorted(of_members):
            yield tally, member, of_members[member]


def sums(table: str, connection: sqlite3.Connection) -> dict[str, Vector]:
    """Every member of a sums table."""
    rows = connection.execute("SELECT member, vector FROM sums WHERE tally = ?", (table,))
    return {member: _decode(vector) for member, vector in rows}


def sums_of(tables: Sequence[str], member: str, connection: sqlite3.Connection) -> list[Vector]:
    """The vector of *member* in each of *tables*."""
    query = "SELECT vector FROM sums WHERE tally = ? AND member = ?"
    with transaction(connection, "DEFERRED"):  # of one moment
        rows = [connection.execute(query, (table, member)).fetchone() for table in tables]
    return [() if row is None else _decode(row[0]) for row in rows]


def top(
    table: str, offset: int, limit: int, connection: sqlite3.Connection
) -> list[tuple[str, int]]:
    """Members, the highest rank first."""
    return connection.execute(_TOP, (table, _int64(limit), _int64(offset))).fetchall()


def bottom(
    table: str,
    at_least: int | None,
    at_most: int | None,
    limit: int,
    connection: sqlite3.Connection,
) -> list[tuple[str, int]]:
    """Members within the bounds, the lowest rank first."""
    low = -_INT64_MAX if at_least is None else _int64(at_least)
    high = _INT64_MAX if at_most is None else _int64(at_most)
    return connection.execute(_BOTTOM, (table, low, high, _int64(limit))).fetchall()


def ranks_of(table: str, members: Sequence[str], connection: sqlite3.Connection) -> list[int]:
    """The rank of each of *members*."""
    with transaction(connection, "DEFERRED"):
        return [_rank(connection, table, member) for member in members]


def rank_count(table: str, connection: sqlite3.Connection) -> int:
    """How many members a ranks table has."""
    row = connection.execute("SELECT count(*) FROM ranks WHERE tally = ?", (table,)).fetchone()
    return int(row[0])


def next_table(
    kind: Kind, prefix: str, after: str | None, connection: sqlite3.Connection
) -> str | None:
    """The first table whose name starts with *prefix* and comes after *after*."""
    where, bounds = range_of(prefix, "tally")
    if after is not None:
        where = f"{where} AND tally > :after"
    query = f"SELECT tally FROM {kind} WHERE {where} ORDER BY tally LIMIT 1"  # noqa: S608  constants only
    row = connection.execute(query, {**bounds, "after": after}).fetchone()
    return None if row is None else str(row[0])


def drop_page(kind: Kind, table: str, connection: sqlite3.Connection) -> bool:
    """Remove some members of *table*; whether there may be more."""
    query = (
        f"DELETE FROM {kind} WHERE tally = :tally AND member IN "  # noqa: S608  constants only
        f"(SELECT member FROM {kind} WHERE tally = :tally LIMIT {_DROP_ROWS})"
    )
    return connection.execute(query, {"tally": table}).rowcount == _DROP_ROWS


def _rank(connection: sqlite3.Connection, tally: str, member: str) -> int:
    row = connection.execute(
        "SELECT rank FROM ranks WHERE tally = ? AND member = ?", (tally, member)
    ).fetchone()
    return 0 if row is None else int(row[0])


def _int64(number: int) -> int:
    """*number*, or the nearest that SQLite takes; nothing has a rank beyond."""
    return max(-_INT64_MAX, min(_INT64_MAX, number))
