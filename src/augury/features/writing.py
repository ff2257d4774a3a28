"""Rows into a feature table: checked, kept in the history, and the newest of each entity online.

The history comes first: a row that is online is in the history, whatever happens in between, and what
was cut off can be written again as a whole.  Online, a row replaces another only if its event is newer,
or the same event written down later; the comparison and the write are one step in the store, so that
writers in many processes need not know of each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from augury.core.clock import Clock
from augury.core.errors import Conflict
from augury.features.catalogue import FeatureStore
from augury.features.history import History
from augury.features.online import is_live
from augury.features.records import OnlineRow, decode_row, encode_row, row_key, row_prefix
from augury.features.tables import EVENT_TIME, FeatureTable
from augury.features.times import UnfitTime, show, to_microseconds
from augury.features.values import UnfitValue, Wire, to_entity, to_wire
from augury.stores.base import Change

# One file of history, and what is held in memory at once.
CHUNK_ROWS: Final = 20_000
CHUNK_BYTES: Final = 32 * 1024 * 1024
# One round trip to the store.
PAGE_ROWS: Final = 500
# What two machines' clocks may differ by; a later event would shadow every true one until then.
MAX_FUTURE_S: Final = 300.0
MAX_ROW_BYTES: Final = 1024 * 1024
# Faults that are kept; the others are only counted.
MAX_FAULTS: Final = 100
# Rounds of comparing and setting before a writer gives up; each round, somebody gets through.
_ROUNDS: Final = 64

_OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Row:
    """A checked row.

    Args:
        entity: Parts of its key, in the order of the key columns' names.
        event_us: When it was so.
        values: Feature to value; what is missing is left out.
        size_bytes: About how much memory it takes.
    """

    entity: tuple[int | bytes, ...]
    event_us: int
    values: dict[str, Wire]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RowFault:
    """Why a row was not written.

    Args:
        row: Its line or number, counted from 1.
        column: The column at fault; empty for the row as a whole.
        message: What is wrong.
    """

    row: int
    column: str
    message: str


@dataclass(slots=True)
class WriteReport:
    """What became of the rows.

    Args:
        rows: Rows that were read.
        written: Rows that are in the history now.
        changed: Entities whose online values are new.
        unchanged: Rows that were online already, or whose entity has a newer event.
        faulty: Rows that were refused.
        faults: The first of those.
    """

    rows: int = 0
    written: int = 0
    changed: int = 0
    unchanged: int = 0
    faulty: int = 0
    faults: list[RowFault] = field(default_factory=list)

    def refuse(self, fault: RowFault) -> None:
        """Count a row that cannot be written."""
        self.faulty += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault)


class BadRow(ValueError):
    """A row that cannot be written.

    Args:
        column: The column at fault; empty for the row as a whole.
        message: What is wrong.
    """

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


def check_row(
    table: FeatureTable, record: Mapping[str, Any], *, now_us: int, assume_utc: bool = False
) -> Row:
    """A row of *table* from what somebody wrote.

    Args:
        table: The table.
        record: Key columns, ``event_time``, and features; a feature that is ``None`` or left out is
            missing.
        now_us: An event much later than this is refused.
        assume_utc: Whether times without an offset are UTC.

    Raises:
        BadRow: It does not fit; tells the column.
    """
    for name in record:
        if name not in table.features and name not in table.entity and name != EVENT_TIME:
            known = ", ".join([*table.entity, EVENT_TIME, *list(table.features)[:20]])
            raise BadRow(str(name)[:80], f"is no column of {table.name!r}; it has: {known}")
    entity = []
    size_bytes = 200
    for name, datatype in table.entity.items():
        try:
            part = to_entity(datatype, record.get(name))
        except UnfitValue as error:
            raise BadRow(name, str(error)) from None
        entity.append(part)
        size_bytes += len(part) if isinstance(part, bytes) else 8
    try:
        event_us = to_microseconds(record.get(EVENT_TIME), assume_utc=assume_utc)
    except UnfitTime as error:
        raise BadRow(EVENT_TIME, str(error)) from None
    if event_us > now_us + MAX_FUTURE_S * 1_000_000:
        raise BadRow(
            EVENT_TIME,
            f"{show(event_us)} is in the future; {MAX_FUTURE_S:.0f} s ahead of this machine's clock is "
            "the limit",
        )
    values: dict[str, Wire] = {}
    for name, spec in table.features.items():
        value = record.get(name)
        if value is None:
            continue
        try:
            wire = values[name] = to_wire(spec, value)
        except UnfitValue as error:
            raise BadRow(name, str(error)) from None
        size_bytes += 60 + _size_bytes(wire)
    if size_bytes > MAX_ROW_BYTES:
        raise BadRow("", f"takes {size_bytes} bytes, the limit of a row is {MAX_ROW_BYTES}")
    return Row(tuple(entity), event_us, values, size_bytes)


class Writer:
    """Writes rows to one table.

    Args:
        store: The online store.
        table: The table.
        history: Where every row is kept; ``None``: nowhere, online values only.
        clock: Its wall time is the rows' ``written_time``.
        assume_utc: Whether times without an offset are UTC.
    """

    def __init__(
        self,
        store: FeatureStore,
        table: FeatureTable,
        history: History | None,
        clock: Clock,
        *,
        assume_utc: bool = False,
    ) -> None:
        self._store = store
        self._table = table
        self._history = history
        self._clock = clock
        self._assume_utc = assume_utc
        self._written_us = 0

    async def write(
        self,
        records: Iterable[tuple[int, Mapping[str, Any] | str]],
        on_progress: _OnProgress = lambda _: None,
    ) -> WriteReport:
        """Write *records*; those that do not fit are told and the others are written.

        Args:
            records: Line or number of each row, and the row; a text instead says why it is none.
            on_progress: Told how many more rows are done.

        Raises:
            Unavailable: The store cannot be reached.  What was written stays, and writing the same
                rows again completes it.
            Conflict: Other writers keep writing the same entities.
            OSError: The history cannot be written.
        """
        report = WriteReport()
        for chunk, seen in self._chunks(records, report):
            # Two chunks never share a moment: of two writes of one event, the later one counts.
            self._written_us = max(int(self._clock.time() * 1_000_000), self._written_us + 1)
            rows = _last_of_each_event(chunk)
            if self._history is not None and rows:
                await asyncio.to_thread(self._history.append, self._table, rows, self._written_us)
            report.written += len(chunk)
            newest = list(_newest_of_each_entity(rows))
            changed = 0
            for start in range(0, len(newest), PAGE_ROWS):
                changed += await self._put_online(newest[start : start + PAGE_ROWS])
            report.changed += changed
            report.unchanged += len(chunk) - changed
            on_progress(seen)
        if self._history is not None and report.written:
            await asyncio.to_thread(self._history.compact, self._table)
        return report

    def _chunks(
        self, records: Iterable[tuple[int, Mapping[str, Any] | str]], report: WriteReport
    ) -> Iterator[tuple[list[Row], int]]:
        """Checked rows in bounded lists, each with the number of records that it came from."""
        chunk: list[Row] = []
        size_bytes = seen = 0
        for number, record in records:
            report.rows += 1
            seen += 1
            if isinstance(record, str):
                report.refuse(RowFault(number, "", record))
            else:
                try:
                    row = check_row(
                        self._table,
                        record,
                        now_us=int(self._clock.time() * 1_000_000),
                        assume_utc=self._assume_utc,
                    )
                except BadRow as error:
                    report.refuse(RowFault(number, error.column, str(error)))
                else:
                    chunk.append(row)
                    size_bytes += row.size_bytes
            if len(chunk) >= CHUNK_ROWS or size_bytes >= CHUNK_BYTES or seen >= 2 * CHUNK_ROWS:
                yield chunk, seen
                chunk, size_bytes, seen = [], 0, 0
        if seen:
            yield chunk, seen

    async def _put_online(self, rows: Sequence[Row]) -> int:
        """Replace what is older; returns for how many entities."""
        waiting = {row_key(self._table.name, row.entity): row for row in rows}
        changed = 0
        for attempt in range(_ROUNDS):
            keys = list(waiting)
            changes = []
            for key, old in zip(keys, await self._store.get_many(keys), strict=True):
                new = self._replacement(waiting[key], old)
                if new is None:
                    del waiting[key]
                else:
                    changes.append(Change(expected={key: old}, values={key: new}))
            if not changes:
                return changed
            for change, done in zip(changes, await self._store.commit(changes), strict=True):
                if done:
                    changed += 1
                    for key in change.values:
                        del waiting[key]
            if not waiting:
                return changed
            await _give_way(attempt)
        raise Conflict(
            f"{len(waiting)} entities of {self._table.name!r} were written by others in each of "
            f"{_ROUNDS} rounds; write the rows again"
        )

    def _replacement(self, row: Row, old_data: bytes | None) -> bytes | None:
        """What takes the place of *old_data*, or ``None`` if it is newer or the same."""
        old = None if old_data is None else decode_row(old_data)
        if old is not None and old.uid == self._table.uid:
            if old.event_us > row.event_us:
                return None
            if old.event_us == row.event_us and (
                old.values == row.values or old.written_us > self._written_us
            ):
                return None
        return encode_row(OnlineRow(self._table.uid, row.event_us, self._written_us, row.values))


async def purge(
    store: FeatureStore,
    table: FeatureTable,
    clock: Clock,
    on_progress: _OnProgress = lambda _: None,
) -> int:
    """Remove the online rows of *table* that nobody sees any more; returns how many went.

    A row that is written anew meanwhile stays.
    """
    removed = 0
    page: list[Change] = []
    async for key, data in store.scan(row_prefix(table.name)):
        on_progress(1)
        row = decode_row(data)
        if row is None or not is_live(row, table, int(clock.time() * 1_000_000)):
            page.append(Change(expected={key: data}, values={key: None}))
        if len(page) >= PAGE_ROWS:
            removed += sum(await store.commit(page))
            page = []
    return removed + (sum(await store.commit(page)) if page else 0)


async def _give_way(attempt: int) -> None:
    import random

    # Two writers that collided do not meet again at once; at most 50 ms.
    await asyncio.sleep(random.uniform(0, min(0.05, 0.001 * 2**attempt)))  # noqa: S311 - no secret


def _last_of_each_event(rows: Sequence[Row]) -> list[Row]:
    """Of rows for one entity and moment, the one that was written last."""
    return list({(row.entity, row.event_us): row for row in rows}.values())


def _newest_of_each_entity(rows: Sequence[Row]) -> Iterator[Row]:
    newest: dict[tuple[int | bytes, ...], Row] = {}
    for row in rows:
        other = newest.get(row.entity)
        if other is None or row.event_us >= other.event_us:
            newest[row.entity] = row
    yield from newest.values()


def _size_bytes(wire: Wire) -> int:
    if isinstance(wire, bytes):
        return len(wire)
    return sum(map(len, wire)) + 33 * len(wire) if isinstance(wire, list) else 8
