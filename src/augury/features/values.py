"""One value of a feature: checked, in the store's form, and as a column of a model's input.

In the store a scalar is itself, an array of numbers its little-endian bytes in row-major order, and an
array of BYTES a flat list.  What does not fit its datatype exactly (a fraction for an integer, a number
that overflows) is refused, never rounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from augury.core.tensor import DATATYPES, NUMPY_DTYPES, Array

Wire = bool | int | float | bytes | list[bytes]

# BF16 has neither a numpy dtype nor a Parquet type.
FEATURE_DATATYPES: Final[tuple[str, ...]] = tuple(one for one in DATATYPES if one != "BF16")
INTEGER_DATATYPES: Final[tuple[str, ...]] = tuple(one for one in DATATYPES if "INT" in one)
ENTITY_DATATYPES: Final[tuple[str, ...]] = (*INTEGER_DATATYPES, "BYTES")

MAX_ELEMENTS: Final = 16_384
MAX_AXES: Final = 4
MAX_VALUE_BYTES: Final = 256 * 1024
MAX_ENTITY_BYTES: Final = 512

_FLOATS: Final = ("FP16", "FP32", "FP64")


class UnfitValue(ValueError):
    """A value that is not of its feature's datatype or shape; the message says what it is instead."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """One feature of a table.

    Args:
        name: As the table calls it.
        datatype: The Open Inference Protocol's name.
        shape: Sizes of one value; empty for a scalar.
        default: Stands in for a value that is missing, in the store's form; ``None``: there is none.
        description: One sentence for people.
    """

    name: str
    datatype: str
    shape: tuple[int, ...] = ()
    default: Wire | None = None
    description: str = ""

    @property
    def told(self) -> str:
        """Datatype and shape as people write them.

        >>> FeatureSpec("mean", "FP32", (4,)).told
        'FP32[4]'
        """
        return f"{self.datatype}{list(self.shape)}" if self.shape else self.datatype


def to_wire(spec: FeatureSpec, value: Any) -> Wire:
    """*value* in the store's form.

    Args:
        spec: What it has to be.
        value: A number, bool, text or bytes; (nested) lists of them or a numpy array for a shape.

    Raises:
        UnfitValue: It is something else, too large, or of another shape.

    >>> to_wire(FeatureSpec("pair", "INT16", (2,)), [1, 256]).hex()
    '01000001'
    """
    if isinstance(value, np.generic):
        value = value.item()
    if not spec.shape:
        return _scalar(spec.datatype, value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise UnfitValue(f"{_show(value)} is not a list; {spec.told} is wanted")
    if spec.datatype == "BYTES":
        return _bytes_array(spec, value)
    return _numbers(spec, value).tobytes()


def from_wire(spec: FeatureSpec, wire: Wire) -> Any:
    """A Python value: the scalar, or (nested) lists."""
    if not spec.shape:
        return wire
    if isinstance(wire, list):
        flat = np.empty(len(wire), dtype=object)
        flat[:] = wire
        return flat.reshape(spec.shape).tolist()
    return np.frombuffer(_raw(wire), _little(spec.datatype)).reshape(spec.shape).tolist()


def to_json(spec: FeatureSpec, wire: Wire) -> Any:
    """A value as JSON and people have it: the shortest digits that mean it, bytes as text.

    >>> to_json(FeatureSpec("mean", "FP32"), 0.8999999761581421)
    0.9
    """
    number = NUMPY_DTYPES[spec.datatype].type

    def shown(value: Any) -> Any:
        if isinstance(value, list):
            return [shown(one) for one in value]
        if isinstance(value, bytes):
            return value.decode(errors="backslashreplace")
        return float(str(number(value))) if isinstance(value, float) else value

    return shown(from_wire(spec, wire))


def to_column(spec: FeatureSpec, wires: Sequence[Wire]) -> Array:
    """Values as a column of shape ``(len(wires), *spec.shape)``."""
    dtype = NUMPY_DTYPES[spec.datatype]
    if dtype.kind == "O":
        rows = [one if isinstance(one, list) else [one] for one in wires]
        column = np.empty((len(rows), math.prod(spec.shape)), dtype=object)
        for position, row in enumerate(rows):
            column[position, :] = row
        return column.reshape(len(rows), *spec.shape)
    if not spec.shape:
        return np.array(wires, dtype=dtype)
    # A bytearray: transforms may change their columns in place.
    buffer = bytearray().join(_raw(one) for one in wires)
    rows_of_numbers = np.frombuffer(buffer, _little(spec.datatype))
    return rows_of_numbers.reshape(len(wires), *spec.shape).astype(dtype, copy=False)


def to_entity(datatype: str, value: Any) -> int | bytes:
    """One part of an entity's key.

    Raises:
        UnfitValue: It is missing, of another type, or longer than :data:`MAX_ENTITY_BYTES`.
    """
    if value is None:
        raise UnfitValue("is missing; an entity has every part of its key")
    if isinstance(value, np.generic):
        value = value.item()
    part = _scalar(datatype, value)
    if isinstance(part, bytes):
        if len(part) > MAX_ENTITY_BYTES:
            raise UnfitValue(f"has {len(part)} bytes, the limit is {MAX_ENTITY_BYTES}")
        return part
    return int(part)


def _scalar(datatype: str, value: Any) -> bool | int | float | bytes:
    if datatype == "BYTES":
        return _bytes(value)
    if datatype == "BOOL":
        if not isinstance(value, bool):
            raise UnfitValue(f"{_show(value)} is not true or false")
        return value
    if datatype in _FLOATS:
        return _float(datatype, value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnfitValue(f"{_show(value)} is not an integer; {datatype} is wanted")
    bounds = np.iinfo(NUMPY_DTYPES[datatype])
    if not int(bounds.min) <= value <= int(bounds.max):
        raise UnfitValue(
            f"{_show(value)} does not fit {datatype} ({int(bounds.min)} to {int(bounds.max)})"
        )
    return value


def _float(datatype: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnfitValue(f"{_show(value)} is not a number; {datatype} is wanted")
    try:
        number = float(value)
    except OverflowError:
        raise UnfitValue(f"{_show(value)} does not fit {datatype}") from None
    with np.errstate(over="ignore"):
        kept = float(NUMPY_DTYPES[datatype].type(number))
    if math.isinf(kept) and not math.isinf(number):
        raise UnfitValue(f"{_show(value)} does not fit {datatype}")
    return kept


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            value = value.encode()
        except UnicodeEncodeError:
            raise UnfitValue("holds a lone surrogate, which is no text") from None
    if not isinstance(value, bytes):
        raise UnfitValue(f"{_show(value)} is neither text nor bytes; BYTES is wanted")
    if len(value) > MAX_VALUE_BYTES:
        raise UnfitValue(f"has {len(value)} bytes, the limit is {MAX_VALUE_BYTES}")
    return value


def _bytes_array(spec: FeatureSpec, value: Sequence[Any]) -> list[bytes]:
    flat: list[Any] = list(value)
    for axis, size in enumerate(spec.shape):
        if axis:
            if not all(isinstance(one, (list, tuple)) for one in flat):
                raise _misshapen(spec)
            parts = [list(one) for one in flat]
        else:
            parts = [flat]
        if any(len(part) != size for part in parts):
            raise _misshapen(spec)
        flat = [one for part in parts for one in part]
    wires = [_bytes(one) for one in flat]
    if sum(map(len, wires)) > MAX_VALUE_BYTES:
        raise UnfitValue(
            f"has {sum(map(len, wires))} bytes together, the limit is {MAX_VALUE_BYTES}"
        )
    return wires


def _numbers(spec: FeatureSpec, value: Sequence[Any]) -> Array:
    try:
        raw = np.array(value)
    except ValueError:
        raise UnfitValue(f"has lists of different length; {spec.told} is wanted") from None
    except OverflowError:
        raise UnfitValue(f"holds a number that does not fit {spec.datatype}") from None
    if raw.shape != spec.shape:
        raise _misshapen(spec, raw.shape)
    dtype = _little(spec.datatype)
    if raw.dtype.kind not in _kinds(spec.datatype):
        # One by one: numpy makes floats of [1, 2**63], and cannot say which element is at fault.
        flat = [_scalar(spec.datatype, one) for one in np.array(value, dtype=object).flat]
        return np.array(flat, dtype).reshape(spec.shape)
    if dtype.kind in "iu" and raw.size:
        bounds = np.iinfo(dtype)
        if int(raw.min()) < int(bounds.min) or int(raw.max()) > int(bounds.max):
            raise UnfitValue(f"{_show(value)} holds a number that does not fit {spec.datatype}")
    with np.errstate(over="ignore"):
        kept = raw.astype(dtype)
    if dtype.kind == "f" and bool((np.isinf(kept) & ~np.isinf(raw.astype("f8"))).any()):
        raise UnfitValue(f"{_show(value)} holds a number that does not fit {spec.datatype}")
    return kept


def _kinds(datatype: str) -> str:
    if datatype == "BOOL":
        return "b"
    return "iuf" if datatype in _FLOATS else "iu"


def _little(datatype: str) -> np.dtype[Any]:
    return NUMPY_DTYPES[datatype].newbyteorder("<")


def _raw(wire: Wire) -> bytes:
    if not isinstance(wire, bytes):
        raise TypeError(f"an array is kept as bytes, not as {type(wire).__name__}")
    return wire


def _misshapen(spec: FeatureSpec, shape: tuple[int, ...] | None = None) -> UnfitValue:
    got = f"has shape {list(shape)}" if shape is not None else "has another shape"
    return UnfitValue(f"{got}; {spec.told} is wanted")


def _show(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}…"
