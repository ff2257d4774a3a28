"""What the verbs of ``augury features`` do: write, read, join."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augury.app.local.feature_rows import read_feature_rows
from augury.app.settings import Settings
from augury.core.clock import SystemClock
from augury.features.catalogue import Catalogue, as_feature_store
from augury.features.history import History
from augury.features.online import OnlineStore
from augury.features.times import show
from augury.features.values import FeatureSpec, UnfitValue, to_entity, to_json
from augury.features.writing import Writer, WriteReport
from augury.stores.base import KeyValueStore

if TYPE_CHECKING:
    from augury.features.asof import JoinOptions
    from augury.features.tables import FeatureTable


class WrongUse(ValueError):
    """The command line asks for what the tables do not have."""


async def write_file(
    store: KeyValueStore,
    name: str,
    file: Path,
    settings: Settings,
    *,
    utc: bool,
    online_only: bool,
    on_progress: Callable[[int], None],
) -> WriteReport:
    """Write the rows of *file* to the table *name*.

    Raises:
        AuguryError: No such table, a file with other columns, or a store that cannot be reached.
    """
    history = None if online_only else History(settings.features_history)
    table = await Catalogue(store).get(name)
    writer = Writer(as_feature_store(store), table, history, SystemClock(), assume_utc=utc)
    records = read_feature_rows(file, table, max_line_bytes=settings.max_body_bytes)
    return await writer.write(records, on_progress)


async def read_entity(store: KeyValueStore, name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """What the table *name* has of an entity, as JSON tells it.

    Raises:
        TableNotFound: No such table.
        WrongUse: *given* is not the table's key.
    """
    table = await Catalogue(store).get(name)
    entity = _entity(table, given)
    row = await OnlineStore(store, SystemClock()).newest(table, list(entity.values()))
    values: dict[str, Any] = {}
    defaults: list[str] = []
    for spec in table.features.values():
        wire = None if row is None else row.values.get(spec.name)
        if wire is None and spec.default is not None:
            wire = spec.default
            defaults.append(spec.name)
        values[spec.name] = None if wire is None else to_json(spec, wire)
    return {
        "table": name,
        "entity": {
            key: to_json(FeatureSpec(key, table.entity[key]), part) for key, part in entity.items()
        },
        "found": row is not None,
        "event_time": None if row is None else show(row.event_us),
        "values": values,
        "defaults": defaults,
    }


async def find_tables(
    store: KeyValueStore, names: Sequence[str]
) -> list[tuple[FeatureTable, tuple[str, ...]]]:
    """The tables that are asked for as ``TABLE`` or ``TABLE:FEATURE,FEATURE``, and these features.

    Raises:
        TableNotFound: No such table.
        WrongUse: One is asked for twice.
    """
    found: dict[str, tuple[FeatureTable, tuple[str, ...]]] = {}
    for one in names:
        name, _, features = one.partition(":")
        if name in found:
            raise WrongUse(f"{name} is named twice; write {name}:FEATURE,FEATURE")
        chosen = tuple(part for part in features.split(",") if part)
        found[name] = (await Catalogue(store).get(name), chosen)
    return list(found.values())


async def join_file(
    tables: Sequence[tuple[FeatureTable, tuple[str, ...]]],
    columns: Mapping[str, str],
    entities: Path,
    output: Path,
    how: tuple[Path, JoinOptions],
) -> int:
    """Join the history of *tables* to the rows of a file; returns how many there are.

    Args:
        tables: What :func:`find_tables` found.
        columns: ``KEY`` or ``TABLE.KEY`` to the column that carries it.
        entities: The rows.
        output: Where they go.
        how: Folder of the history, and the options.

    Raises:
        WrongUse: No table has such a key.
        OperatorError: The rows do not fit.
    """
    past = History(how[0])
    from augury.features.asof import TableJoin, join_to_file

    joins: list[TableJoin] = []
    used: set[str] = set()
    for table, chosen in tables:
        own: dict[str, str] = {}
        for key in table.entity:
            for spelling in (f"{table.name}.{key}", key):
                if spelling in columns:
                    used.add(spelling)
                    own.setdefault(key, columns[spelling])
        joins.append(TableJoin(table, chosen, own))
    for spelling in columns:
        if spelling not in used:
            raise WrongUse(f"--key: none of the tables has a key {spelling!r}")
    return await asyncio.to_thread(join_to_file, past, joins, entities, output, how[1])


def _entity(table: FeatureTable, given: Mapping[str, str]) -> dict[str, int | bytes]:
    for key in given:
        if key not in table.entity:
            keys = ", ".join(table.entity)
            raise WrongUse(f"--entity: {table.name} has no key {key!r}; it has: {keys}")
    entity: dict[str, int | bytes] = {}
    for key, datatype in table.entity.items():
        if key not in given:
            raise WrongUse(f"--entity: give {key}=VALUE too")
        text = given[key]
        try:
            entity[key] = to_entity(datatype, text if datatype == "BYTES" else int(text))
        except UnfitValue as error:
            raise WrongUse(f"--entity: {key} {error}") from None
        except ValueError:
            raise WrongUse(f"--entity: {key} is {text[:40]!r}, which is no integer") from None
    return entity
