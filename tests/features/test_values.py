"""One value: what fits, what is refused, and that it comes back as it was."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.core.tensor import NUMPY_DTYPES
from augury.features.values import (
    FEATURE_DATATYPES,
    MAX_ENTITY_BYTES,
    FeatureSpec,
    UnfitValue,
    from_wire,
    to_column,
    to_entity,
    to_wire,
)

_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "BOOL": st.booleans(),
    "FP16": st.floats(width=16),
    "FP32": st.floats(width=32),
    "FP64": st.floats(),
    "BYTES": st.binary(max_size=20),
} | {
    name: st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    for name, dtype in NUMPY_DTYPES.items()
    if "INT" in name
}


@pytest.mark.parametrize("datatype", FEATURE_DATATYPES)
@given(data=st.data())
def test_a_value_comes_back_as_it_was(datatype: str, data: st.DataObject) -> None:
    """Scalars and arrays of every datatype keep every bit, as values and as columns."""
    scalar = FeatureSpec("x", datatype)
    array = FeatureSpec("x", datatype, (2, 3))
    values = data.draw(st.lists(_SCALARS[datatype], min_size=6, max_size=6))
    nested = [values[:3], values[3:]]

    assert _same(from_wire(scalar, to_wire(scalar, values[0])), values[0])
    wire = to_wire(array, nested)
    assert _same(from_wire(array, wire), nested)
    column = to_column(array, [wire, wire])
    assert column.shape == (2, 2, 3)
    assert column.dtype == NUMPY_DTYPES[datatype]
    assert _same(column[1].tolist(), nested)
    assert to_column(scalar, [to_wire(scalar, one) for one in values]).shape == (6,)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize(
    ("datatype", "shape", "value", "words"),
    [
        ("INT64", (), 1.0, "1.0 is not an integer"),
        ("INT64", (), True, "True is not an integer"),
        ("INT64", (), "7", "'7' is not an integer"),
        ("INT64", (), 2**63, "does not fit INT64"),
        ("UINT8", (), -1, r"does not fit UINT8 \(0 to 255\)"),
        ("FP16", (), 70_000.0, "does not fit FP16"),
        ("FP32", (), 1e39, "does not fit FP32"),
        ("FP64", (), 10**400, "does not fit FP64"),
        ("FP64", (), "1.5", "is not a number"),
        ("BOOL", (), 1, "1 is not true or false"),
        ("BYTES", (), 7, "neither text nor bytes"),
        ("BYTES", (), "\ud800", "lone surrogate"),
        ("BYTES", (), b"x" * 300_000, "has 300000 bytes, the limit is 262144"),
        ("FP32", (2,), [1.0], r"has shape \[1\]; FP32\[2\] is wanted"),
        ("FP32", (2,), 1.0, "is not a list"),
        ("FP32", (2,), [1.0, "x"], "'x' is not a number"),
        ("FP32", (2,), [1.0, 1e39], "does not fit FP32"),
        ("FP32", (2, 2), [[1.0, 2.0], [1.0]], "lists of different length"),
        ("INT8", (2,), [1, 128], "does not fit INT8"),
        ("INT64", (2,), [1, 2**70], "does not fit INT64"),
        ("INT64", (2,), [1.0, 2.0], "1.0 is not an integer"),
        ("BYTES", (2,), ["a"], "has another shape"),
        ("BYTES", (1, 2), ["ab"], "has another shape"),
    ],
)
def test_what_does_not_fit_is_refused(
    datatype: str, shape: tuple[int, ...], value: Any, words: str
) -> None:
    """Nothing is rounded, cut or read as something else."""
    with pytest.raises(UnfitValue, match=words):
        to_wire(FeatureSpec("x", datatype, shape), value)


def test_numpy_values_are_values() -> None:
    """Scalars and arrays of numpy are taken like Python's own."""
    assert to_wire(FeatureSpec("x", "INT32"), np.int64(7)) == 7
    spec = FeatureSpec("x", "FP32", (2,))
    assert to_wire(spec, np.array([1.5, 2.5], "f8")) == to_wire(spec, [1.5, 2.5])


@pytest.mark.parametrize(
    ("datatype", "value", "words"),
    [
        ("INT64", None, "is missing"),
        ("INT64", "7", "is not an integer"),
        ("INT64", 7.0, "is not an integer"),
        ("BYTES", "x" * (MAX_ENTITY_BYTES + 1), "has 513 bytes, the limit is 512"),
        ("BYTES", "x" * 1_000_000, "the limit is"),
    ],
)
def test_an_entity_has_a_whole_key_of_bounded_size(datatype: str, value: Any, words: str) -> None:
    """What is no key is refused, and so is one of a megabyte."""
    with pytest.raises(UnfitValue, match=words):
        to_entity(datatype, value)


def test_columns_may_be_changed_in_place() -> None:
    """A transform that writes into its column writes into memory of its own."""
    spec = FeatureSpec("x", "FP32", (2,))
    wire = to_wire(spec, [1.0, 2.0])

    column = to_column(spec, [wire])
    column += 1

    assert from_wire(spec, wire) == [1.0, 2.0]
