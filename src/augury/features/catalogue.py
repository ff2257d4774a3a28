"""The definitions of all feature tables, kept in the store.

Every change compares and sets, so that two people who define the same table at once do not undo each
other's work.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from augury.core.errors import Conflict, InvalidSetting, NotFound
from augury.features.records import TABLE_PREFIX, row_prefix, table_key
from augury.features.tables import (
    FeatureTable,
    InvalidTable,
    TableDefinition,
    incompatibilities,
    is_table_name,
    parse_definition,
    table_of,
)
from augury.features.values import to_json
from augury.stores.base import Change, KeyValueStore, TallyStore

# More tables than any catalogue should hold: a bound for what is read at once.
MAX_TABLES: Final = 1_000
DELETE_PAGE: Final = 500
_ROUNDS: Final = 8


class TableNotFound(NotFound):
    """No feature table of that name is defined."""

    code, title = "table_not_found", "Feature table not found"


class FeatureStore(KeyValueStore, TallyStore, Protocol):
    """What feature tables need of a store: values, and changes that compare before they set."""


def as_feature_store(store: KeyValueStore) -> FeatureStore:
    """*store*, if feature tables can be written to it.

    Raises:
        InvalidSetting: It cannot compare and set.
    """
    if not isinstance(store, TallyStore):
        raise InvalidSetting(
            f"{type(store).__name__} cannot compare and set, which writing feature tables needs; use "
            "memory://, sqlite:// or redis://"
        )
    return store


def decode_table(data: bytes) -> FeatureTable | None:
    """The table that a stored definition defines, or ``None`` for bytes that are none."""
    try:
        document = msgspec.json.decode(data)
        uid = document.pop("uid")
        return table_of(parse_definition(document), uid) if isinstance(uid, str) else None
    except (msgspec.MsgspecError, InvalidTable, LookupError, AttributeError, ValueError, TypeError):
        return None


class Catalogue:
    """The tables that are defined in *store*."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store

    async def find(self, name: str) -> FeatureTable | None:
        """The table *name*, or ``None``."""
        data = await self._store.get(table_key(name)) if is_table_name(name) else None
        return None if data is None else decode_table(data)

    async def get(self, name: str) -> FeatureTable:
        """The table *name*.

        Raises:
            TableNotFound: It is not defined.
        """
        table = await self.find(name)
        if table is None:
            known = ", ".join(sorted(one.name for one in (await self.all())[:20]))
            there = f"here are: {known}" if known else "none is defined in this store"
            raise TableNotFound(f"no feature table {name[:80]!r}; {there}", table=name[:80])
        return table

    async def all(self) -> list[FeatureTable]:
        """Every table, by name; at most :data:`MAX_TABLES`."""
        tables = []
        async for _, data in self._store.scan(TABLE_PREFIX):
            table = decode_table(data)
            if table is not None:
                tables.append(table)
            if len(tables) >= MAX_TABLES:
                break
        return sorted(tables, key=lambda one: one.name)

    async def define(self, definition: TableDefinition) -> tuple[FeatureTable, bool]:
        """Define a table, or let the one that there is grow.

        Returns:
            The table, and whether anything changed.

        Raises:
            InvalidTable: The table is there, and rows written to it would mean something else.
            Conflict: Others keep changing it.
        """
        store = as_feature_store(self._store)
        key = table_key(definition.name)
        for _ in range(_ROUNDS):
            old_data = await store.get(key)
            old = None if old_data is None else decode_table(old_data)
            new = table_of(definition, secrets.token_hex(4) if old is None else old.uid)
            if old is not None:
                faults = list(incompatibilities(old, new))
                if faults:
                    raise InvalidTable(
                        f"feature table {new.name!r} is defined otherwise: {'; '.join(faults)}; "
                        "give the new table another name, or drop this one first",
                        table=new.name,
                    )
            data = _encode(definition, new.uid)
            if data == old_data:
                return new, False
            if (await store.commit([Change(expected={key: old_data}, values={key: data})]))[0]:
                return new, True
        raise Conflict(f"feature table {definition.name!r} is being changed by others; try again")

    async def drop(self, table: FeatureTable) -> int:
        """Remove the definition, then every online row of it; returns how many rows went.

        Rows that are written meanwhile stay behind and are never read: they bear the old ``uid``.
        """
        await self._store.delete(table_key(table.name))
        removed = 0
        page: list[str] = []
        async for key, _ in self._store.scan(row_prefix(table.name)):
            page.append(key)
            if len(page) >= DELETE_PAGE:
                removed += await self._store.delete(*page)
                page.clear()
        return removed + (await self._store.delete(*page) if page else 0)

    async def count_rows(self, table: FeatureTable) -> int:
        """How many entities have an online row, expired ones included."""
        return await self._store.count(row_prefix(table.name))


def describe(table: FeatureTable) -> dict[str, Any]:
    """A table as JSON tells it."""
    features: dict[str, Mapping[str, Any]] = {}
    for name, spec in table.features.items():
        default = None if spec.default is None else to_json(spec, spec.default)
        features[name] = {
            "dtype": spec.datatype,
            "shape": list(spec.shape),
            "default": default,
            "description": spec.description,
        }
    return {
        "name": table.name,
        "description": table.description,
        "ttl_s": table.ttl_s,
        "entity": dict(table.entity),
        "features": features,
    }


def _encode(definition: TableDefinition, uid: str) -> bytes:
    document = definition.model_dump(mode="json", exclude_defaults=True)
    return msgspec.json.encode({**document, "uid": uid})
