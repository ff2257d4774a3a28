"""Measure a classifier's answers against the truth.

Used by ``augury evaluate`` and by training, so that both mean the same by
each number.  Pure numpy: it reads no file and asks no server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CALIBRATION_BINS",
    "CalibrationBin",
    "ClassReport",
    "ClassificationReport",
    "evaluate_classification",
    "fit_temperature",
]

# The count that Guo et al. 2017 report with.
CALIBRATION_BINS: Final = 15

# Bounds of the search in log(temperature): a score 20 times sharper or
# flatter than the logits say is a broken model, not a miscalibrated one.
_LOG_TEMPERATURE_BOUND: Final = float(np.log(20.0))


@dataclass(frozen=True)
class ClassReport:
    """How one class fared; a ratio without denominator is 0.

    Attributes:
        label: The class.
        precision: Right among the rows predicted as this class.
        recall: Found among the rows that are of this class.
        f1: Harmonic mean of the two.
        support: Rows of this class.
        predicted: Rows predicted as this class.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(frozen=True)
class CalibrationBin:
    """Rows whose top score falls into one interval.

    Attributes:
        low: Lower bound, not included (but 0 is, in the first bin).
        high: Upper bound, included.
        rows: Rows in the bin.
        confidence: Mean top score; 0 without rows.
        accuracy: Share answered rightly; 0 without rows.
    """

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class ClassificationReport:
    """The measurements of one evaluation.

    Attributes:
        labels: The classes, in the order of the score columns.
        rows: Rows measured.
        accuracy: Share of rows answered rightly.
        macro_recall: Mean recall over the classes that have rows.
        macro_precision: Mean precision over the same classes.
        macro_f1: Mean F1 over the same classes.
        classes: One report per class.
        confusion: ``confusion[truth][predicted]`` counts rows.
        ece: Expected calibration error, 0 to 1.
        bins: The bins that ``ece`` was summed over.
        true_distribution: Share of rows per true class.
        predicted_distribution: Share of rows per predicted class.
    """

    labels: tuple[str, ...]
    rows: int
    accuracy: float
    macro_recall: float
    macro_precision: float
    macro_f1: float
    classes: tuple[ClassReport, ...]
    confusion: tuple[tuple[int, ...], ...]
    ece: float
    bins: tuple[CalibrationBin, ...]
    true_distribution: tuple[float, ...]
    predicted_distribution: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Answer the report as plain JSON values."""
        return asdict(self)


def evaluate_classification(
    labels: Sequence[str], truth: Sequence[str], scores: NDArray[np.floating[Any]]
) -> ClassificationReport:
    """Compare each row's highest score with its true label.

    The official metric of SemEval's sentiment task is ``macro_recall``
    (Rosenthal et al. 2017).  The calibration error is the mean gap between
    top score and accuracy over 15 bins of equal width, weighted by their rows
    (Naeini et al. 2015; Guo et al. 2017, eq. 3).

    Args:
        labels: Two classes or more, each once, in the order of the columns.
        truth: The true label of each row; one row or more.
        scores: Shape ``(rows, len(labels))``, each row a distribution.  The
            first column wins a tie.

    Raises:
        ValueError: Labels repeat or are too few, a true label is none of
            them, there are no rows, or *scores* has another shape, holds a
            number that is not finite or lies outside 0 to 1.

    >>> report = evaluate_classification(
    ...     ("no", "yes"), ["no", "yes", "yes"], np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    ... )
    >>> report.macro_recall, report.confusion
    (0.75, ((1, 0), (1, 1)))
    """
    positions = {label: position for position, label in enumerate(labels)}
    if len(positions) != len(labels) or len(labels) < 2:
        raise ValueError(f"labels must be two or more, each once: {tuple(labels)!r}")
    unknown = sorted(set(truth) - positions.keys())
    if unknown:
        raise ValueError(f"true label {unknown[0]!r} is none of {tuple(labels)!r}")
    if not truth:
        raise ValueError("there are no rows to evaluate")
    if scores.shape != (len(truth), len(labels)):
        raise ValueError(
            f"scores have shape {scores.shape}, wanted {(len(truth), len(labels))} "
            "(rows of truth, labels)"
        )
    # Rounding in FP32 may lift a certain score a little above 1.
    if not (np.isfinite(scores).all() and scores.min() >= 0.0 and scores.max() <= 1.0 + 1e-5):
        raise ValueError("scores must be finite and lie between 0 and 1")

    true_index = np.array([positions[label] for label in truth], np.int64)
    predicted_index = scores.argmax(axis=1)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (true_index, predicted_index), 1)
    classes = tuple(
        _report_class(label, confusion, position) for position, label in enumerate(labels)
    )
    present = [report for report in classes if report.support]
    bins = _fill_bins(
        np.minimum(scores.max(axis=1).astype(np.float64), 1.0), true_index == predicted_index
    )
    rows = len(truth)
    return ClassificationReport(
        labels=tuple(labels),
        rows=rows,
        accuracy=float(np.trace(confusion) / rows),
        macro_recall=float(np.mean([report.recall for report in present])),
        macro_precision=float(np.mean([report.precision for report in present])),
        macro_f1=float(np.mean([report.f1 for report in present])),
        classes=classes,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        ece=sum(part.rows * abs(part.accuracy - part.confidence) for part in bins) / rows,
        bins=bins,
        true_distribution=tuple(float(share) for share in confusion.sum(axis=1) / rows),
        predicted_distribution=tuple(float(share) for share in confusion.sum(axis=0) / rows),
    )


def _report_class(label: str, confusion: NDArray[np.int64], position: int) -> ClassReport:
    right = int(confusion[position, position])
    support = int(confusion[position].sum())
    predicted = int(confusion[:, position].sum())
    return ClassReport(
        label=label,
        precision=right / predicted if predicted else 0.0,
        recall=right / support if support else 0.0,
        f1=2 * right / (support + predicted) if support + predicted else 0.0,
        support=support,
        predicted=predicted,
    )


def _fill_bins(
    confidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[CalibrationBin, ...]:
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    # Bins are open below and closed above, as in Guo et al. 2017, section 2.
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, CALIBRATION_BINS - 1)
    rows = np.bincount(place, minlength=CALIBRATION_BINS)
    confidences = np.bincount(place, confidence, CALIBRATION_BINS)
    rights = np.bincount(place, right.astype(np.float64), CALIBRATION_BINS)
    return tuple(
        CalibrationBin(
            low=float(edges[bin_]),
            high=float(edges[bin_ + 1]),
            rows=int(rows[bin_]),
            confidence=float(confidences[bin_] / max(rows[bin_], 1)),
            accuracy=float(rights[bin_] / max(rows[bin_], 1)),
        )
        for bin_ in range(CALIBRATION_BINS)
    )


def fit_temperature(
    logits: NDArray[np.floating[Any]], truth_index: NDArray[np.integer[Any]]
) -> float:
    """Find the temperature that makes the scores most likely.

    Minimises the mean negative log-likelihood of ``softmax(logits / T)`` over
    ``T`` (temperature scaling, Guo et al. 2017, section 4.2).  It is convex in
    ``1 / T``, hence has one valley in ``log(T)``, which a golden-section
    search finds.

    Args:
        logits: Shape ``(rows, classes)``, one row or more.
        truth_index: Shape ``(rows,)``, the column of each row's true class.

    Returns:
        ``T`` between 1/20 and 20; above 1 the model was too sure of itself.

    Raises:
        ValueError: The shapes do not match, or there are no rows.

    >>> round(fit_temperature(np.array([[4.0, 0.0]] * 4), np.array([0, 0, 0, 1])), 2)
    3.64
    """
    if logits.ndim != 2 or not len(logits) or truth_index.shape != (len(logits),):
        raise ValueError(
            f"logits of shape {logits.shape} do not fit truth of shape {truth_index.shape}"
        )
    wide = logits.astype(np.float64)
    wide = wide - wide.max(axis=1, keepdims=True)
    chosen = wide[np.arange(len(wide)), truth_index]

    def loss(log_temperature: float) -> float:
        factor = float(np.exp(-log_temperature))
        return float(np.mean(np.log(np.exp(wide * factor).sum(axis=1)) - chosen * factor))

    low, high = -_LOG_TEMPERATURE_BOUND, _LOG_TEMPERATURE_BOUND
    golden = (np.sqrt(5.0) - 1.0) / 2.0
    while high - low > 1e-6:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
