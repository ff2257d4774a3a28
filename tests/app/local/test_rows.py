"""Rows from files, good and bad."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from augury.app.local.layout import layout_for, parse_column
from augury.app.local.rows import Format, Layout, Row, WrongColumns, format_of, read_rows
from augury.core.signature import Signature, TensorSpec

TEXT = Layout({"text": "text"}, frozenset({"text"}))
SECOND = Layout({"text": 2}, frozenset({"text"}))


def read(format: Format, data: bytes, layout: Layout, *, max_line_bytes: int = 1000) -> list[Row]:
    return list(read_rows(io.BytesIO(data), format, layout, max_line_bytes=max_line_bytes))


def texts(rows: list[Row]) -> list[str | None]:
    """Each row's text, ``None`` for one that failed."""
    return [None if row.error else row.inputs["text"] for row in rows]


def test_tsv_has_no_quotes() -> None:
    """A quotation mark in TSV is part of the text, so an odd one swallows nothing."""
    rows = read("tsv", b'1\t"so" he said\n2\t"never closed\n3\tend\n', SECOND)

    assert texts(rows) == ['"so" he said', '"never closed', "end"]
    assert [row.line for row in rows] == [1, 2, 3]


def test_csv_records_may_span_lines() -> None:
    """A quoted cell keeps its line breaks; the row's line is its first."""
    rows = read("csv", b'id,text\n1,"a\nb"\n\n2,c\n', TEXT)

    assert [(row.line, row.inputs["text"]) for row in rows] == [(2, "a\nb"), (5, "c")]


def test_csv_faults_are_rows() -> None:
    """Text after a closing quote, and a quote that is never closed, fail one row each."""
    rows = read("csv", b'text\n"a"b\nc\n"d\ne\n', TEXT)

    assert texts(rows) == [None, "c", None]
    assert [row.line for row in rows] == [2, 3, 4]


@pytest.mark.parametrize("format", ["csv", "tsv", "txt", "jsonl"])
def test_long_lines_are_skipped(format: Format) -> None:
    """A line over the limit is a row with an error; the next line is read as ever."""
    good = b'{"text": "good"}' if format == "jsonl" else b"good"
    layout = TEXT if format in ("txt", "jsonl") else Layout({"text": 1}, frozenset({"text"}))
    data = b"\n".join([good, b"x" * 5000, good])
    rows = read(format, data, layout, max_line_bytes=100)

    assert texts(rows) == ["good", None, "good"]
    assert [row.line for row in rows] == [1, 2, 3]
    assert sum(row.nbytes for row in rows) == len(data)


@pytest.mark.parametrize("format", ["csv", "tsv", "txt", "jsonl"])
def test_bytes_that_are_no_text(format: Format) -> None:
    """A line that is not UTF-8 fails alone, with its line number."""
    form = b'{"text": "%s"}\n' if format == "jsonl" else b"%s\n"
    layout = TEXT if format in ("txt", "jsonl") else Layout({"text": 1}, frozenset({"text"}))
    rows = read(format, form % b"a" + form % b"b\xff" + form % "é".encode(), layout)

    assert texts(rows) == ["a", None, "é"]
    assert rows[1].line == 2
    assert "UTF-8" in str(rows[1].error)


def test_byte_order_mark_is_no_text() -> None:
    """The mark that some editors write at the beginning is not part of the first column's name."""
    assert texts(read("csv", b"\xef\xbb\xbftext\r\na\r\n", TEXT)) == ["a"]


def test_each_line_of_txt_is_a_row() -> None:
    """Blank lines count in txt, so answers can be laid beside the lines; nowhere else."""
    assert texts(read("txt", b"a\r\n\n b ", TEXT)) == ["a", "", " b "]
    assert texts(read("jsonl", b'\n{"text":"a"}\n \n', TEXT)) == ["a"]


def test_cells_that_are_no_text_are_json() -> None:
    """A cell of a number input is a number or a list, written as JSON."""
    layout = Layout({"x": "x", "n": 2})
    rows = read("csv", b'x,n\n"[1, 2.5]",3\nabc,3\n', layout)

    assert rows[0].inputs == {"x": [1, 2.5], "n": 3}
    assert rows[1].error is not None


def test_labels_are_read_beside_the_inputs() -> None:
    """The label's column is found by name or number, and stripped of white space."""
    by_number = Layout({"text": 3}, frozenset({"text"}), label=2)
    by_name = Layout({"text": "t"}, frozenset({"text"}), label="l")

    assert [row.label for row in read("tsv", b"1\t good \ta\n", by_number)] == ["good"]
    assert [row.label for row in read("jsonl", b'{"t": "a", "l": "bad", "id": 1}', by_name)] == [
        "bad"
    ]


@pytest.mark.parametrize(
    "line", [b"[1]", b'"text"', b"{", b"nope", b"[" * 900, b'{"other": "a"}', b"null"]
)
def test_json_lines_that_are_no_rows(line: bytes) -> None:
    """JSON of another form, or none at all, fails one row."""
    assert texts(read("jsonl", line + b'\n{"text": "a"}\n', TEXT)) == [None, "a"]


def test_columns_that_are_not_there() -> None:
    """A header without the column is told at once, with the names that it has."""
    with pytest.raises(WrongColumns, match=r"no column 'text' in the first line \(id, tweet\)"):
        read("csv", b"id,tweet\n1,a\n", TEXT)
    with pytest.raises(WrongColumns, match="JSON lines have names"):
        read("jsonl", b"{}", SECOND)


def test_layouts_follow_the_signature() -> None:
    """Columns have the inputs' names unless the only text's column is named."""
    text = Signature((TensorSpec("text", "BYTES"),), ())
    both = Signature((TensorSpec("text", "BYTES"), TensorSpec("x", "FP32", (2,))), ())

    assert layout_for(text, "csv", "3") == Layout({"text": 3}, frozenset({"text"}))
    assert layout_for(text, "jsonl", None) == Layout({}, frozenset({"text"}))
    assert layout_for(text, "jsonl", None, "label") == Layout(
        {"text": "text"}, frozenset({"text"}), "label"
    )
    assert layout_for(both, "tsv", None) == Layout({"text": "text", "x": "x"}, frozenset({"text"}))
    with pytest.raises(WrongColumns, match="not a single text but: text, x"):
        layout_for(both, "tsv", "1")
    with pytest.raises(WrongColumns, match="not a single text but: text, x"):
        layout_for(both, "txt", None)
    with pytest.raises(WrongColumns, match="counted from 1"):
        parse_column("0")


def test_endings_tell_formats() -> None:
    """The endings that people use are known; others tell nothing."""
    assert format_of(Path("a.ndjson")) == "jsonl"
    assert format_of(Path("a.b.csv")) == "csv"
    assert format_of(Path("-")) is None
    assert format_of(Path("a.parquet")) is None
