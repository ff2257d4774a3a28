"""How far off predictions of batches were: their rolling distribution, and whether the machine has changed.

Pure; one of each belongs to a :class:`~augury.batching.cost.CostModel`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

# Residuals of a bucket: its p99 is the third largest of them, so that two stalls do not make it.
RESIDUALS: Final = 256
# With fewer than so many of its own a bucket goes by those of all lengths.
FEW: Final = 48
# While even those are few, p99 is at least so many times the mean.
YOUNG_SPREAD: Final = 1.5
# Sorting 256 numbers takes 10 µs: one in so many observations pays it.
RESORT_EVERY: Final = 16
KEPT_RESIDUALS: Final = 33
# So many batches in a row beyond SHIFT to the same side: the machine has changed, not the batch.
SHIFT_RUN: Final = 6
SHIFT: Final = 1.5
# One that was stopped when it had taken longer than it should have counts as so many, and as having taken so
# many times its prediction: it would have gone on, and nothing is answered until this is noticed.
STOPPED_COUNTS: Final = 2
STOPPED_RATIO: Final = 2.0
# Batches of a run that are kept; with many instances most of them overlap.
MOST_RUN: Final = 64


class Residuals:
    """The last ratios of observed to predicted, and their quantiles."""

    def __init__(self) -> None:
        self.count = 0  # up to RESIDUALS
        self._ring: deque[float] = deque(maxlen=RESIDUALS)
        self._sorted: list[float] = []
        self._since = 0

    def add(self, ratio: float) -> None:
        self._ring.append(ratio)
        self.count = len(self._ring)
        self._since += 1
        if self._since >= RESORT_EVERY or self.count <= RESORT_EVERY:
            self._since = 0
            self._sorted = sorted(self._ring)

    def quantile(self, quantile: float) -> float:
        """The ratio that this part of them stays under."""
        ordered = self._sorted
        if not ordered:
            return YOUNG_SPREAD
        place = min(len(ordered) - 1, int(quantile * len(ordered)))
        if self.count < FEW and quantile > 0.5:
            return max(ordered[place], 1.0 + (YOUNG_SPREAD - 1.0) * (quantile - 0.5) / 0.49)
        return ordered[place]

    def summary(self) -> list[list[float]]:
        """Some of them, evenly over their distribution."""
        ordered = sorted(self._ring)
        if len(ordered) > KEPT_RESIDUALS:
            step = (len(ordered) - 1) / (KEPT_RESIDUALS - 1)
            ordered = [ordered[round(number * step)] for number in range(KEPT_RESIDUALS)]
        return [[ratio] for ratio in ordered]


class Drift:
    """Notices when all batches are off to the same side.

    Batches that were under way at the same time count as one: a machine that stands still for a moment
    makes all of them late, and tells nothing about the next.
    """

    def __init__(self) -> None:
        self._run: list[tuple[int, float, bool]] = []  # bucket, ratio, whether it was stopped
        self._side = 0
        self._strength = 0
        self._until_s = -math.inf  # when the last one that counted ended

    def note(
        self, bucket: int, ratio: float, *, began_s: float, took_s: float, stopped: bool
    ) -> tuple[float, list[tuple[int, float]]]:
        """A batch of *bucket* took *ratio* times its prediction, or more than that if it was *stopped*.

        Args:
            bucket: Of its length.
            ratio: Observed to predicted.
            began_s: When; NaN: it overlapped with none.
            took_s: Seconds that it took.
            stopped: Whether it had to be stopped for taking longer than nearly all of its kind.

        Returns:
            By how much all predictions are to be scaled, and the residuals that are certain by now.
        """
        side = 1 if stopped or ratio > SHIFT else -1 if ratio * SHIFT < 1.0 else 0
        certain: list[tuple[int, float]] = []
        if side != self._side or len(self._run) >= MOST_RUN:
            certain = self._forget(side)
        if not side:
            certain.append((bucket, ratio))
            return 1.0, certain
        self._run.append((bucket, ratio, stopped))
        if not began_s < self._until_s:
            self._strength += STOPPED_COUNTS if stopped else 1
            self._until_s = began_s + took_s
        if self._strength < SHIFT_RUN:
            return 1.0, certain
        ratios = sorted(
            max(ratio, STOPPED_RATIO) if stopped else ratio for _, ratio, stopped in self._run
        )
        factor = ratios[len(ratios) // 2]
        # Of what was stopped nobody knows how far off it was.
        certain += [(bucket, ratio / factor) for bucket, ratio, stopped in self._run if not stopped]
        self._forget(0)
        return factor, certain

    def _forget(self, side: int) -> list[tuple[int, float]]:
        """Begin anew on *side*; returns what the last run comes to."""
        run = [(bucket, ratio) for bucket, ratio, _ in self._run]
        self._run.clear()
        self._side, self._strength, self._until_s = side, 0, -math.inf
        return run
