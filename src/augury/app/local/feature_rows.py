"""Rows of feature tables from CSV, TSV, JSON lines and Parquet.

Reads one record, or one page of Parquet, at a time; what a record lacks to be a row is told with its
line, and the next is read.  An empty cell of CSV and TSV is a missing value.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from augury.app.local.rows import Format, Layout, WrongColumns, format_of, read_rows
from augury.features.tables import EVENT_TIME, FeatureTable

MAX_HEADER_BYTES: Final = 1024 * 1024
PAGE_ROWS: Final = 2_000

Records = Iterator[tuple[int, Mapping[str, Any] | str]]


def read_feature_rows(file: Path, table: FeatureTable, *, max_line_bytes: int) -> Records:
    """The rows of *file*: their line (in Parquet: number), and the row or why it is none.

    Raises:
        WrongColumns: The file has a column that the table lacks, or lacks one that every row needs.
        InvalidSetting: Parquet, and PyArrow is not installed.
        OSError: The file cannot be read.
    """
    if file.suffix.lower() == ".parquet":
        return _read_parquet(file, table)
    kind = format_of(file)
    if kind is None or kind == "txt":
        raise WrongColumns(f"{file}: the ending tells the format: .csv, .tsv, .jsonl or .parquet")
    return _read_text(file, table, kind, max_line_bytes)


def count_rows(file: Path) -> int | None:
    """How many rows a Parquet file has; ``None`` for files that do not tell."""
    if file.suffix.lower() != ".parquet":
        return None
    try:
        import pyarrow.parquet as pq

        return int(pq.read_metadata(file).num_rows)
    except (ImportError, ValueError, OSError):  # what is wrong is told by whoever reads it
        return None


def _read_text(file: Path, table: FeatureTable, format: Format, max_line_bytes: int) -> Records:
    layout = Layout({})
    converters: dict[str, Callable[[str], Any]] = {}
    if format != "jsonl":
        names = _header(file, format)
        _check_columns(names, table, file)
        layout = Layout({name: name for name in names}, frozenset(names))
        converters = {name: _converter(table, name) for name in names}
    with file.open("rb") as data:
        for row in read_rows(data, format, layout, max_line_bytes=max_line_bytes):
            if row.error is not None:
                yield row.line, row.error.message
            elif not converters:
                yield row.line, row.inputs
            else:
                try:
                    yield (
                        row.line,
                        {
                            name: converters[name](cell) if cell else None
                            for name, cell in row.inputs.items()
                        },
                    )
                except _NoJsonError as error:
                    yield row.line, str(error)


def _read_parquet(file: Path, table: FeatureTable) -> Records:
    from augury.features.history import require_batch

    require_batch()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            _check_columns(parquet.schema_arrow.names, table, file)
            number = 0
            for batch in parquet.iter_batches(batch_size=PAGE_ROWS):
                for record in _in_microseconds(pa.Table.from_batches([batch]), pa).to_pylist():
                    number += 1
                    yield number, record
    except pa.ArrowInvalid as error:
        raise WrongColumns(f"{file}: {str(error).splitlines()[0][:300]}") from None


def _in_microseconds(page: Any, pa: Any) -> Any:
    """Times in nanoseconds as Python can have them; refused where that would round."""
    for position, kind in enumerate(page.schema):
        if pa.types.is_timestamp(kind.type) and kind.type.unit == "ns":
            wanted = pa.timestamp("us", tz=kind.type.tz)
            page = page.set_column(position, kind.name, page.column(position).cast(wanted))
    return page


def _header(file: Path, format: Format) -> list[str]:
    with file.open("rb") as data:
        line = data.readline(MAX_HEADER_BYTES)
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise WrongColumns(f"{file}: the first line is not UTF-8") from None
    names = text.split("\t") if format == "tsv" else next(csv.reader([text]), [])
    return [name.strip() for name in names]


def _check_columns(names: list[str], table: FeatureTable, file: Path) -> None:
    wanted = [*table.entity, EVENT_TIME]
    for name in names:
        if name not in wanted and name not in table.features:
            known = ", ".join([*wanted, *list(table.features)[:20]])
            raise WrongColumns(
                f"{file}: {name[:80]!r} is no column of {table.name!r}; it has: {known}"
            )
        if names.count(name) > 1:
            raise WrongColumns(f"{file}: column {name!r} is there {names.count(name)} times")
    for name in wanted:
        if name not in names:
            there = ", ".join(one[:40] for one in names[:20])
            raise WrongColumns(f"{file}: no column {name!r}; here are: {there}")


class _NoJsonError(ValueError):
    """A cell is not what its feature wants."""


def _converter(table: FeatureTable, name: str) -> Callable[[str], Any]:
    spec = table.features.get(name)
    datatype = spec.datatype if spec is not None else table.entity.get(name, "BYTES")
    if datatype == "BYTES" and (spec is None or not spec.shape):
        return str

    def convert(cell: str) -> Any:
        # As pandas and spreadsheets write them.
        text = cell.lower() if cell in ("True", "False", "TRUE", "FALSE") else cell
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise _NoJsonError(f"{name!r} is {cell[:40]!r}, which is no {datatype}") from None

    return convert
