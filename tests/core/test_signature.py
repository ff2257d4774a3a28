"""Tests of ``augury.core.signature``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.core.errors import (
    AuguryError,
    InvalidInput,
    MissingInput,
    ShapeMismatch,
    UnknownInput,
    WrongType,
)
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import Array, bytes_column

PIXELS = TensorSpec("pixels", "FP32", (3, -1))
WORDS = TensorSpec("words", "BYTES")
SIGNATURE = Signature((PIXELS, WORDS), (TensorSpec("label", "BYTES"),))


def inputs(rows: int = 2) -> dict[str, Array]:
    return {"pixels": np.zeros((rows, 3, 5), "f4"), "words": bytes_column([b"a"] * rows)}


def test_fitting_inputs_tell_their_rows() -> None:
    """The answer is the number of rows."""
    assert SIGNATURE.validate(inputs(7)) == 7


def test_names_are_found() -> None:
    """A name that is not there is ``None``, never an exception."""
    assert SIGNATURE.input("pixels") is PIXELS
    assert SIGNATURE.input("label") is None
    assert SIGNATURE.output("label") is not None
    assert SIGNATURE.output("pixels") is None


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        (
            {"words": None},
            MissingInput,
            "'words' is missing; the model's inputs are: pixels, words",
        ),
        ({"more": np.zeros(2)}, UnknownInput, "unknown input 'more'"),
        ({"pixels": np.zeros((2, 3, 5))}, WrongType, "'pixels' is FP64, the model wants FP32"),
        ({"pixels": np.zeros((2, 3, 5), ">f4")}, WrongType, "numpy's >f4, the model wants FP32"),
        ({"pixels": np.zeros((2, 3, 5), "c8")}, WrongType, "numpy's <c8, the model wants FP32"),
        ({"words": np.array([b"a", b"b"])}, WrongType, r"numpy's \|S1, the model wants BYTES"),
        ({"pixels": np.zeros((2, 4, 5), "f4")}, ShapeMismatch, r"\[2, 4, 5\].*\[-1, 3, -1\]"),
        ({"pixels": np.zeros((2, 3), "f4")}, ShapeMismatch, r"\[2, 3\]"),
        ({"pixels": np.float32(1).reshape(())}, ShapeMismatch, r"shape \[\]"),
        ({"words": bytes_column([b"a"])}, InvalidInput, "'words' has 1 rows.* have 2"),
    ],
)
def test_each_fault_is_told(
    changes: dict[str, Array | None], error: type[AuguryError], words: str
) -> None:
    """The message names the input, what came and what is wanted."""
    changed = {**inputs(), **changes}
    with pytest.raises(error, match=words):
        SIGNATURE.validate({name: array for name, array in changed.items() if array is not None})


def test_no_rows_are_refused() -> None:
    """An empty batch is no question."""
    with pytest.raises(InvalidInput, match="no rows"):
        SIGNATURE.validate(inputs(0))
    with pytest.raises(InvalidInput, match="no rows"):
        Signature((), ()).validate({})


def test_shape_mismatch_tells_programs_too() -> None:
    """The details are the message's facts in JSON."""
    error = ShapeMismatch(input="pixels", got=(3, 224), want=(-1, 3, 224, 224))
    assert error.details == {"input": "pixels", "got": [3, 224], "want": [-1, 3, 224, 224]}


@given(st.lists(st.integers(0, 4), max_size=4), st.lists(st.integers(-1, 4), max_size=4))
def test_fits(got: list[int], want: list[int]) -> None:
    """A size fits itself and -1; the ranks must be the same."""
    fits = TensorSpec("x", "FP32", tuple(want)).fits((9, *got))
    assert fits == (
        len(got) == len(want) and all(w in (-1, g) for g, w in zip(got, want, strict=True))
    )
