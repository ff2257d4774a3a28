"""Tweets from CSV and TSV, whose columns a person names or the header does."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from augury.app.local.layout import parse_column
from augury.app.local.rows import Column, Layout, WrongColumns, read_rows
from augury.services.tweets.sources.archive_entries import Account, NotATweetError, tweets_of
from augury.services.tweets.sources.archive_files import (
    MAX_LINE_BYTES,
    ArchiveFault,
    Entry,
    Placed,
)

# What a header may call each of them, as in JSONL; the first that is there.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("id", "id_str", "tweet_id"),
    "text": ("text", "full_text", "content"),
    "author_id": ("author_id", "user_id"),
    "username": ("username", "author_username", "screen_name"),
    "author_name": ("author_name", "name"),
    "created_at": ("created_at", "date"),
    "lang": ("lang",),
}
# A shorter number is a year, or a date without its dashes; this many seconds were over in 1973.
_MIN_EPOCH_DIGITS: Final = 9

TableFormat = Literal["csv", "tsv"]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a person named; ``None`` leaves it to the header.

    Args:
        id: Of the tweet's id.
        text: Of its text.
        author: Of its author, by id or name.
        time: Of when it was written.
    """

    id: str | None = None
    text: str | None = None
    author: str | None = None
    time: str | None = None

    @property
    def given(self) -> bool:
        """Whether any is."""
        return any((self.id, self.text, self.author, self.time))


def table_layout(path: Path, format: TableFormat, columns: Columns) -> Layout:
    """Where in the records of *path* a tweet's parts stand.

    Raises:
        WrongColumns: Neither the person nor the header tells where id and text are.
        OSError: The file cannot be read.
    """
    given = {
        "id": columns.id,
        "text": columns.text,
        "author": columns.author,
        "created_at": columns.time,
    }
    inputs: dict[str, Column] = {
        name: parse_column(column) for name, column in given.items() if column is not None
    }
    # Numbers alone: the file has no header.
    if not inputs or any(isinstance(column, str) for column in inputs.values()):
        header = _header(path, format)
        for name, known in _NAMES.items():
            found = next((column for column in known if column in header), None)
            taken = name in inputs or (name in ("author_id", "username") and "author" in inputs)
            if found is not None and not taken:
                inputs[name] = found
    for name in ("id", "text"):
        if name not in inputs:
            raise WrongColumns(
                f"no column of the tweets' {name}: the first line names none of "
                f"{', '.join(_NAMES[name])}; name it with --{name}-column (a number from 1 when "
                "the file has no header)"
            )
    return Layout(inputs, texts=frozenset(inputs))


def read_table(path: Path, format: TableFormat, layout: Layout) -> Iterator[Entry]:
    """The tweets of *path*, in its order; a record that is none becomes a fault.

    Raises:
        WrongColumns: The header lacks one of the layout's.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        for row in read_rows(file, format, layout, max_line_bytes=MAX_LINE_BYTES):
            if row.error is not None:
                yield ArchiveFault(path.name, row.line, row.error.message)
                continue
            try:
                for tweet in tweets_of(_entry(row.inputs), Account()):
                    yield Placed(path.name, row.line, tweet)
            except NotATweetError as fault:
                yield ArchiveFault(path.name, row.line, str(fault))


def _entry(cells: Mapping[str, Any]) -> dict[str, Any]:
    """A record as the object that a line of JSONL would be."""
    entry = dict(cells)
    author = str(entry.pop("author", "")).strip()
    if author:
        entry["author_id" if author.isascii() and author.isdigit() else "username"] = author
    for name in ("id", "author_id", "created_at"):
        if name in entry:
            entry[name] = str(entry[name]).strip()
    time = entry.get("created_at", "")
    if time.isascii() and time.isdigit() and len(time) >= _MIN_EPOCH_DIGITS:
        entry["created_at"] = int(time)
    return entry


def _header(path: Path, format: TableFormat) -> list[str]:
    """The first line's cells; none of a file whose first line is no header."""
    with path.open("rb") as file:
        line = file.readline(MAX_LINE_BYTES).removeprefix(b"\xef\xbb\xbf").decode(errors="replace")
    if format == "tsv":
        return [cell.strip() for cell in line.rstrip("\r\n").split("\t")]
    try:
        records = list(islice(csv.reader([line]), 1))
    except csv.Error:
        return []
    return [cell.strip() for cell in records[0]] if records else []
