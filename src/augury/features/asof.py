"""What was known at a moment: features joined to rows with timestamps, never from the future.

For each row and table the latest event at or before the row's moment counts, if it has not expired by
then; with ``as_known``, only what had been written down by then.  Precision is a microsecond; an event
at the very moment of the row counts.  Defaults stand in as they do in serving, so that a model is
trained on what it will see.  DuckDB does the work, on disk where memory does not suffice.

How ``as_known`` fits into one as-of join: a row is known from ``greatest(event, written)`` on, and of
what is known the latest event counts.  In the order of becoming known, only rows that are later events
than all before them are ever seen; the others are left out, and what remains rises in both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from augury.features.entities import (
    ENTITIES,
    OWN_PREFIX,
    UnfitEntities,
    bad_key_sql,
    connect,
    key_sql,
    literal,
    load_entities,
    quoted,
    sql_type,
    time_sql,
)
from augury.features.history import History, arrow_type
from augury.features.tables import EVENT_TIME, WRITTEN_TIME, FeatureTable
from augury.features.values import FeatureSpec, from_wire

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

T = TypeVar("T")

FORMATS: Final = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".csv": "FORMAT csv, HEADER",
    ".jsonl": "FORMAT json",
}


@dataclass(frozen=True, slots=True)
class TableJoin:
    """One table of a join.

    Args:
        table: The table.
        features: Those wanted; empty for all.
        entity: Key column to column of the rows, where they are called otherwise.
    """

    table: FeatureTable
    features: tuple[str, ...] = ()
    entity: Mapping[str, str] = field(default_factory=dict)

    @property
    def specs(self) -> list[FeatureSpec]:
        """The features wanted.

        Raises:
            InvalidTable: The table has no such feature.
        """
        return [self.table.feature(name) for name in self.features or self.table.features]

    @property
    def columns(self) -> dict[str, str]:
        """Key column to column of the rows."""
        return {name: self.entity.get(name, name) for name in self.table.entity}


@dataclass(frozen=True, slots=True)
class JoinOptions:
    """How a join is done.

    Args:
        timestamp: The rows' column of moments.
        as_known: Leave out what was written later than the moment.
        assume_utc: Moments without an offset are UTC; else they are refused.
        defaults: Defaults stand in for what is missing, as in serving.
        prefix: Call the new columns ``table__feature``.
        event_times: Also tell the moment of each event, in ``table__event_time``.
        memory: Bound of DuckDB's memory.
    """

    timestamp: str = "timestamp"
    as_known: bool = False
    assume_utc: bool = False
    defaults: bool = True
    prefix: bool = False
    event_times: bool = False
    memory: str = "1GB"


def join_to_file(
    history: History,
    joins: Sequence[TableJoin],
    entities: Path | pa.Table,
    output: Path,
    options: JoinOptions | None = None,
) -> int:
    """Join the history to the rows of *entities*, in their order, and write *output*.

    Args:
        history: The history of the tables.
        joins: The tables, each once.
        entities: Parquet, CSV, TSV or JSON lines by the file's ending, or an Arrow table.
        output: ``.parquet``, ``.csv`` or ``.jsonl``; appears whole or not at all.
        options: How; default: see :class:`JoinOptions`.

    Returns:
        The number of rows.

    Raises:
        OperatorError: A column is missing, clashes, or holds what is no key or time.
        OSError: The output cannot be written.
    """
    how = FORMATS.get(output.suffix.lower())
    if how is None:
        raise UnfitEntities(f"{output}: the ending tells the format: {', '.join(FORMATS)}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".augury-", dir=output.parent) as spill:
        aside = Path(spill) / f"out{output.suffix.lower()}"

        def write(connection: duckdb.DuckDBPyConnection, query: str) -> int:
            done = connection.execute(f"COPY ({query}) TO {literal(str(aside))} ({how})").fetchone()
            return int(done[0]) if done else 0

        rows: int = _run(
            (history, joins, entities, options or JoinOptions()), Path(spill) / "spill", write
        )
        aside.replace(output)
        return rows


def join_to_table(
    history: History,
    joins: Sequence[TableJoin],
    entities: Path | pa.Table,
    options: JoinOptions | None = None,
) -> pa.Table:
    """The same as :func:`join_to_file`, in memory."""
    with tempfile.TemporaryDirectory(prefix="augury-") as spill:

        def fetch(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
            return connection.sql(query).to_arrow_table()

        return _run((history, joins, entities, options or JoinOptions()), Path(spill), fetch)


def merge_files(table: FeatureTable, files: Sequence[Path], output: Path) -> None:
    """Write the rows of *files* into one, without those that say again what was known.

    Of equal values for one event, the one written first is kept: from then on it was known.
    """
    keys = _names(list(table.entity))
    values = _names(list(table.features))
    source = _source_sql(table, files)
    with tempfile.TemporaryDirectory(prefix=".augury-", dir=output.parent) as spill:
        query = (
            f"SELECT * FROM ({source}) "  # noqa: S608 - names are quoted
            f"WINDOW w AS (PARTITION BY {keys}, {EVENT_TIME} ORDER BY {WRITTEN_TIME}) QUALIFY "
            f"row_number() OVER w = 1 OR lag(row({values})) OVER w IS DISTINCT FROM row({values}) "
            f"ORDER BY {keys}, {EVENT_TIME}, {WRITTEN_TIME}"
        )
        connection = connect(Path(spill))
        try:
            connection.execute(f"COPY ({query}) TO {literal(str(output))} ({FORMATS['.parquet']})")
        finally:
            connection.close()


def _run(
    request: tuple[History, Sequence[TableJoin], Path | pa.Table, JoinOptions],
    spill: Path,
    finish: Callable[[duckdb.DuckDBPyConnection, str], T],
) -> T:
    """Make the query and *finish* it, while no file that it names goes away."""
    import duckdb

    history, joins, entities, options = request
    connection = connect(spill, memory=options.memory)
    try:
        with history.reading(join.table for join in joins):
            return finish(connection, _query(connection, history, joins, entities, options))
    except duckdb.IOException as error:
        raise OSError(str(error).splitlines()[0][:300]) from None
    except duckdb.Error as error:
        raise UnfitEntities(f"the join failed: {str(error).splitlines()[0][:300]}") from None
    finally:
        connection.close()


def _query(
    connection: duckdb.DuckDBPyConnection,
    history: History,
    joins: Sequence[TableJoin],
    entities: Path | pa.Table,
    options: JoinOptions,
) -> str:
    """The whole join as one query, its inputs registered in *connection*."""
    # Whether a column is read as it is written: names and times are, numbers come out the same.
    needed = {options.timestamp: True}
    for join in joins:
        for name, column in join.columns.items():
            needed[column] = needed.get(column, False) or join.table.entity[name] == "BYTES"
    columns = load_entities(connection, entities, needed)
    moment, bad_moment = time_sql(
        options.timestamp, columns[options.timestamp], assume_utc=options.assume_utc
    )
    _refuse_first(connection, options.timestamp, bad_moment, "is no time with an offset")
    own = [f"{moment} AS {OWN_PREFIX}at", f"row_number() OVER () AS {OWN_PREFIX}row"]
    selected = [f"e.{quoted(name)}" for name in columns]
    taken = {name.lower(): "a column of the rows" for name in columns}
    ctes, sources = [], []
    for position, join in enumerate(joins):
        for key, (name, datatype) in enumerate(join.table.entity.items()):
            column = join.columns[name]
            type_ = columns[column]
            own.append(f"{key_sql(column, type_, datatype)} AS {OWN_PREFIX}{position}_{key}")
            bad = bad_key_sql(column, type_, datatype)
            if bad is not None:
                _refuse_first(connection, column, bad, f"is no {datatype}")
        ctes.append(
            f"f{position} AS ({_events_sql(join.table, history.files(join.table), options.as_known)})"
        )
        matches = " AND ".join(
            f"e.{OWN_PREFIX}{position}_{key} = f{position}.{quoted(name)}"
            for key, name in enumerate(join.table.entity)
        )
        sources.append(
            f"ASOF LEFT JOIN f{position} ON {matches} "
            f"AND e.{OWN_PREFIX}at >= f{position}.{OWN_PREFIX}known"
        )
        for expression, name in _outputs(connection, join, position, options):
            if name.lower() in taken:
                raise UnfitEntities(
                    f"feature {name!r} of {join.table.name!r}: {taken[name.lower()]} is called so "
                    "already; ask for table__feature names (--prefix), or leave it out"
                )
            taken[name.lower()] = f"a feature of {join.table.name!r}"
            selected.append(f"{expression} AS {quoted(name)}")
    rows = f"SELECT e.*, {', '.join(own)} FROM {ENTITIES} AS e"  # noqa: S608 - names are quoted
    return (
        f"WITH e AS ({rows}), {', '.join(ctes)} SELECT {', '.join(selected)} FROM e "  # noqa: S608
        f"{' '.join(sources)} ORDER BY e.{OWN_PREFIX}row"
    )


def _outputs(
    connection: duckdb.DuckDBPyConnection, join: TableJoin, position: int, options: JoinOptions
) -> list[tuple[str, str]]:
    """Expression and name of each new column of one table."""
    import pyarrow as pa

    alias = f"f{position}"
    seen = f"{alias}.{OWN_PREFIX}event IS NOT NULL"
    if join.table.ttl_us is not None:
        age = f"e.{OWN_PREFIX}at - {alias}.{OWN_PREFIX}event"
        seen += f" AND {age} <= {join.table.ttl_us:d}"
    outputs = []
    defaults: dict[str, Any] = {}
    for spec in join.specs:
        expression = f"CASE WHEN {seen} THEN {alias}.{quoted(spec.name)} END"
        if options.defaults and spec.default is not None:
            defaults[spec.name] = pa.array([from_wire(spec, spec.default)], arrow_type(spec))
            one = f"(SELECT {quoted(spec.name)} FROM {OWN_PREFIX}defaults_{position})"  # noqa: S608
            expression = f"coalesce({expression}, {one})"
        outputs.append(
            (expression, f"{join.table.name}__{spec.name}" if options.prefix else spec.name)
        )
    if defaults:
        # As data, not as text of the query: a default may hold anything.
        connection.register(f"{OWN_PREFIX}defaults_{position}", pa.table(defaults))
    if options.event_times:
        event = f"CASE WHEN {seen} THEN {alias}.{EVENT_TIME} END"
        outputs.append((event, f"{join.table.name}__{EVENT_TIME}"))
    return outputs


def _events_sql(table: FeatureTable, files: Sequence[Path], as_known: bool) -> str:
    """The rows that can be seen at some moment, with the moment from which they are."""
    keys = _names(list(table.entity))
    event, written, known = (f"{OWN_PREFIX}{name}" for name in ("event", "written", "known"))
    rows = (
        f"SELECT *, epoch_us({EVENT_TIME}) AS {event}, epoch_us({WRITTEN_TIME}) AS {written} "  # noqa: S608
        f"FROM ({_source_sql(table, files)})"
    )
    if not as_known:
        return (
            f"SELECT *, {event} AS {known} FROM ({rows}) "  # noqa: S608
            f"QUALIFY row_number() OVER (PARTITION BY {keys}, {event} ORDER BY {written} DESC) = 1"
        )
    pair = f"{{'event': {event}, 'written': {written}}}"
    return (
        f"SELECT * FROM (SELECT *, max({pair}) OVER (PARTITION BY {keys} "  # noqa: S608
        f"ORDER BY {known}, {event}, {written} ROWS UNBOUNDED PRECEDING) AS {OWN_PREFIX}top "
        f"FROM (SELECT *, greatest({event}, {written}) AS {known} FROM ({rows}))) "
        f"WHERE {OWN_PREFIX}top = {pair} "
        f"QUALIFY row_number() OVER (PARTITION BY {keys}, {known} "
        f"ORDER BY {event} DESC, {written} DESC) = 1"
    )


def _source_sql(table: FeatureTable, files: Sequence[Path]) -> str:
    """All rows of *files* with the columns of *table*, NULL where a file is older than a column."""
    import glob

    specs = [FeatureSpec(name, datatype) for name, datatype in table.entity.items()]
    types = {spec.name: sql_type(spec) for spec in [*specs, *table.features.values()]}
    types |= dict.fromkeys((EVENT_TIME, WRITTEN_TIME), "TIMESTAMP WITH TIME ZONE")
    # Without rows, but with names and types: there may be no file yet, or none with a new column.
    form = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in types.items())
    source = f"SELECT {form} WHERE false"
    if files:
        paths = ", ".join(literal(glob.escape(str(file))) for file in files)
        source += f" UNION ALL BY NAME SELECT * FROM read_parquet([{paths}], union_by_name = true)"  # noqa: S608
    return f"SELECT {_names(list(types))} FROM ({source})"  # noqa: S608


def _refuse_first(
    connection: duckdb.DuckDBPyConnection, column: str, condition: str, fault: str
) -> None:
    """Tell the first row whose cell of *column* is at fault.

    Raises:
        UnfitEntities: There is one.
    """
    found = connection.execute(
        f"SELECT row, cell FROM (SELECT row_number() OVER () AS row, "  # noqa: S608 - quoted
        f"CAST(e.{quoted(column)} AS VARCHAR) AS cell, ({condition}) AS bad FROM {ENTITIES} AS e) "
        "WHERE bad ORDER BY row LIMIT 1"
    ).fetchone()
    if found is not None:
        raise UnfitEntities(f"row {found[0]}: {column!r} is {str(found[1])[:60]!r}, which {fault}")


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))
