"""The newest value of each feature, for requests.

One round trip reads the rows of all entities of all tables, and the definitions with them, so that a
table that grew or was dropped a moment ago is seen at once.  An entity is asked for once, however many
rows of the request name it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np

from augury.core.clock import Clock
from augury.core.errors import NotFound
from augury.core.tensor import NUMPY_DTYPES, Array
from augury.features.catalogue import TableNotFound, decode_table
from augury.features.records import OnlineRow, decode_row, row_key, table_key
from augury.features.tables import FeatureTable, InvalidTable, is_table_name
from augury.features.values import FeatureSpec, UnfitValue, Wire, to_column, to_entity
from augury.stores.base import KeyValueStore

T = TypeVar("T")

# Definitions kept decoded; a process that asks for more tables decodes them again.
_MAX_KNOWN: Final = 256

# More rows than this are worked on off the loop: so many take about 3 ms.
INLINE_ROWS: Final = 256


@dataclass(frozen=True, slots=True)
class Lookup:
    """A question to one table.

    Args:
        table: Its name.
        entities: For each row the parts of the key, in the order of the key columns' names; ``None``
            for a row that is not asked.
    """

    table: str
    entities: Sequence[Sequence[int | bytes] | None]


@dataclass(slots=True)
class Found:
    """What a table has for the rows of a :class:`Lookup`.

    Args:
        table: The definition; ``None``: no such table.
        rows: For each row its newest values; ``None``: there are none, or they have expired.
    """

    table: FeatureTable | None
    rows: list[Mapping[str, Wire] | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """One feature of several rows.

    Args:
        values: Shape ``(rows, *shape)``; what is missing and has no default is zero or empty.
        missing: Rows that had no value, whether or not a default stands in.
    """

    values: Array
    missing: frozenset[int]


class OnlineStore:
    """Reads feature tables from a store.

    Args:
        store: Where they lie.
        clock: Its wall time decides what has expired.
        executor: Where keys and rows of large requests are worked on; ``None``: on the event loop.

    Raises (methods that read):
        Unavailable: The store cannot be reached.
    """

    def __init__(
        self, store: KeyValueStore, clock: Clock, executor: Executor | None = None
    ) -> None:
        self._store = store
        self._executor = executor
        self._clock = clock
        self._known: dict[bytes, FeatureTable | None] = {}

    @property
    def fault(self) -> str | None:
        """Why the store cannot be reached just now; ``None`` while it can."""
        return self._store.fault

    async def read(
        self, table: str, keys: Mapping[str, Sequence[object]]
    ) -> dict[str, FeatureColumn]:
        """All features of *table* for the entities that *keys* name, column by column.

        Raises:
            TableNotFound: There is no such table.
            InvalidTable: *keys* are not the columns of its entity, or do not fit their datatypes.
        """
        sizes = {len(column) for column in keys.values()}
        if len(sizes) != 1:
            raise InvalidTable(f"keys of {table!r} have columns of different length: {sizes}")
        definition = (await self.lookup([Lookup(table, [])]))[0].table
        if definition is None:
            raise TableNotFound(f"no feature table {table[:80]!r}", table=table[:80])
        if set(keys) != set(definition.entity):
            raise InvalidTable(
                f"the entity of {table!r} is {', '.join(definition.entity)}; given: {', '.join(keys)}"
            )
        entities = []
        for row in range(sizes.pop()):
            parts = []
            for name, datatype in definition.entity.items():
                try:
                    parts.append(to_entity(datatype, keys[name][row]))
                except UnfitValue as error:
                    raise InvalidTable(f"{name!r} of row {row + 1} {error}") from None
            entities.append(parts)
        found = (await self.lookup([Lookup(table, entities)]))[0]
        return {name: column_of(spec, found.rows) for name, spec in definition.features.items()}

    async def newest(self, table: FeatureTable, entity: Sequence[int | bytes]) -> OnlineRow | None:
        """The row of one *entity*, or ``None`` if there is none or it has expired."""
        data = await self._store.get(row_key(table.name, entity))
        row = None if data is None else decode_row(data)
        now_us = int(self._clock.time() * 1_000_000)
        return row if row is not None and is_live(row, table, now_us) else None

    async def lookup(self, lookups: Sequence[Lookup]) -> list[Found]:
        """Answer *lookups* in one round trip; a table that is not there is no error."""
        rows = sum(len(lookup.entities) for lookup in lookups)
        places, its = await apart(self._executor, rows, lambda: _plan(lookups))
        values = await self._store.get_many(list(places))
        return await apart(self._executor, rows, lambda: self._found(lookups, places, its, values))

    def _found(
        self,
        lookups: Sequence[Lookup],
        places: Mapping[str, int],
        its: Sequence[Sequence[int | None]],
        values: Sequence[bytes | None],
    ) -> list[Found]:
        """What the *values* of the store mean for each row."""
        now_us = int(self._clock.time() * 1_000_000)
        decoded: dict[int, Mapping[str, Wire] | None] = {}
        found = []
        for lookup, own in zip(lookups, its, strict=True):
            table = self._definition(values[places[table_key(lookup.table)]])
            one = Found(table)
            for place in own:
                if place is None or table is None:
                    one.rows.append(None)
                    continue
                if place not in decoded:
                    decoded[place] = _live(table, values[place], now_us)
                one.rows.append(decoded[place])
            found.append(one)
        return found

    def _definition(self, data: bytes | None) -> FeatureTable | None:
        if data is None:
            return None
        # By its bytes: decoding a definition costs a hundred times as much as this.
        if data not in self._known:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[data] = decode_table(data)
        return self._known[data]


async def apart(executor: Executor | None, rows: int, work: Callable[[], T]) -> T:
    """The result of *work*, from a thread of *executor* if it is for many *rows*."""
    if executor is None or rows <= INLINE_ROWS:
        return work()
    return await asyncio.get_running_loop().run_in_executor(executor, work)


def column_of(spec: FeatureSpec, rows: Sequence[Mapping[str, Wire] | None]) -> FeatureColumn:
    """The feature *spec* of *rows*, its default in place of what is missing."""
    missing = []
    wires: list[Wire] = []
    filler = spec.default if spec.default is not None else _nothing(spec)
    for position, row in enumerate(rows):
        wire = None if row is None else row.get(spec.name)
        if wire is None:
            missing.append(position)
            wire = filler
        wires.append(wire)
    return FeatureColumn(to_column(spec, wires), frozenset(missing))


def is_live(row: OnlineRow, table: FeatureTable, now_us: int) -> bool:
    """Whether *row* is of this very table and has not expired."""
    return row.uid == table.uid and (table.ttl_us is None or now_us - row.event_us <= table.ttl_us)


def _plan(lookups: Sequence[Lookup]) -> tuple[dict[str, int], list[list[int | None]]]:
    """Every key with its place, once, and for each row of each lookup the place of its key."""
    places: dict[str, int] = {}
    for lookup in lookups:
        if not is_table_name(lookup.table):
            raise NotFound(f"{lookup.table[:80]!r} cannot be a feature table's name")
        places.setdefault(table_key(lookup.table), len(places))
    its = [
        [
            None
            if entity is None
            else places.setdefault(row_key(lookup.table, entity), len(places))
            for entity in lookup.entities
        ]
        for lookup in lookups
    ]
    return places, its


def _live(table: FeatureTable, data: bytes | None, now_us: int) -> Mapping[str, Wire] | None:
    row = None if data is None else decode_row(data)
    return row.values if row is not None and is_live(row, table, now_us) else None


def _nothing(spec: FeatureSpec) -> Wire:
    elements = int(np.prod(spec.shape)) if spec.shape else 1
    if spec.datatype == "BYTES":
        return [b""] * elements if spec.shape else b""
    if not spec.shape:
        return 0
    return bytes(NUMPY_DTYPES[spec.datatype].itemsize * elements)
