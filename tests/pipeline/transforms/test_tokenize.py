"""Tests of ``augury.pipeline.transforms.tokenize``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from augury.batching.merge import merge_columns
from augury.core.errors import Internal, InvalidInput, InvalidPackage, Refused
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import Ragged, bytes_column
from augury.pipeline.transforms.base import Batch, TransformContext
from augury.pipeline.transforms.tokenize import Tokenize
from tests.models import write_tokenizer

ALL = ("input_ids", "attention_mask", "token_type_ids")


def native(*names: str) -> Signature:
    return Signature(tuple(TensorSpec(name, "INT64", (-1,)) for name in names), ())


def make(path: Path, *names: str, **options: Any) -> Tokenize:
    write_tokenizer(path)
    context = TransformContext(path, native(*(names or ALL)))
    return Tokenize(Tokenize.Options(**options), context)


def batch(*texts: bytes) -> Batch:
    return Batch({"text": bytes_column(texts)}, len(texts))


def ids(one: Batch) -> list[list[int]]:
    column = one.column("input_ids")
    assert isinstance(column, Ragged)
    return [row.tolist() for row in column.rows]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (b"one", [2, 4, 3]),
        (b"one two", [2, 4, 5, 3]),
        (b"four", [2, 1, 3]),
        (b"", [2, 3]),
        (b" \n", [2, 3]),
        (b"one\0two", [2, 4, 1, 5, 3]),
        ("😊 one".encode(), [2, 1, 4, 3]),
    ],
)
def test_texts_become_ids(tmp_path: Path, text: bytes, want: list[int]) -> None:
    """With the tokens that the tokenizer adds; alone or among others."""
    tokenize = make(tmp_path)
    alone, among = batch(text), batch(text, b"one two three", text)
    tokenize(alone)
    tokenize(among)
    assert ids(alone) == [want]
    assert ids(among) == [want, [2, 4, 5, 6, 3], want]
    assert "text" not in alone.columns


def test_batched_rows_are_padded_and_masked(tmp_path: Path) -> None:
    """Ids with the tokenizer's pad, mask and types with zero, all INT64."""
    tokenize = make(tmp_path, pad_token="three")
    one = batch(b"one", b"one two")
    tokenize(one)
    merged = merge_columns([one.columns])
    assert merged["input_ids"].tolist() == [[2, 4, 3, 6], [2, 4, 5, 3]]
    assert merged["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert merged["token_type_ids"].tolist() == [[0] * 4] * 2
    assert {str(array.dtype) for array in merged.values()} == {"int64"}


def test_only_what_the_model_wants_is_written(tmp_path: Path) -> None:
    """A model without types gets none."""
    tokenize = make(tmp_path, "input_ids")
    one = batch(b"one")
    tokenize(one)
    assert list(one.columns) == ["input_ids"]


def test_long_texts_are_cut(tmp_path: Path) -> None:
    """To ``max_tokens``, added tokens included."""
    tokenize = make(tmp_path, max_tokens=4)
    one = batch(b"one two three one", b"one two")
    tokenize(one)
    assert ids(one) == [[2, 4, 5, 3], [2, 4, 5, 3]]


def test_what_is_no_text_is_refused_by_row(tmp_path: Path) -> None:
    """Its neighbours are tokenised, and stand where they stood."""
    tokenize = make(tmp_path)
    one = batch(b"one", b"\xff", b"two", b"ab\xc3")
    tokenize(one)
    assert {row: type(error) for row, error in one.errors.items()} == {
        1: InvalidInput, 3: InvalidInput
    }  # fmt: skip
    assert "invalid start byte at byte 0" in one.errors[1].message
    assert ids(one)[0] == [2, 4, 3]
    assert ids(one)[2] == [2, 5, 3]
    assert len(ids(one)) == 4


@pytest.mark.parametrize("rows", [1, 3])
def test_all_rows_refused(tmp_path: Path, rows: int) -> None:
    """Before this step or by it: nothing is left to tokenise, and nothing fails."""
    tokenize = make(tmp_path)
    by_it, before = batch(*[b"\xff"] * rows), batch(*[b"one"] * rows)
    for row in range(rows):
        before.refuse(row, Refused("no"))
    for one in (by_it, before):
        tokenize(one)
        assert len(one.errors) == rows
        assert len(one.column("input_ids")) == rows
        assert list(one.live_rows()) == []


def test_the_column_may_have_another_name(tmp_path: Path) -> None:
    """And a wrong one is our own fault, told with those there are."""
    one = Batch({"tweet": bytes_column([b"one"])}, 1)
    with pytest.raises(Internal, match="no column 'text' before this transform; here are: tweet"):
        make(tmp_path)(one)
    make(tmp_path, input="tweet")(one)
    assert ids(one) == [[2, 4, 3]]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff"])
def test_a_broken_tokenizer_file_is_told(tmp_path: Path, content: bytes | None) -> None:
    """With its path, at load time."""
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(InvalidPackage, match="not a tokenizer file") as raised:
        Tokenize(Tokenize.Options(), TransformContext(tmp_path, native(*ALL)))
    assert raised.value.details["path"] == str(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("name", ["../tokenizer.json", "/etc/passwd", "a/../../tokenizer.json"])
def test_the_tokenizer_lies_in_the_package(tmp_path: Path, name: str) -> None:
    """A manifest cannot make the server read elsewhere."""
    with pytest.raises(InvalidPackage, match="lies outside the package"):
        make(tmp_path, tokenizer=name)


def test_a_link_out_of_the_package_is_refused(tmp_path: Path) -> None:
    """The path is looked at as it really is."""
    inside = tmp_path / "1"
    inside.mkdir()
    (inside / "tokenizer.json").symlink_to(write_tokenizer(tmp_path))
    with pytest.raises(InvalidPackage, match="lies outside the package"):
        Tokenize(Tokenize.Options(), TransformContext(inside, native(*ALL)))


@pytest.mark.parametrize("options", [{"max_tokens": 1}, {"max_token": 9}, {"max_tokens": 65537}])
def test_impossible_options(options: dict[str, Any]) -> None:
    """Misspelt ones too."""
    with pytest.raises(ValidationError):
        Tokenize.Options(**options)
