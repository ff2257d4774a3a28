"""Tests of ``augury.cache.packing``."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.cache import packing
from augury.cache.packing import CHECK_BYTES, FORMAT, pack, unpack
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import DATATYPES, NUMPY_DTYPES, Array, bytes_column

KEY = b"k" * 16

SENTIMENT = Signature(
    (),
    (TensorSpec("label", "BYTES"), TensorSpec("scores", "FP32", (3,))),
)
OUTPUTS = {
    "label": bytes_column([b"positive"]),
    "scores": np.array([[0.1, np.nan, -np.inf]], np.float32),
}


def same(one: Array, other: Array) -> bool:
    """To the last bit."""
    if one.dtype == object:
        return one.dtype == other.dtype and one.tolist() == other.tolist()
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def test_what_is_packed_comes_back() -> None:
    """To the last bit, NaN included; read-only, with its time of expiry."""
    unpacked = unpack(KEY, pack(KEY, OUTPUTS, 1234.5), SENTIMENT)
    assert unpacked is not None
    outputs, expires_s = unpacked
    assert expires_s == 1234.5
    assert list(outputs) == list(OUTPUTS)
    for name, array in outputs.items():
        assert same(array, OUTPUTS[name])
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[0]


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype(datatype: str) -> None:
    """Of every shape that a row may have."""
    dtype = NUMPY_DTYPES[datatype]
    for shape in ((1,), (1, 3), (1, 2, 2)):
        if datatype == "BYTES":
            count = int(np.prod(shape))
            array: Array = bytes_column([b"\0\xff" * n for n in range(count)]).reshape(shape)
        else:
            array = np.ones(shape, dtype)
        signature = Signature((), (TensorSpec("y", datatype, (-1,) * (len(shape) - 1)),))
        unpacked = unpack(KEY, pack(KEY, {"y": array}, 1.0), signature)
        assert unpacked is not None
        assert same(unpacked[0]["y"], array)


@pytest.mark.parametrize(
    "signature",
    [
        Signature((), SENTIMENT.outputs[:1]),
        Signature((), (*SENTIMENT.outputs, TensorSpec("more", "FP32"))),
        Signature((), (TensorSpec("label", "BYTES"), TensorSpec("score", "FP32", (3,)))),
        Signature((), (TensorSpec("label", "BYTES"), TensorSpec("scores", "FP32", (2,)))),
        Signature((), (TensorSpec("label", "BYTES"), TensorSpec("scores", "INT32", (3,)))),
        Signature((), (TensorSpec("label", "BYTES", (1,)), TensorSpec("scores", "FP32", (3,)))),
        Signature((), (TensorSpec("label", "UINT64"), TensorSpec("scores", "FP32", (3,)))),
    ],
)
def test_the_answer_of_another_model_is_no_answer(signature: Signature) -> None:
    """Other outputs, names, datatypes or shapes than this model's."""
    assert unpack(KEY, pack(KEY, OUTPUTS, 1.0), signature) is None


def test_the_answer_to_another_row_is_no_answer() -> None:
    """A value that has come under another key is not believed."""
    assert unpack(b"l" * 16, pack(KEY, OUTPUTS, 1.0), SENTIMENT) is None


@given(st.data())
def test_a_damaged_value_is_no_answer(data: st.DataObject) -> None:
    """Cut, with a flipped bit, or with more at its end."""
    value = bytearray(pack(KEY, OUTPUTS, 1.0))
    kind = data.draw(st.sampled_from(["cut", "flip", "more"]))
    if kind == "cut":
        value = value[: data.draw(st.integers(0, len(value) - 1))]
    elif kind == "flip":
        value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        value += data.draw(st.binary(min_size=1, max_size=20))
    assert unpack(KEY, bytes(value), SENTIMENT) is None


@given(st.binary(max_size=200))
def test_foreign_bytes_are_no_answer(value: bytes) -> None:
    """Whatever else lies under the key."""
    assert unpack(KEY, value, SENTIMENT) is None


@pytest.mark.parametrize(
    "content",
    [
        [FORMAT + 1, 1.0, []],
        [FORMAT, 1.0, []],
        [FORMAT, "soon", []],
        [FORMAT, 1.0, [["y", "FP32", [1, 3], b"short"]]],
        [FORMAT, 1.0, [["y", "FP32", [1, 3], [b"a", b"b", b"c"]]]],
        [FORMAT, 1.0, [["y", "BYTES", [1, 3], b"twelve bytes"]]],
        [FORMAT, 1.0, [["y", "FP33", [1, 3], b"twelve bytes"]]],
        [FORMAT, 1.0, [["y", "FP32", [-1, 3], b"twelve bytes"]]],
        [FORMAT, 1.0, [["y", "FP32", [2, 3], b"twelve bytes" * 2]]],
        [FORMAT, 1.0, [["y", "FP32", [1 << 62, 3], b"twelve bytes"]]],
        [FORMAT, 1.0, [["y", "FP32", [], b"four"]]],
        {"format": FORMAT},
        7,
    ],
)
def test_what_another_program_may_have_meant_is_no_answer(content: Any) -> None:
    """Well sealed, but not of our form: another release's, or a mistake."""
    signature = Signature((), (TensorSpec("y", "FP32", (3,)),))
    payload = msgspec.msgpack.encode(content)
    value = packing._check(KEY, payload) + payload
    assert len(value) > CHECK_BYTES
    assert unpack(KEY, value, signature) is None
