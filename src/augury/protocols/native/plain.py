"""The quick way for requests as they should be: rows of a signature's own types, read straight into them.

Most requests have nothing wrong with them.  For those, a decoder made for the signature checks types
while it parses, and arrays are made from its lists.  Whatever does not fit is left to :mod:`.codec`, which
looks at each value and tells which row is wrong and why: nothing is refused here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple, cast

import msgspec
import numpy as np

from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import NUMPY_DTYPES, Array, bytes_column

# What a value of each datatype is in JSON.  BF16 has no numpy dtype to be made with.
_TYPES: Final[dict[str, type]] = {
    **dict.fromkeys((name for name in NUMPY_DTYPES if "INT" in name), int),
    **dict.fromkeys(("FP16", "FP32", "FP64"), float),
    "BOOL": bool,
    "BYTES": str,
}

_KEY: Final = "native.plain"


class PlainBody(NamedTuple):
    """The body of a request, parsed."""

    rows: list[Any]
    parameters: dict[str, Any]


class PlainRows:
    """Reads the rows that a signature wants.

    Args:
        signature: One that :func:`plain_rows` takes.
    """

    def __init__(self, signature: Signature) -> None:
        # The models' names need not be names in Python.
        fields = {f"input{number}": spec for number, spec in enumerate(signature.inputs)}
        row = msgspec.defstruct(
            "Row",
            [(field, _type_of(spec)) for field, spec in fields.items()],
            rename={field: spec.name for field, spec in fields.items()},
            forbid_unknown_fields=True,
            gc=False,
        )
        body = msgspec.defstruct(
            "Body",
            [("rows", list[row]), ("parameters", dict[str, Any], {})],  # type: ignore[valid-type]
            forbid_unknown_fields=True,
        )
        self._decode = msgspec.json.Decoder(body).decode
        self._columns = [(spec, attrgetter(field), _maker(spec)) for field, spec in fields.items()]

    def read(self, body: bytes) -> PlainBody | None:
        """Parse *body*; ``None`` when it is not of the signature's types, or has no rows."""
        try:
            parsed: Any = self._decode(body)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return None
        return PlainBody(parsed.rows, parsed.parameters) if parsed.rows else None

    def inputs(self, rows: Sequence[Any]) -> dict[str, Array] | None:
        """The columns of *rows*, which :meth:`read` has parsed; ``None`` when a size or number is off."""
        columns = {}
        for spec, value_of, make in self._columns:
            try:
                column = make([value_of(row) for row in rows])
            except (ValueError, OverflowError):  # rows of different sizes; integers out of range
                return None
            if not spec.fits(column.shape):
                return None
            columns[spec.name] = column
        return columns


def plain_rows(signature: Signature) -> PlainRows | None:
    """The reader of *signature*'s rows, made once; ``None`` where there is no quick way."""
    try:
        return cast("PlainRows | None", signature.kept[_KEY])
    except KeyError:
        quick = all(
            spec.datatype in _TYPES and not (spec.datatype == "BYTES" and spec.shape)
            for spec in signature.inputs
        )
        reader = PlainRows(signature) if quick else None
        signature.kept[_KEY] = reader
        return reader


def _type_of(spec: TensorSpec) -> Any:
    wanted: Any = _TYPES[spec.datatype]
    for _ in spec.shape:
        wanted = list[wanted]
    return wanted


def _maker(spec: TensorSpec) -> Callable[[list[Any]], Array]:
    """What turns the values of all rows into a column."""
    dtype = NUMPY_DTYPES[spec.datatype]
    if spec.datatype == "BYTES":
        return lambda values: bytes_column([value.encode() for value in values])
    if spec.datatype == "FP32" and len(spec.shape) == 1:
        return _vectors
    if spec.datatype in ("FP16", "FP32"):
        return lambda values: _lossy(values, dtype)
    return lambda values: np.array(values, dtype)


def _vectors(values: list[list[float]]) -> Array:
    """Rows of FP32; ``array`` does not mind numbers that are too large, and spares numpy's switch."""
    size = len(values[0])
    flat = array("f", values[0])
    for value in values[1:]:
        if len(value) != size:
            raise ValueError("rows of different sizes")
        flat.extend(value)
    return np.frombuffer(flat, np.float32).reshape(len(values), size)


def _lossy(values: list[Any], dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):  # too large is infinity, as everywhere
        return np.array(values, dtype)
