"""From arrays to labels and scores."""

from __future__ import annotations

import numpy as np
import pytest

from augury.core.errors import InvalidInput, RuntimeFailed
from augury.core.request import InferResponse
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import bytes_column
from augury.services.tweets.sentiments import Sentiment, read_sentiments

SIGNATURE = Signature(
    inputs=(TensorSpec("text", "BYTES"),),
    outputs=(
        TensorSpec("label", "BYTES"),
        TensorSpec("scores", "FP32", (2,), labels=("bad", "good")),
    ),
)


def response(**changes: object) -> InferResponse:
    outputs = {
        "label": bytes_column([b"good", b""]),
        "scores": np.array([[0.3, 0.7], [0, 0]], "f4"),
    }
    return InferResponse("mood", 1, outputs, 2, **changes)  # type: ignore[arg-type]


def test_rows_have_answers_or_errors() -> None:
    """Scores carry the classes' names and six digits; a refused row keeps its error."""
    error = InvalidInput("'text' is empty")
    rows = read_sentiments(response(errors={1: error}, cached=frozenset({0})), SIGNATURE)
    assert rows == [Sentiment("good", {"bad": 0.3, "good": 0.7}, cached=True), error]


def test_all_rows_refused() -> None:
    """Then there need be no outputs."""
    error = InvalidInput("'text' is empty")
    empty = InferResponse("mood", 1, {}, 1, {0: error})
    assert read_sentiments(empty, SIGNATURE) == [error]


def test_a_model_without_sentiment_is_told() -> None:
    """The message names the model and what it lacks."""
    plain = Signature(inputs=SIGNATURE.inputs, outputs=(TensorSpec("label", "BYTES"),))
    with pytest.raises(RuntimeFailed, match="'mood' tells no sentiment"):
        read_sentiments(response(), plain)
