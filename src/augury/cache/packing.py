"""A row's answer as bytes, for the second level; whatever else is found there is no answer.

MessagePack: a format number, the time of expiry, and name, datatype, shape and content of each output.
A digest stands before it that covers the key too: a value that was damaged, cut, or put under another
row's key is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np

from augury.core.signature import Signature
from augury.core.tensor import NUMPY_DTYPES, Array, bytes_column, datatype_of

FORMAT: Final = 1
CHECK_BYTES: Final = 8


class _Output(msgspec.Struct, array_like=True):
    """One output of one row; *content* is its bytes, little-endian, or for BYTES its elements."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content: bytes | list[bytes]


class _Packed(msgspec.Struct, array_like=True):
    """A row; *expires_s* in seconds since 1970, since other processes read it."""

    format: int
    expires_s: float
    outputs: list[_Output]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Packed)


def pack(key: bytes, outputs: Mapping[str, Array], expires_s: float) -> bytes:
    """*outputs* of the row *key*, of no use after *expires_s* (seconds since 1970)."""
    packed = _Packed(FORMAT, expires_s, [_output(name, array) for name, array in outputs.items()])
    payload = _encoder.encode(packed)
    return _check(key, payload) + payload


def unpack(key: bytes, value: bytes, signature: Signature) -> tuple[dict[str, Array], float] | None:
    """The outputs and when they expire, or ``None`` when *value* is not an answer to *key*.

    Args:
        key: The row's key.
        value: What the store holds under it.
        signature: The outputs must be exactly these.
    """
    payload = value[CHECK_BYTES:]
    if value[:CHECK_BYTES] != _check(key, payload):
        return None
    try:
        packed = _decoder.decode(payload)
        if packed.format != FORMAT or len(packed.outputs) != len(signature.outputs):
            return None
        outputs = {}
        for spec, output in zip(signature.outputs, packed.outputs, strict=True):
            dtype = NUMPY_DTYPES[spec.datatype]
            shape = output.shape
            if output.name != spec.name or not spec.fits(shape) or shape[0] != 1:
                return None
            if dtype != NUMPY_DTYPES[output.datatype]:
                return None
            outputs[spec.name] = array = _array(output, dtype)
            if array.dtype != dtype:
                return None
    except (msgspec.MsgspecError, ValueError, TypeError, LookupError, OverflowError):
        return None
    return outputs, packed.expires_s


def _check(key: bytes, payload: bytes) -> bytes:
    return blake2b(payload, digest_size=CHECK_BYTES, key=key).digest()


def _output(name: str, array: Array) -> _Output:
    datatype = datatype_of(array)
    if datatype == "BYTES":
        return _Output(name, datatype, array.shape, list(array.flat))
    raw = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return _Output(name, datatype, array.shape, raw)


def _array(output: _Output, dtype: np.dtype[Any]) -> Array:
    """Read-only, since it is handed to every caller that asks for the row."""
    content = output.content
    if isinstance(content, list):
        array = bytes_column(content).reshape(output.shape)
        array.setflags(write=False)
        return array
    raw = np.frombuffer(content, dtype.newbyteorder("<"))
    return raw.astype(dtype, copy=False).reshape(output.shape)
