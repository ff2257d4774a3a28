"""Evaluation: each number checked against one worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.monitor.evaluation import (
    CALIBRATION_BINS,
    evaluate_classification,
    fit_temperature,
)

_LABELS = ("negative", "neutral", "positive")

# Six rows: truth n n u u u p; predicted n u u u p p.
_TRUTH = ["negative"] * 2 + ["neutral"] * 3 + ["positive"]
_SCORES = np.array(
    [
        [0.9, 0.1, 0.0],
        [0.2, 0.6, 0.2],
        [0.1, 0.8, 0.1],
        [0.0, 0.8, 0.2],
        [0.1, 0.3, 0.6],
        [0.0, 0.0, 1.0],
    ]
)


def test_confusion_counts_truth_by_prediction() -> None:
    """Rows of the matrix are true classes, columns are predicted ones."""
    report = evaluate_classification(_LABELS, _TRUTH, _SCORES)

    assert report.confusion == ((1, 1, 0), (0, 2, 1), (0, 0, 1))
    assert report.rows == 6
    assert report.accuracy == pytest.approx(4 / 6)


def test_ratios_of_each_class() -> None:
    """Precision, recall and F1 of each class are those worked out by hand."""
    negative, neutral, positive = evaluate_classification(_LABELS, _TRUTH, _SCORES).classes

    assert (negative.precision, negative.recall) == (1.0, 0.5)
    assert negative.f1 == pytest.approx(2 / 3)
    assert (neutral.precision, neutral.recall) == pytest.approx((2 / 3, 2 / 3))
    assert (positive.precision, positive.recall) == (0.5, 1.0)
    assert [part.support for part in (negative, neutral, positive)] == [2, 3, 1]
    assert [part.predicted for part in (negative, neutral, positive)] == [1, 3, 2]


def test_macro_averages_weigh_classes_equally() -> None:
    """A macro average does not care how many rows a class has."""
    report = evaluate_classification(_LABELS, _TRUTH, _SCORES)

    assert report.macro_recall == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert report.macro_precision == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert report.macro_f1 == pytest.approx(2 / 3)


def test_distributions_are_shares() -> None:
    """The true and the predicted distribution are shares of the rows."""
    report = evaluate_classification(_LABELS, _TRUTH, _SCORES)

    assert report.true_distribution == pytest.approx((2 / 6, 3 / 6, 1 / 6))
    assert report.predicted_distribution == pytest.approx((1 / 6, 3 / 6, 2 / 6))


def test_calibration_error_by_hand() -> None:
    """ECE weighs each bin's gap between confidence and accuracy by its rows."""
    report = evaluate_classification(_LABELS, _TRUTH, _SCORES)

    # Top scores 0.9 (right), 0.6 (wrong), 0.8, 0.8 (right), 0.6 (wrong), 1.0 (right).
    assert report.ece == pytest.approx((0.1 + 2 * 0.6 + 2 * 0.2 + 0.0) / 6)
    assert len(report.bins) == CALIBRATION_BINS == 15
    filled = {round(part.low, 3): (part.rows, part.accuracy) for part in report.bins if part.rows}
    assert sum(rows for rows, _ in filled.values()) == 6
    assert report.bins[-1].rows == 1
    assert report.bins[-1].confidence == 1.0


def test_class_without_rows_is_left_out_of_macro_averages() -> None:
    """Recall of a class that never occurs is undefined and must not lower the mean."""
    report = evaluate_classification(_LABELS, ["negative"], np.array([[0.8, 0.1, 0.1]]))

    assert report.macro_recall == 1.0
    assert report.classes[2].recall == 0.0


def test_first_column_wins_a_tie() -> None:
    """Equal scores are answered by the first class, always."""
    report = evaluate_classification(("a", "b"), ["b"], np.array([[0.5, 0.5]]))

    assert report.confusion == ((0, 0), (1, 0))


def test_report_is_json() -> None:
    """The report's dictionary holds plain JSON values only."""
    report = evaluate_classification(_LABELS, _TRUTH, _SCORES.astype(np.float32))

    assert json.loads(json.dumps(report.to_dict()))["classes"][0]["label"] == "negative"


@pytest.mark.parametrize(
    ("labels", "truth", "scores", "message"),
    [
        (("a", "a"), ["a"], [[0.5, 0.5]], "each once"),
        (("a",), ["a"], [[1.0]], "two or more"),
        (("a", "b"), ["c"], [[0.5, 0.5]], "'c' is none of"),
        (("a", "b"), [], np.empty((0, 2)), "no rows"),
        (("a", "b"), ["a"], [[0.2, 0.3, 0.5]], r"shape \(1, 3\), wanted \(1, 2\)"),
        (("a", "b"), ["a"], [[np.nan, 0.5]], "finite"),
        (("a", "b"), ["a"], [[2.0, -1.0]], "between 0 and 1"),
    ],
)
def test_bad_input_is_named(
    labels: tuple[str, ...], truth: list[str], scores: list[list[float]], message: str
) -> None:
    """Input that cannot be measured is refused with what is wrong about it."""
    with pytest.raises(ValueError, match=message):
        evaluate_classification(labels, truth, np.asarray(scores, np.float64))


@given(st.data())
def test_report_adds_up(data: st.DataObject) -> None:
    """Counts add up to the rows, and ratios stay between 0 and 1."""
    rows = data.draw(st.integers(1, 20))
    truth = data.draw(st.lists(st.sampled_from(_LABELS), min_size=rows, max_size=rows))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    report = evaluate_classification(_LABELS, truth, rng.dirichlet(np.ones(3), rows))

    assert sum(map(sum, report.confusion)) == rows
    assert sum(part.rows for part in report.bins) == rows
    for ratio in (report.accuracy, report.macro_recall, report.macro_f1, report.ece):
        assert 0.0 <= ratio <= 1.0


def test_temperature_by_hand() -> None:
    """Three right of four at a gap of 4 means sigmoid(4 / T) = 3/4, T = 4 / ln 3."""
    logits = np.array([[4.0, 0.0]] * 4)

    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(4 / np.log(3), rel=1e-4)


def test_temperature_undoes_a_known_scaling() -> None:
    """Labels drawn from softmax(z) ask for T = 3 when the logits are 3 z."""
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(20_000, 3)) * 2
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    drawn = (rng.random((len(scores), 1)) > scores.cumsum(axis=1)).sum(axis=1)

    assert fit_temperature(3 * logits, np.minimum(drawn, 2)) == pytest.approx(3.0, rel=0.05)


def test_temperature_is_bounded() -> None:
    """Answers without a single mistake do not ask for an infinitely sharp score."""
    assert fit_temperature(np.array([[1.0, 0.0]]), np.array([0])) == pytest.approx(1 / 20, rel=1e-3)


def test_temperature_refuses_shapes_that_do_not_match() -> None:
    """Truth must have one entry per row of logits."""
    with pytest.raises(ValueError, match=r"shape \(2, 2\) do not fit"):
        fit_temperature(np.zeros((2, 2)), np.zeros(3, np.int64))
