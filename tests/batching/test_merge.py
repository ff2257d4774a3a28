"""Tests of ``augury.batching.merge``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.batching.merge import (
    gather_outputs,
    group_alike,
    merge_columns,
    padding_ratio,
    split_outputs,
)
from augury.core.errors import RuntimeFailed
from augury.core.tensor import Array, Columns, Ragged, bytes_column


def ragged(*lengths: int, pad: float = 0) -> Ragged:
    return Ragged(tuple(np.full(n, n, np.int64) for n in lengths), pad)


def test_dense_columns_are_put_under_each_other() -> None:
    """Rows in the order of the parts, BYTES too."""
    parts: list[Columns] = [
        {"x": np.array([[1.0, 2.0]], "f4"), "t": bytes_column([b"a\0"])},
        {"x": np.array([[3.0, 4.0], [5.0, 6.0]], "f4"), "t": bytes_column([b"b", b""])},
    ]
    merged = merge_columns(parts)
    assert merged["x"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert merged["x"].dtype == np.float32
    assert merged["t"].tolist() == [b"a\0", b"b", b""]


def test_a_single_part_is_not_copied() -> None:
    """The most frequent batch costs nothing."""
    x = np.zeros((2, 2))
    assert merge_columns([{"x": x}])["x"] is x


def test_ragged_rows_are_padded_to_the_longest() -> None:
    """With their own pad, and in their own dtype."""
    merged = merge_columns([{"ids": ragged(1, 3, pad=9)}, {"ids": ragged(2, pad=9)}])
    assert merged["ids"].tolist() == [[1, 9, 9], [3, 3, 3], [2, 2, 9]]
    assert merged["ids"].dtype == np.int64
    assert merge_columns([{"ids": ragged(0)}])["ids"].shape == (1, 0)


def test_dense_columns_of_other_shapes_do_not_merge() -> None:
    """They are told, and can be put into groups that do."""
    sizes = [2, 3, 2, 1, 3]
    parts: list[Columns] = [{"x": np.zeros((1, size)), "ids": ragged(size)} for size in sizes]
    with pytest.raises(ValueError, match="must match exactly"):
        merge_columns(parts)
    groups = group_alike(parts)
    assert groups == [[0, 2], [1, 4], [3]]
    assert merge_columns([parts[i] for i in groups[1]])["x"].shape == (2, 3)


@pytest.mark.parametrize(("lengths", "ratio"), [((4, 4), 0.0), ((1, 3), 1 / 3), ((0, 0), 0.0)])
def test_padding_ratio(lengths: tuple[int, ...], ratio: float) -> None:
    """The part of the padded batch that is padding."""
    parts: list[Columns] = [{"x": np.zeros((1, 9)), "ids": ragged(n)} for n in lengths]
    assert padding_ratio(parts, merge_columns(parts)) == pytest.approx(ratio)
    assert padding_ratio([{"x": np.zeros(2)}], {"x": np.zeros(2)}) == 0.0


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_what_is_split_was_merged(counts: list[int]) -> None:
    """Every piece gets its own rows back."""
    parts: list[Columns] = [{"x": np.full((rows, 2), number)} for number, rows in enumerate(counts)]
    outputs = split_outputs(merge_columns(parts), counts)
    for number, (output, rows) in enumerate(zip(outputs, counts, strict=True)):
        assert output["x"].tolist() == [[number] * 2] * rows


@pytest.mark.parametrize("counts", [[4], [1, 3]])
def test_pieces_are_read_only_views(counts: list[int]) -> None:
    """Who writes into an answer does not write into another's; the model's array stays its own."""
    whole = np.zeros((4, 2))
    for piece in split_outputs({"y": whole}, counts):
        assert np.shares_memory(piece["y"], whole)
        with pytest.raises(ValueError, match="read-only"):
            piece["y"][0] = 1
    whole[0] = 1


def part(rows: list[int], values: Any, dtype: Any = "f4") -> tuple[list[int], dict[str, Array]]:
    return rows, {"y": np.array(values, dtype)}


def test_gathered_rows_stand_where_they_belong() -> None:
    """In any order; rows that nobody answers are zero."""
    whole = gather_outputs([part([2, 0], [[1, 2], [3, 4]]), ([3], {}), part([4], [[5, 6]])], 5)
    assert whole["y"].tolist() == [[3, 4], [0, 0], [1, 2], [0, 0], [5, 6]]
    assert whole["y"].dtype == np.float32


def test_gathered_bytes() -> None:
    """A BYTES row that nobody answers is empty, not zero."""
    whole = gather_outputs([part([1], [b"a\0"], object)], 2)
    assert whole["y"].tolist() == [b"", b"a\0"]


def test_gathered_rows_of_different_size_are_filled_up() -> None:
    """Never broadcast: an axis of size 1 is one value, not many."""
    whole = gather_outputs([part([0], [[[7, 8]]]), part([1], [[[1, 2], [3, 4], [5, 6]]])], 2)
    assert whole["y"].tolist() == [[[7, 8], [0, 0], [0, 0]], [[1, 2], [3, 4], [5, 6]]]


def test_gathering_rows_of_different_rank_fails() -> None:
    """There is no array that could hold them."""
    with pytest.raises(RuntimeFailed, match="'y' has not always the same rank"):
        gather_outputs([part([0], [1]), part([1], [[1]])], 2)


def test_gathering_nothing() -> None:
    """No part answered: no outputs."""
    assert gather_outputs([], 3) == {}
    assert gather_outputs([([0], {})], 3) == {}
