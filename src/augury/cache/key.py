"""The name of a row's answer: a digest of everything that the answer depends on.

The key covers model, version, load generation, parameters, and the row's canonical inputs (names,
datatypes, shapes, bytes).  Every part is preceded by its length, so that no two different requests
can run together into the same bytes; 128 bits of BLAKE2b make an accidental collision a matter of
2^64 rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

import numpy as np

from augury.core.errors import InvalidInput
from augury.core.tensor import Array, datatype_of

DIGEST_BYTES: Final = 16

_facts: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def key_prefix(model: str, version: int, generation: int, parameters: Mapping[str, Any]) -> bytes:
    """What all rows of a request share.

    Raises:
        InvalidInput: Parameters that JSON cannot hold.
    """
    try:
        facts = _facts([model, version, generation, dict(parameters)]).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"parameters cannot be written as JSON: {error}") from None
    return len(facts).to_bytes(8, "little") + facts


def row_keys(prefix: bytes, inputs: Mapping[str, Array], rows: int) -> list[bytes]:
    """One key for each row.

    Args:
        prefix: From :func:`key_prefix`.
        inputs: Arrays with *rows* rows; BYTES columns hold ``bytes``.
        rows: Number of rows.
    """
    headers: list[bytes] = []
    columns: list[Array] = []
    for name in sorted(inputs):
        column = inputs[name]
        fact = f"{name}\0{datatype_of(column)}\0{column.shape[1:]}".encode()
        headers.append(len(fact).to_bytes(8, "little") + fact)
        columns.append(column if column.dtype == object else np.ascontiguousarray(column))
    head = prefix + len(headers).to_bytes(8, "little") + b"".join(headers)
    keys = []
    for row in range(rows):
        digest = blake2b(head, digest_size=DIGEST_BYTES)
        for column in columns:
            if column.dtype == object:
                for value in column[row : row + 1].flat:
                    digest.update(len(value).to_bytes(8, "little"))
                    digest.update(value)
            else:
                digest.update(column[row : row + 1].data)
        keys.append(digest.digest())
    return keys
