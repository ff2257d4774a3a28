"""Tests of ``augury.core.tensor``."""

from __future__ import annotations

import numpy as np
import pytest

from augury.core.tensor import (
    DATATYPES,
    NUMPY_DTYPES,
    Ragged,
    bytes_column,
    column_nbytes,
    datatype_of,
    take_rows,
    zero_rows,
)

RAGGED = Ragged(tuple(np.arange(n) for n in (1, 2, 3, 4)), pad=7)


@pytest.mark.parametrize("name", [name for name in DATATYPES if name != "BF16"])
def test_every_datatype_tells_its_name(name: str) -> None:
    """Name to dtype to name comes back to the same."""
    assert datatype_of(np.zeros(2, NUMPY_DTYPES[name])) == name


def test_byte_order_does_not_change_the_name() -> None:
    """A big-endian array is named like its values."""
    assert datatype_of(np.zeros(2, ">f4")) == "FP32"


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]"])
def test_a_dtype_without_a_name_is_told(dtype: str) -> None:
    """What the protocol does not have is no BYTES by accident."""
    with pytest.raises(ValueError, match="has no name"):
        datatype_of(np.zeros(2, dtype))


@pytest.mark.parametrize(
    "values", [[], [b""], [b"a\0", b"\0\0", b""], [b"\xff\xfe", b"x" * 100_000]]
)
def test_bytes_columns_keep_every_byte(values: list[bytes]) -> None:
    """Neither trailing NULs nor bytes that are no text are lost."""
    column = bytes_column(values)
    assert column.dtype == object
    assert column.shape == (len(values),)
    assert column.tolist() == values


@pytest.mark.parametrize("rows", [slice(1, 3), [1, 2]])
def test_take_rows(rows: slice | list[int]) -> None:
    """Both kinds of column give the rows named, and ragged ones keep their pad."""
    dense = take_rows(np.arange(8).reshape(4, 2), rows)
    assert isinstance(dense, np.ndarray)
    assert dense.tolist() == [[2, 3], [4, 5]]
    ragged = take_rows(RAGGED, rows)
    assert isinstance(ragged, Ragged)
    assert [row.tolist() for row in ragged.rows] == [[0, 1], [0, 1, 2]]
    assert ragged.pad == 7


def test_take_no_rows() -> None:
    """No rows are a column too."""
    dense = take_rows(np.zeros((4, 2)), [])
    assert isinstance(dense, np.ndarray)
    assert dense.shape == (0, 2)
    assert len(take_rows(RAGGED, [])) == 0


def test_a_slice_is_a_view_and_a_list_is_not() -> None:
    """A run of rows costs no copy."""
    whole = np.zeros((4, 2))
    view, copy = take_rows(whole, slice(0, 2)), take_rows(whole, [0, 1])
    assert isinstance(view, np.ndarray)
    assert isinstance(copy, np.ndarray)
    assert np.shares_memory(view, whole)
    assert not np.shares_memory(copy, whole)


def test_column_nbytes_counts_the_elements() -> None:
    """BYTES columns hold more than pointers."""
    assert column_nbytes(np.zeros((3, 2), "f4")) == 24
    assert column_nbytes(bytes_column([b"x" * 1000])) >= 1000
    assert column_nbytes(RAGGED) == RAGGED.nbytes == 80


@pytest.mark.parametrize(("dtype", "want"), [("f4", 0.0), (object, b""), ("?", False)])
def test_zero_rows(dtype: str, want: object) -> None:
    """Filler is zero, and empty for BYTES."""
    zeros = zero_rows(2, (3,), np.dtype(dtype))
    assert zeros.tolist() == [[want] * 3] * 2
