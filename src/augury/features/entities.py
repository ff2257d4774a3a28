"""The rows to which features are joined: from Parquet, CSV, TSV, JSON lines, or Arrow, into DuckDB.

Columns that are keys or times are read as they are written, never guessed at: ``007`` stays ``007``.
All SQL here and in ``asof`` is made of quoted names and of constants of ours; whatever else comes from
outside travels as a parameter or as data.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from augury.core.errors import OperatorError
from augury.features.values import FeatureSpec

if TYPE_CHECKING:
    import duckdb

ENTITIES: Final = "augury_entities"
# Columns of ours, which no input may have.
OWN_PREFIX: Final = "__augury_"

_MEMORY: Final = "1GB"
_INTEGERS: Final = frozenset(
    (
        *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
        *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
    )
)
_SQL_TYPES: Final = {
    "BOOL": "BOOLEAN",
    "UINT8": "UTINYINT",
    "UINT16": "USMALLINT",
    "UINT32": "UINTEGER",
    "UINT64": "UBIGINT",
    "INT8": "TINYINT",
    "INT16": "SMALLINT",
    "INT32": "INTEGER",
    "INT64": "BIGINT",
    "FP16": "FLOAT",
    "FP32": "FLOAT",
    "FP64": "DOUBLE",
    "BYTES": "BLOB",
}

# As in ``times``; \d and friends of RE2 are ASCII.
_TIME: Final = r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}([.,]\d{1,12})?)?"
_OFFSET: Final = r"\s*([Zz]|[+-]\d{2}(:?\d{2})?)"


class UnfitEntities(OperatorError):
    """The rows to be joined lack a column, or hold what is no key or time."""

    code, title = "unfit_entities", "Rows cannot be joined"


def quoted(name: str) -> str:
    """*name* as an identifier of SQL, whatever is in it.

    >>> quoted('a"; DROP TABLE b')
    '"a""; DROP TABLE b"'
    """
    if "\0" in name:
        raise UnfitEntities("a column's name cannot hold a NUL character")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """*text* as a string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def sql_type(spec: FeatureSpec) -> str:
    """DuckDB's type for the values of a feature."""
    return _SQL_TYPES[spec.datatype] + "[]" * len(spec.shape)


def connect(spill: Path, *, memory: str = _MEMORY) -> duckdb.DuckDBPyConnection:
    """A database in memory that spills to the folder *spill* and loads nothing from the network."""
    import duckdb

    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory,
            "temp_directory": str(spill),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    # Times that are copied to a text file are told in UTC, wherever the machine stands.
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def load_entities(
    connection: duckdb.DuckDBPyConnection, source: Path | Any, needed: Mapping[str, bool]
) -> dict[str, str]:
    """Make *source* the view :data:`ENTITIES`.

    Args:
        connection: The database.
        source: A ``.parquet``, ``.csv``, ``.tsv`` or ``.jsonl`` file, or an Arrow table.
        needed: Columns that it must have, and whether they are read as text where the format knows no
            types.

    Returns:
        Column to DuckDB's type, in order.

    Raises:
        UnfitEntities: It cannot be read, or lacks a needed column.
    """
    import duckdb

    try:
        if isinstance(source, Path):
            exact = [name for name, as_text in needed.items() if as_text]
            relation = _read(connection, source, exact)
        else:
            relation = connection.from_arrow(source)
        columns = dict(zip(relation.columns, map(str, relation.types), strict=True))
        _check_columns(columns, list(needed), source)
        if isinstance(source, Path):
            relation.create_view(ENTITIES)
        else:
            connection.register(ENTITIES, source)
    except duckdb.Error as error:
        raise UnfitEntities(f"{_told(source)}: {_first_line(error)}") from None
    return columns


def key_sql(column: str, type_: str, datatype: str) -> str:
    """The expression that makes the key of *datatype* of a column; NULL where the cell is none.

    Raises:
        UnfitEntities: No such key can be made of a column of this type.
    """
    name = f"e.{quoted(column)}"
    if datatype == "BYTES":
        if type_ == "BLOB":
            return name
        if type_ == "VARCHAR":
            return f"encode({name})"
    else:
        wanted = _SQL_TYPES[datatype]
        if type_ in _INTEGERS:
            return f"TRY_CAST({name} AS {wanted})"
        if type_ == "VARCHAR":
            return (
                f"CASE WHEN regexp_full_match(trim({name}), '[+-]?[0-9]{{1,20}}') "
                f"THEN TRY_CAST(trim({name}) AS {wanted}) END"
            )
    raise UnfitEntities(
        f"column {column!r} is {type_}, the table's key is {datatype}; write it as "
        f"{'text' if datatype == 'BYTES' else 'integers or text'}"
    )


def bad_key_sql(column: str, type_: str, datatype: str) -> str | None:
    """A condition for cells that are no key though something is written there; ``None``: never."""
    if type_ != "VARCHAR" or datatype == "BYTES":
        return None
    name = f"e.{quoted(column)}"
    return f"trim({name}) <> '' AND NOT regexp_full_match(trim({name}), '[+-]?[0-9]{{1,20}}')"


def time_sql(column: str, type_: str, *, assume_utc: bool) -> tuple[str, str]:
    """Microseconds since 1970 of a column, rounded down, and a condition for cells that are no time.

    Rounding down is on the safe side here: nothing that happened later is seen.

    Raises:
        UnfitEntities: A column of this type tells no moment.
    """
    name = f"e.{quoted(column)}"
    empty = f"{name} IS NULL"
    if type_ == "VARCHAR":
        pattern = _TIME + (f"({_OFFSET})?" if assume_utc else _OFFSET)
        # Finer digits are cut before the cast, which would round them.
        cut = f"regexp_replace(replace(trim({name}), ',', '.'), '([.]\\d{{6}})\\d+', '\\1')"
        zoned = f"regexp_matches(trim({name}), '{_OFFSET}$')"
        cast = f"TRY_CAST(CASE WHEN {zoned} THEN {cut} ELSE {cut} || 'Z' END AS TIMESTAMPTZ)"
        micros = f"CASE WHEN regexp_full_match(trim({name}), '{pattern}') THEN epoch_us({cast}) END"
        return micros, f"trim({name}) <> '' AND ({micros}) IS NULL"
    zoned_types = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ", "TIMESTAMPTZ_NS")
    naive_types = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE")
    if type_ in naive_types and not assume_utc:
        raise UnfitEntities(
            f"column {column!r} is {type_}, times without an offset; say that they are UTC (--utc), "
            "or write the offset"
        )
    if type_ not in (*zoned_types, *naive_types):
        raise UnfitEntities(
            f"column {column!r} is {type_}, no time; write it as 2026-02-01T09:30:00Z or as a timestamp"
        )
    finite = f"isfinite({name})"
    if type_.endswith("_NS"):
        # It has no isfinite of its own; the zone of the session does not matter to it.
        finite = f"isfinite(CAST({name} AS {type_.removesuffix('_NS')}))"
        nanos = f"epoch_ns({name})"
        micros = f"({nanos} - ((({nanos} % 1000) + 1000) % 1000)) // 1000"
    else:
        kind = "TIMESTAMP" if type_ == "DATE" else None
        micros = f"epoch_us(CAST({name} AS {kind}))" if kind else f"epoch_us({name})"
    return f"CASE WHEN {finite} THEN {micros} END", f"NOT ({empty}) AND NOT {finite}"


def _read(
    connection: duckdb.DuckDBPyConnection, file: Path, exact: list[str]
) -> duckdb.DuckDBPyRelation:
    if not file.is_file():
        raise UnfitEntities(f"no file {str(file)!r}")
    # DuckDB would take these characters for a pattern.
    path = glob.escape(str(file))
    ending = file.suffix.lower()
    if ending == ".parquet":
        return connection.read_parquet(path)
    if ending in (".csv", ".tsv"):
        separator = "," if ending == ".csv" else "\t"
        first = connection.read_csv(path, header=True, sep=separator, all_varchar=True)
        texts = {name: "VARCHAR" for name in first.columns if name in exact}
        return connection.read_csv(path, header=True, sep=separator, dtype=texts)
    if ending in (".jsonl", ".ndjson"):
        guessed = connection.read_json(path, format="newline_delimited")
        types = dict(zip(guessed.columns, map(str, guessed.types), strict=True))
        for name in exact:
            # What was guessed to be a date or a UUID is text; what is a number stays one.
            if name in types and types[name] not in _INTEGERS and types[name] != "DOUBLE":
                types[name] = "VARCHAR"
        return connection.read_json(path, format="newline_delimited", columns=types)
    raise UnfitEntities(f"{file}: the ending tells the format: .parquet, .csv, .tsv or .jsonl")


def _check_columns(columns: Mapping[str, str], wanted: list[str], source: Any) -> None:
    for name in wanted:
        if name not in columns:
            there = ", ".join(one[:40] for one in list(columns)[:20])
            raise UnfitEntities(f"{_told(source)}: no column {name!r}; here are: {there}")
    for name in columns:
        if name.lower().startswith(OWN_PREFIX):
            raise UnfitEntities(f"{_told(source)}: column {name!r} is ours to use; rename it")


def _told(source: Any) -> str:
    return str(source) if isinstance(source, Path) else "the table of entities"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
