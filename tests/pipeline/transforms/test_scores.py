"""Tests of ``augury.pipeline.transforms``: ``softmax`` and ``label``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from augury.core.errors import Internal, RuntimeFailed
from augury.core.signature import Signature
from augury.core.tensor import Ragged
from augury.pipeline.transforms.base import Batch, TransformContext
from augury.pipeline.transforms.label import Label
from augury.pipeline.transforms.softmax import Softmax

CONTEXT = TransformContext(Path(), Signature((), ()))


def softmax(values: Any, dtype: str = "f4") -> Any:
    array = np.array(values, dtype)
    batch = Batch({"logits": array}, len(array))
    Softmax(Softmax.Options(), CONTEXT)(batch)
    assert batch.array("logits") is array
    return batch.array("scores")


def label(values: Any, *labels: str) -> Batch:
    array = np.array(values, "f4")
    batch = Batch({"scores": array}, len(array))
    Label(Label.Options(labels=labels or ("a", "b", "c")), CONTEXT)(batch)
    return batch


def test_softmax_is_the_formula() -> None:
    """exp(x_i) / Σ exp(x_j), in the dtype of its input."""
    scores = softmax([[1, 2, 3]])
    powers = np.exp([1.0, 2.0, 3.0])
    np.testing.assert_allclose(scores, [powers / powers.sum()], rtol=1e-6)
    assert scores.dtype == np.float32
    assert softmax([[1, 2]], "f2").dtype == np.float16


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=5))
def test_softmax_neither_overflows_nor_loses_the_order(row: list[float]) -> None:
    """Whatever the logits: they add up to 1, and the highest has the highest."""
    scores = softmax([row])[0]
    assert scores.sum() == pytest.approx(1, abs=1e-5)
    assert scores[int(np.argmax(np.array(row, "f4")))] == scores.max()


def test_softmax_shifts() -> None:
    """Adding a constant changes nothing; any number of axes is taken."""
    logits = np.array([[[1, 2], [3, 5]]], "f4")
    np.testing.assert_allclose(softmax(logits), softmax(logits + 1000), rtol=1e-5)


@pytest.mark.parametrize(
    "row", [[np.nan, 0], [np.inf, 0], [-np.inf, -np.inf], [np.inf, np.inf], [np.inf, -np.inf]]
)
def test_softmax_of_what_has_none_is_nan(row: list[float]) -> None:
    """In its own row alone, and without a warning."""
    scores = softmax([row, [0, 0]])
    assert np.isnan(scores[0]).any()
    assert scores[1].tolist() == [0.5, 0.5]


def test_softmax_at_the_ends_of_the_dtype() -> None:
    """The distance of two finite logits may be none, without a warning."""
    assert softmax([[-60_000, 60_000]], "f2").tolist() == [[0, 1]]


def test_minus_infinity_is_probability_zero() -> None:
    """One class that cannot be is no fault."""
    assert softmax([[-np.inf, 0]]).tolist() == [[0, 1]]


def test_the_highest_score_names_the_row() -> None:
    """Of equal ones the first."""
    batch = label([[1, 3, 2], [5, 5, 0], [0, 0, 0], [-3, -2, -1]])
    assert batch.array("label").tolist() == [b"b", b"a", b"a", b"c"]
    assert batch.errors == {}


def test_nan_is_an_error_never_a_label() -> None:
    """In its own row alone."""
    batch = label([[1, 3, 2], [np.nan, 9, 9], [9, 9, np.nan]])
    assert {row: type(error) for row, error in batch.errors.items()} == {
        1: RuntimeFailed, 2: RuntimeFailed
    }  # fmt: skip
    assert batch.array("label")[0] == b"b"


def test_labels_are_utf8() -> None:
    """BYTES hold text so."""
    assert label([[0, 1]], "schön", "Übel").array("label").tolist() == ["Übel".encode()]


@pytest.mark.parametrize("scores", [[[1, 2]], [[1, 2, 3, 4]], [1.0], [[[1, 2, 3]]]])
def test_scores_that_do_not_fit_the_labels(scores: Any) -> None:
    """A label too few would name every row wrongly."""
    with pytest.raises(RuntimeFailed, match="3 labels want"):
        label(scores)


def test_a_label_needs_labels() -> None:
    """At least one."""
    with pytest.raises(ValidationError):
        Label.Options(labels=())


def test_a_ragged_column_is_told() -> None:
    """A step that wants a dense one says so."""
    batch = Batch({"logits": Ragged((np.zeros(2),))}, 1)
    with pytest.raises(Internal, match="column 'logits' is ragged"):
        Softmax(Softmax.Options(), CONTEXT)(batch)
