"""Tensors: the Open Inference Protocol's datatypes over numpy arrays.

A column is one input or output of several rows.  It is either dense, a numpy array whose leading
axis is the batch, or :class:`Ragged`, rows of different length that are padded only when they meet
in a batch.  BYTES columns are object arrays of ``bytes``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# BF16 has no numpy dtype; it travels as raw uint16 and is named by the signature alone.
NUMPY_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(np.uint16),
    "BYTES": np.dtype(object),
}

DATATYPES: Final[tuple[str, ...]] = tuple(NUMPY_DTYPES)

_NAMES: Final[dict[np.dtype[Any], str]] = {
    dtype: name for name, dtype in NUMPY_DTYPES.items() if name != "BF16"
}


def datatype_of(array: Array) -> str:
    """The protocol's name for the dtype of *array*.

    Raises:
        ValueError: A dtype that the protocol does not have.

    >>> datatype_of(np.zeros(2, "f4"))
    'FP32'
    """
    if array.dtype.kind in "SUO":
        return "BYTES"
    name = _NAMES.get(array.dtype.newbyteorder("="))
    if name is None:
        raise ValueError(f"dtype {array.dtype} has no name in the Open Inference Protocol")
    return name


def zero_rows(rows: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A column of *rows* rows of *shape* that mean nothing: zero, empty for BYTES.

    >>> zero_rows(2, (), np.dtype(object)).tolist()
    [b'', b'']
    """
    zeros = np.zeros((rows, *shape), dtype=dtype)
    if dtype.kind == "O":
        zeros.fill(b"")
    return zeros


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of different length along one axis.

    Args:
        rows: One 1-D array for each row, all of one dtype.
        pad: Value that fills shorter rows up when rows are batched.
    """

    rows: tuple[Array, ...]
    pad: float = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        return sum(row.nbytes for row in self.rows)


Column = Array | Ragged
Columns = dict[str, Column]


def bytes_column(values: Sequence[bytes]) -> Array:
    """A BYTES column, shape ``(len(values),)``."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def take_rows(column: Column, rows: Sequence[int] | slice) -> Column:
    """The named rows of *column*; a slice of a dense column is a view."""
    if isinstance(column, Ragged):
        kept = column.rows[rows] if isinstance(rows, slice) else tuple(column.rows[i] for i in rows)
        return Ragged(kept, column.pad)
    return column[rows] if isinstance(rows, slice) else column[list(rows)]


def text_nbytes(columns: Mapping[str, Array]) -> int:
    """Bytes of the texts alone that *columns* hold.

    >>> text_nbytes({"text": bytes_column([b"one", b"two"]), "x": np.zeros((2, 3))})
    6
    """
    return sum(
        [
            sum([len(value) for value in column.flat])
            for column in columns.values()
            if column.dtype == object
        ]
    )


def column_nbytes(column: Column) -> int:
    """Bytes that *column* holds in memory, elements of BYTES columns included."""
    if isinstance(column, Ragged):
        return column.nbytes
    if column.dtype == object:
        # 33: the overhead of a CPython bytes object.
        return int(column.nbytes + sum(len(value) + 33 for value in column.flat))
    return int(column.nbytes)
