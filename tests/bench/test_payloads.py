"""Rows of files, and rows made up."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augury.bench.dialects.base import Input, Model
from augury.bench.lines import lines_of
from augury.bench.payloads import encode_expected, groups, make_rows, read_rows
from augury.core.errors import OperatorError

MODEL = Model("m", (Input("text", "BYTES"),), examples=({"text": "Good night"},))


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text", "column", "texts"),
    [
        ("a.txt", "one\n\ntwo\r\n", None, ["one", "two"]),
        ("a.tsv", "id\ttext\n1\tone\n2\ttwo\n", None, ["one", "two"]),
        ("a.tsv", "1\tx\tone\n2\ty\ttwo\n", None, ["one", "two"]),
        ("a.tsv", "1\tone\tx\n2\ttwo\ty\n", "2", ["one", "two"]),
        ("a.csv", 'body,n\n"one, ""1""",1\ntwo,2\n', "body", ['one, "1"', "two"]),
        ("a.jsonl", '{"text": "one"}\n"two"\n', None, ["one", "two"]),
        ("a.jsonl", '{"t": "one"}\n{"t": "two"}\n', "t", ["one", "two"]),
        ("a.json", '"one"\n"two"\n', None, ["one", "two"]),
        ("a.txt", "\ufeffone\ntwo", None, ["one", "two"]),
        ("a.csv", "\ufefftext,n\none,1\ntwo,2\n", "text", ["one", "two"]),
    ],
)
def test_files(tmp_path: Path, name: str, text: str, column: str | None, texts: list[str]) -> None:
    """The ending tells the format; each text goes into the model's input."""
    rows = read_rows(_write(tmp_path, name, text), MODEL, column)
    assert rows == [{"text": one} for one in texts]


def test_raw_lines(tmp_path: Path) -> None:
    """In the dialect raw a line is a body, whatever the ending."""
    path = _write(tmp_path, "a.jsonl", '{"a": 1}\n{"a": 2}\n')
    assert read_rows(path, Model(""), raw=True) == [{"raw": '{"a": 1}'}, {"raw": '{"a": 2}'}]


@pytest.mark.parametrize(
    ("name", "text", "column", "told"),
    [
        ("a.txt", "\n", None, "holds no row"),
        ("a.csv", "", None, "holds no row"),
        ("a.csv", "a,b\n1,2\n", "c", "no column 'c'; its header: a, b"),
        ("a.tsv", "a\tb\n", "3", "has 2 columns, not 3"),
        ("a.tsv", "a\tb\nc\n", "2", "a.tsv:2: 1 columns"),
        ("a.jsonl", '"x"\n{\n', None, "a.jsonl:2: no JSON"),
        ("a.jsonl", '{"a": 1}\n', "b", "no member 'b'"),
        ("a.jsonl", "[" * 100_000, None, "a.jsonl:1: no JSON"),
        ("a.dat", "one\n", None, "a.dat' does not tell what it holds; say so with --format jsonl"),
        ("a.txt", "one\n", "2", "a text file has no columns"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, text: str, column: str | None, told: str) -> None:
    """File, line and what is there are named."""
    with pytest.raises(OperatorError, match=told):
        read_rows(_write(tmp_path, name, text), MODEL, column)


def test_a_format_goes_before_the_ending(tmp_path: Path) -> None:
    """Whatever the file is called."""
    path = _write(tmp_path, "a.dat", "a\tone\nb\ttwo\n")
    assert read_rows(path, MODEL, format="tsv") == [{"text": "one"}, {"text": "two"}]


def test_lines_are_bounded() -> None:
    """While they are read: one that is too long, and all together."""
    with pytest.raises(OperatorError, match=r"t:2: a line of over 4 bytes"):
        list(lines_of(io.BytesIO(b"one\ntwelve\n"), "t", max_line_bytes=4))
    with pytest.raises(OperatorError, match=r"t has more than 9 bytes"):
        list(lines_of(io.BytesIO(b"one\ntwo\nsix\n"), "t", max_bytes=9))


def test_no_file(tmp_path: Path) -> None:
    """It is named; so is one that is no text."""
    with pytest.raises(OperatorError, match=r"cannot read .*none\.txt"):
        read_rows(tmp_path / "none.txt", MODEL)
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(OperatorError, match="is not UTF-8"):
        read_rows(tmp_path / "b.txt", MODEL)


@pytest.mark.parametrize(
    "spec",
    [
        Input("x", "FP32", (4,)),
        Input("x", "FP16", (-1, 3)),
        Input("x", "INT8", (2, 2)),
        Input("x", "BYTES"),
        Input("x", "UINT64", (2,)),
    ],
)
def test_made_up_rows_all_differ(spec: Input) -> None:
    """A thousand rows of the model's type and shape, no two alike."""
    rows = make_rows(Model("m", (spec,)), 1000, np.random.default_rng(1))
    assert len({json.dumps(row) for row in rows}) == 1000
    value: Any = rows[0]["x"]
    if spec.shape:
        assert np.array(value).shape == tuple(max(size, 1) for size in spec.shape)


def test_made_up_texts_are_like_the_example() -> None:
    """The example with a number."""
    rows = make_rows(MODEL, 2, np.random.default_rng(1))
    assert rows == [{"text": "Good night 0"}, {"text": "Good night 1"}]
    with pytest.raises(OperatorError, match="--input FILE"):
        make_rows(Model("m"), 1, np.random.default_rng(1))


def test_expected_answers_are_grouped_as_the_rows() -> None:
    """A request of several rows expects the answers of just those."""
    rows = [{"n": n} for n in range(5)]
    expected = [json.loads(one) for one in encode_expected([{"y": n} for n in range(5)], 2)]
    asked = list(groups(rows, 2))
    assert [[row["y"] for row in group] for group in expected] == [
        [row["n"] for row in group] for group in asked
    ]
