"""The name of a row's answer: a digest of everything that the answer depends on.

The key covers the loaded version (model, version, and either its content or this one load of it), the
parameters, and the row's canonical inputs (names, datatypes, shapes, bytes).  Every part is preceded
by its length, so that no two different requests can run together into the same bytes; 128 bits of
BLAKE2b make an accidental collision a matter of 2^64 rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import numpy as np

import augury
from augury.core.errors import InvalidInput
from augury.core.tensor import Array, datatype_of

DIGEST_BYTES: Final = 16

# Beginnings of digests that are kept: one for each form of request, of which most models have one.
_KEPT_FORMS: Final = 64

_facts: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

# Name, dtype and shape without the batch axis, of each input.
_Form = tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]


def content_identity(model: str, version: int, content: str) -> str:
    """A version as every process names it that has loaded the same files with the same Augury.

    Args:
        model: Its name.
        version: Its number.
        content: Digest of the files that decide the answer.
    """
    return _facts(["content", augury.__version__, model, version, content])


def load_identity(model: str, version: int, generation: int) -> str:
    """A version as this process alone names it, for one load of it."""
    return _facts(["load", model, version, generation])


class RowKeys:
    """Names the rows of one loaded version.

    Args:
        identity: From :func:`content_identity` or :func:`load_identity`.
    """

    def __init__(self, identity: str) -> None:
        self._identity = _sized(identity.encode())
        self._begun: dict[_Form, blake2b] = {}

    def keys(
        self, inputs: Mapping[str, Array], rows: int, parameters: Mapping[str, Any]
    ) -> list[bytes]:
        """One key for each row.

        Args:
            inputs: Arrays with *rows* rows; BYTES columns hold ``bytes``.
            rows: Number of rows.
            parameters: Of the request.

        Raises:
            InvalidInput: Parameters that JSON cannot hold.
        """
        columns = [inputs[name] for name in sorted(inputs)]
        begun = self._begin(inputs, parameters)
        if len(columns) == 1 and columns[0].dtype == object and columns[0].ndim == 1:
            return [_text_key(begun, value) for value in columns[0].tolist()]
        columns = [one if one.dtype == object else np.ascontiguousarray(one) for one in columns]
        keys = []
        for row in range(rows):
            digest = begun.copy()
            for column in columns:
                if column.dtype == object:
                    for value in column[row : row + 1].flat:
                        digest.update(_sized(value))
                else:
                    digest.update(column[row : row + 1].data)
            keys.append(digest.digest())
        return keys

    def _begin(self, inputs: Mapping[str, Array], parameters: Mapping[str, Any]) -> blake2b:
        """The digest of what all rows of a request share."""
        form = tuple((name, inputs[name].dtype, inputs[name].shape[1:]) for name in sorted(inputs))
        begun = None if parameters else self._begun.get(form)
        if begun is None:
            headers = [
                _sized(f"{name}\0{datatype_of(inputs[name])}\0{shape}".encode())
                for name, _, shape in form
            ]
            count = len(headers).to_bytes(8, "little")
            begun = blake2b(
                b"".join((self._identity, _parameters(parameters), count, *headers)),
                digest_size=DIGEST_BYTES,
            )
            if not parameters:
                if len(self._begun) >= _KEPT_FORMS:
                    self._begun.clear()
                self._begun[form] = begun
        return begun


def _text_key(begun: blake2b, value: bytes) -> bytes:
    digest = begun.copy()
    digest.update(_sized(value))
    return digest.digest()


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(8, "little") + part


def _parameters(parameters: Mapping[str, Any]) -> bytes:
    try:
        return _sized(_facts(dict(parameters)).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"parameters cannot be written as JSON: {error}") from None
