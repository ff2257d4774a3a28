"""The quick way of reading rows: it never reads anything else than the thorough one does."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.core.errors import AuguryError
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import Array
from augury.protocols.native.codec import decode_body, decode_rows
from augury.protocols.native.plain import plain_rows

SIGNATURES = {
    "vector": (TensorSpec("x", "FP32", (4,)),),
    "open vector": (TensorSpec("x", "FP32", (-1,)),),
    "matrix": (TensorSpec("x", "FP32", (-1, 2)),),
    "scalar": (TensorSpec("x", "FP32"),),
    "half": (TensorSpec("x", "FP16", (2,)),),
    "double": (TensorSpec("x", "FP64", (2,)),),
    "bytes of a byte": (TensorSpec("x", "UINT8", (2,)),),
    "integers": (TensorSpec("x", "INT64", (-1,)),),
    "unsigned": (TensorSpec("x", "UINT64"),),
    "truth": (TensorSpec("x", "BOOL", (2,)),),
    "text": (TensorSpec("x", "BYTES"),),
    "several": (
        TensorSpec("x", "FP32", (2,)),
        TensorSpec("a name that is none", "BYTES"),
        TensorSpec("class", "INT32"),
    ),
}


def signature(name: str) -> Signature:
    """One of the signatures, new."""
    return Signature(SIGNATURES[name], (TensorSpec("y", "FP32"),))


def quickly(body: bytes, wanted: Signature) -> dict[str, Array] | None:
    """The inputs by the quick way, if it takes them."""
    reader = plain_rows(wanted)
    assert reader is not None
    read = reader.read(body)
    return None if read is None else reader.inputs(read.rows)


def thoroughly(body: bytes, wanted: Signature) -> dict[str, Array] | None:
    """The inputs by the thorough way, if nothing is wrong with any row."""
    try:
        decoded = decode_rows(decode_body(body).rows, wanted)
    except AuguryError:
        return None
    return None if decoded.errors else decoded.inputs


def assert_same(one: dict[str, Array] | None, other: dict[str, Array] | None) -> None:
    """Both are there, with the same names, datatypes, shapes, and values to the last bit."""
    assert one is not None
    assert other is not None
    assert list(one) == list(other)
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        assert array.shape == other[name].shape
        if array.dtype == object:
            assert array.tolist() == other[name].tolist()
        else:
            assert array.tobytes() == other[name].tobytes()
            assert array.flags.c_contiguous


_NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([127, 128, 255, 256, 65504, 65520, 2**31 - 1, 2**63 - 1, 2**64 - 1, 3.5e38]),
)
_VALUES = st.recursive(
    st.one_of(_NUMBERS, st.booleans(), st.none(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)
_ROWS = st.lists(
    st.dictionaries(st.sampled_from(["x", "class", "a name that is none", "z"]), _VALUES),
    max_size=3,
)


@given(name=st.sampled_from(sorted(SIGNATURES)), rows=_ROWS)
def test_what_it_takes_is_what_the_thorough_way_takes(name: str, rows: list[Any]) -> None:
    """Whatever is sent: no other values, and nothing that the thorough way refuses."""
    body = msgspec.json.encode({"rows": rows})
    quick = quickly(body, signature(name))
    if quick is not None:
        assert_same(quick, thoroughly(body, signature(name)))


@given(
    name=st.sampled_from(["vector", "half", "double"]),
    values=st.lists(_NUMBERS, min_size=4, max_size=4),
    rows=st.integers(1, 3),
)
def test_numbers_are_rounded_alike(name: str, values: list[float], rows: int) -> None:
    """Integers, numbers that are too large, and those between two that the datatype has."""
    size = SIGNATURES[name][0].shape[0]
    body = msgspec.json.encode({"rows": [{"x": values[:size]}] * rows})
    assert_same(quickly(body, signature(name)), thoroughly(body, signature(name)))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("vector", {"x": [1, 2.5, -0.0, 1e300]}),
        ("open vector", {"x": []}),
        ("matrix", {"x": [[1, 2], [3, 4]]}),
        ("matrix", {"x": [[1, 2]]}),
        ("scalar", {"x": 1}),
        ("integers", {"x": [1, -(2**63)]}),
        ("unsigned", {"x": 2**64 - 1}),
        ("bytes of a byte", {"x": [0, 255]}),
        ("truth", {"x": [True, False]}),
        ("text", {"x": "Good night 😊"}),
        ("several", {"class": 1, "x": [1, 2], "a name that is none": ""}),
    ],
)
@pytest.mark.parametrize("rows", [1, 3])
def test_good_rows_go_the_quick_way(name: str, row: dict[str, Any], rows: int) -> None:
    """It is there for them."""
    body = msgspec.json.encode({"rows": [row] * rows})
    assert_same(quickly(body, signature(name)), thoroughly(body, signature(name)))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("vector", b"{"),
        ("vector", b'{"rows": []}'),
        ("vector", b'{"rows": [{}]}'),
        ("vector", b'{"rows": [{"x": [1, 2, 3]}]}'),
        ("vector", b'{"rows": [{"x": [1, 2, 3, 4]}, {"x": [1, 2, 3, 4, 5]}]}'),
        ("vector", b'{"rows": [{"x": [1, 2, 3, true]}]}'),
        ("vector", b'{"rows": [{"x": [1, 2, 3, "4"]}]}'),
        ("vector", b'{"rows": [{"x": [1, 2, 3, 4], "y": 1}]}'),
        ("vector", b'{"rows": [{"x": [1, 2, 3, 4]}], "more": 1}'),
        ("vector", b'{"rows": [{"x": [1, 2, 3, 1e999]}]}'),
        ("open vector", b'{"rows": [{"x": [1]}, {"x": [1, 2]}]}'),
        ("bytes of a byte", b'{"rows": [{"x": [256, 0]}]}'),
        ("bytes of a byte", b'{"rows": [{"x": [1.0, 0]}]}'),
        ("integers", b'{"rows": [{"x": [1]}, {"x": [1, 2]}]}'),
        ("text", b'{"rows": [{"x": {"b64": "AA=="}}]}'),
        ("text", b'{"rows": [{"x": "\\ud83d"}]}'),
    ],
)
def test_all_else_is_left_to_the_thorough_way(name: str, body: bytes) -> None:
    """Which tells what is wrong, or takes it all the same."""
    assert quickly(body, signature(name)) is None


def test_parameters_come_along() -> None:
    """As they were sent."""
    reader = plain_rows(signature("scalar"))
    assert reader is not None
    read = reader.read(b'{"rows": [{"x": 1}], "parameters": {"a": [1, null]}}')
    assert read is not None
    assert read.parameters == {"a": [1, None]}
    without = reader.read(b'{"rows": [{"x": 1}]}')
    assert without is not None
    assert without.parameters == {}


@pytest.mark.parametrize(
    "spec", [TensorSpec("x", "BYTES", (2,)), TensorSpec("x", "BF16", (2,)), TensorSpec("x", "BF16")]
)
def test_some_signatures_have_no_quick_way(spec: TensorSpec) -> None:
    """Their rows all go the thorough way."""
    assert plain_rows(Signature((spec,), (spec,))) is None


def test_a_reader_is_made_once() -> None:
    """And is no part of what the signature says."""
    wanted = signature("several")
    assert plain_rows(wanted) is plain_rows(wanted)
    assert wanted == signature("several")
    assert "kept" not in repr(wanted)


def test_arrays_are_the_request_s_own() -> None:
    """A step may write into them."""
    inputs = quickly(b'{"rows": [{"x": [1, 2, 3, 4]}]}', signature("vector"))
    assert inputs is not None
    inputs["x"][0, 0] = 7
    assert np.array_equal(inputs["x"], [[7, 2, 3, 4]])
