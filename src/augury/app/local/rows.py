"""Rows from a file: JSON lines, CSV, TSV, or a text a line.

Reads one record at a time, of bounded length, and never gives up on a bad one: it becomes a row with
an error and a line number, and the next is read.  Knows nothing of models but which cells are text.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import msgspec

from augury.core.errors import (
    AuguryError,
    InvalidInput,
    MalformedBody,
    MissingInput,
    OperatorError,
    TooLarge,
    WrongType,
)

Format = Literal["jsonl", "csv", "tsv", "txt"]

_ENDINGS: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".tab": "tsv",
    ".tsv": "tsv",
    ".txt": "txt",
}
_BOM: Final = b"\xef\xbb\xbf"

# A column's name in the header (or of the JSON object's member), or its number, counted from 1.
Column = str | int


class WrongColumns(OperatorError):
    """The columns that were asked for are not those of the file or the model; told before any row."""

    code, title = "wrong_columns", "Wrong columns"


@dataclass(frozen=True, slots=True)
class Row:
    """A record of the file.

    Args:
        line: Where it begins, counted from 1.
        nbytes: Its length in the file.
        inputs: Input to value, as the native API's rows have it.
        label: The content of the label's column; empty when none is read.
        error: Why it is no row; then *inputs* is empty.
    """

    line: int
    nbytes: int
    inputs: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    error: AuguryError | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where in a record the inputs stand.

    There is a header when any column is called by name.

    Args:
        inputs: Input to its column; empty to take JSON objects as they are.
        texts: Those inputs whose cells are text; cells of the others are JSON.
        label: The label's column, if it is to be read.
    """

    inputs: Mapping[str, Column]
    texts: frozenset[str] = frozenset()
    label: Column | None = None

    def columns(self) -> list[Column]:
        """All columns that are read."""
        return [*self.inputs.values(), *([] if self.label is None else [self.label])]


def format_of(path: Path) -> Format | None:
    """The format that a file's ending tells, or ``None``.

    >>> format_of(Path("tweets.TSV"))
    'tsv'
    """
    return _ENDINGS.get(path.suffix.lower())


def read_rows(
    file: BinaryIO, format: Format, layout: Layout, *, max_line_bytes: int
) -> Iterator[Row]:
    """The rows of *file*; blank lines are skipped, but in ``txt``, where each line is a row.

    TSV has no quotes (as IANA's ``text/tab-separated-values``): a quotation mark is part of its text.

    Raises:
        WrongColumns: The header, or a JSON line's kind of columns, lacks one of the layout's.
        OSError: The file cannot be read.
    """
    lines = _Lines(file, max_line_bytes)
    if format == "csv":
        # A quote that is never closed would take the rest of the file for one cell.
        csv.field_size_limit(max_line_bytes)
        return _read_table(lines, csv.reader(_Texts(lines), strict=True), layout)
    if format == "tsv":
        return _read_table(lines, _TabRecords(lines), layout)
    if format == "jsonl":
        for column in layout.columns():
            if isinstance(column, int):
                raise WrongColumns(f"column {column}: JSON lines have names, not numbers")
        return _read_lines(lines, lambda line: _parse_object(line, layout))
    return _read_lines(lines, lambda line: _parse_text(line, layout))


class _Lines:
    """Lines of at most *max_bytes* bytes with their ends; goes on after one that is longer."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self.number = 0
        self.nbytes = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> bytes:
        line = self._file.readline(self._max_bytes + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.nbytes += len(line)
        if len(line) > self._max_bytes:
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = self._file.readline(1 << 16)
                self.nbytes += len(rest)
            raise TooLarge(
                f"the line has more than {self._max_bytes} bytes, the limit (max_body_bytes)",
                limit=self._max_bytes,
            )
        return line.removeprefix(_BOM) if self.number == 1 else line


class _Texts:
    """Lines as text; bytes that are none travel as surrogates, so that only their row fails."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def __iter__(self) -> _Texts:
        return self

    def __next__(self) -> str:
        return next(self._lines).decode(errors="surrogateescape")


class _TabRecords:
    """Lines cut at tabs."""

    def __init__(self, lines: _Lines) -> None:
        self._texts = _Texts(lines)

    def __iter__(self) -> _TabRecords:
        return self

    def __next__(self) -> list[str]:
        text = next(self._texts).rstrip("\r\n")
        return text.split("\t") if text else []


def _read_lines(
    lines: _Lines, parse: Callable[[bytes], tuple[Mapping[str, Any], str] | None]
) -> Iterator[Row]:
    while True:
        before = lines.nbytes
        try:
            parsed = parse(next(lines))
        except StopIteration:
            return
        except AuguryError as error:
            yield Row(lines.number, lines.nbytes - before, error=error)
        else:
            if parsed is not None:
                yield Row(lines.number, lines.nbytes - before, *parsed)


def _read_table(lines: _Lines, records: Iterator[list[str]], layout: Layout) -> Iterator[Row]:
    places: dict[Column, int] | None = None
    if all(isinstance(column, int) for column in layout.columns()):
        places = {column: int(column) - 1 for column in layout.columns()}
    while True:
        before, first = lines.nbytes, lines.number + 1
        try:
            record = next(records)
            if not record:
                continue
            if places is None:
                places = _find_columns(record, layout)
                continue
            inputs = {
                name: _cell(record, places, column, as_text=name in layout.texts)
                for name, column in layout.inputs.items()
            }
            label = ""
            if layout.label is not None:
                label = _cell(record, places, layout.label, as_text=True).strip()
        except StopIteration:
            return
        except csv.Error as error:
            fault = MalformedBody(f"not valid CSV: {error}")
            yield Row(first, lines.nbytes - before, error=fault)
        except AuguryError as error:
            if isinstance(error, WrongColumns):
                raise
            yield Row(first, lines.nbytes - before, error=error)
        else:
            yield Row(first, lines.nbytes - before, inputs, label)


def _find_columns(header: list[str], layout: Layout) -> dict[Column, int]:
    names = [name.strip() for name in header]
    places: dict[Column, int] = {}
    for column in layout.columns():
        if isinstance(column, int):
            places[column] = column - 1
        elif column in names:
            places[column] = names.index(column)
        else:
            there = ", ".join(name[:40] for name in names[:20])
            raise WrongColumns(
                f"no column {column!r} in the first line ({there}); give a column's name, or its "
                "number (from 1) when the file has no header"
            )
    return places


def _cell(record: list[str], places: dict[Column, int], column: Column, *, as_text: bool) -> Any:
    place = places[column]
    if place >= len(record):
        raise MissingInput(f"no column {column!r}: the line has {len(record)} columns")
    cell = record[place]
    try:
        cell.encode()
    except UnicodeEncodeError:
        raise _not_utf8(cell.encode(errors="surrogateescape")) from None
    if as_text:
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise WrongType(
            f"column {column!r} is not JSON, as the cells of inputs other than text are"
        ) from None


def _parse_object(line: bytes, layout: Layout) -> tuple[Mapping[str, Any], str] | None:
    if not line.strip():
        return None
    _check_utf8(line)
    try:
        value = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise MalformedBody(
            f"not valid JSON: {error}; --format says what else the file is (csv, tsv, txt)"
        ) from None
    except RecursionError:
        raise MalformedBody("not acceptable JSON: nested too deeply") from None
    if not isinstance(value, dict):
        raise WrongType('not a JSON object; a line is one row, like {"<input>": <value>}')
    label = ""
    if layout.label is not None:
        found = value.pop(layout.label, None)
        if not isinstance(found, str):
            raise MissingInput(f"no text {layout.label!r} in the object")
        label = found.strip()
    if not layout.inputs:
        return value, label
    for column in layout.inputs.values():
        if column not in value:
            raise MissingInput(f"no member {column!r} in the object")
    return {name: value[column] for name, column in layout.inputs.items()}, label


def _parse_text(line: bytes, layout: Layout) -> tuple[Mapping[str, Any], str]:
    text = line.rstrip(b"\r\n")
    _check_utf8(text)
    return {name: text.decode() for name in layout.inputs}, ""


def _check_utf8(line: bytes) -> None:
    try:
        line.decode()
    except UnicodeDecodeError:
        raise _not_utf8(line) from None


def _not_utf8(line: bytes) -> InvalidInput:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return MalformedBody(
            f"not UTF-8: {error.reason} at byte {error.start + 1} of the cell or line; "
            "save the file as UTF-8"
        )
    return MalformedBody("holds a lone surrogate, which is no text")
