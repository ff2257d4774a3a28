"""The native dialect on the wire, byte for byte: what stands in ``native/`` is a promise to clients.

Run this file (``python -m tests.golden.test_native``) to write the bytes anew, and look at the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augury.core.errors import AuguryError, Overloaded, Refused
from augury.core.request import InferResponse, Timing
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import Array, bytes_column
from augury.protocols.native.codec import (
    decode_body,
    decode_rows,
    encode_fragment,
    encode_fragments,
    encode_response,
)
from augury.protocols.native.errors import problem_body

FOLDER = Path(__file__).with_name("native")
TIMING = Timing(preprocess_s=0.0001, queue_s=0.00025, runtime_s=0.0033333, total_s=0.004)


@dataclass(frozen=True)
class Case:
    """A request, what its model says, and the answer.

    Args:
        request: The body.
        signature: Of the model.
        inputs: What the request means: the columns, as lists.
        outputs: What the model answers.
        errors: Rows that the model refuses.
    """

    request: bytes
    signature: Signature
    inputs: dict[str, Any]
    outputs: dict[str, Array]
    errors: dict[int, AuguryError] = field(default_factory=dict)

    def answer(self) -> bytes:
        """The answer's bytes."""
        decoded = decode_rows(decode_body(self.request).rows, self.signature)
        assert {name: column.tolist() for name, column in decoded.inputs.items()} == self.inputs
        rows = len(decoded.positions)
        response = InferResponse("m", 3, self.outputs, rows, self.errors, timing=TIMING)
        return encode_response(response, decoded, self.signature)


SENTIMENT = Signature(
    (TensorSpec("text", "BYTES"),),
    (TensorSpec("label", "BYTES"), TensorSpec("scores", "FP32", (2,), ("bad", "good"))),
)
NUMBERS = Signature(
    (TensorSpec("flags", "BOOL", (2,)), TensorSpec("ids", "INT64", (2, 1))),
    (TensorSpec("y", "FP64", (2,)), TensorSpec("n", "UINT64"), TensorSpec("raw", "BYTES")),
)

CASES = {
    "text": Case(
        '{"rows": [{"text": "Good night 😊"}, {"text": "\\u0052ain"}]}'.encode(),
        SENTIMENT,
        {"text": ["Good night 😊".encode(), b"Rain"]},
        {
            "label": bytes_column([b"good", "schlecht ☔".encode()]),
            "scores": np.array([[0.25, 0.75], [1.0, np.nan]], np.float32),
        },
    ),
    "failing-rows": Case(
        b'{"rows": [{"text": 3}, {"text": "a"}, {"test": "a"}, {"text": ""}], "parameters": {"k": 1}}',
        SENTIMENT,
        {"text": [b"a", b""]},
        {
            "label": bytes_column([b"good", b""]),
            "scores": np.array([[0.5, 0.5], [0, 0]], np.float32),
        },
        {1: Refused("the text is empty; send at least one character", characters=0)},
    ),
    "numbers": Case(
        b'{"rows":[{"ids":[[-9223372036854775808],[9223372036854775807]],"flags":[true,false]}]}',
        NUMBERS,
        {"flags": [[True, False]], "ids": [[[-(2**63)], [2**63 - 1]]]},
        {
            "y": np.array([[0.1, -np.inf]]),
            "n": np.array([2**64 - 1], np.uint64),
            "raw": bytes_column([b"\xff\x00"]),
        },
    ),
}

PROBLEMS = {
    "overloaded": Overloaded(
        "64 rows wait for m/1, the limit is 64; retry later", limit_rows=64, retry_after_s=1.5
    )
}


def wire_bytes() -> dict[str, bytes]:
    """Every file of the folder, as the code makes it."""
    made = {}
    for name, case in CASES.items():
        made[f"{name}.request.json"] = case.request
        made[f"{name}.answer.json"] = case.answer()
    for name, error in PROBLEMS.items():
        made[f"{name}.problem.json"] = problem_body(error)
    return made


@pytest.mark.parametrize("name", sorted(wire_bytes()))
def test_the_bytes_are_those_that_were_promised(name: str) -> None:
    """A change on the wire is a change of a file here."""
    assert wire_bytes()[name] == (FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.errors])
def test_remembered_rows_have_the_same_bytes(name: str) -> None:
    """An answer that is put together from remembered rows is the one that would be encoded."""
    case = CASES[name]
    rows = len(next(iter(case.outputs.values())))
    inputs = decode_rows(decode_body(case.request).rows, case.signature)
    timing = Timing(total_s=0.0123456)
    response = InferResponse("m", 3, case.outputs, rows, {}, timing=timing)
    fragments = [
        encode_fragment(
            {name: array[row : row + 1] for name, array in case.outputs.items()}, case.signature
        )
        for row in range(rows)
    ]
    assert encode_fragments("m", "3", fragments, timing.total_s) == encode_response(
        response, inputs, case.signature
    )


def test_nothing_else_is_promised() -> None:
    """No file is left behind by a case that is gone."""
    assert {path.name for path in FOLDER.iterdir()} == set(wire_bytes())


if __name__ == "__main__":
    for name, content in wire_bytes().items():
        (FOLDER / name).write_bytes(content)
