"""What a batch takes: learnt from the batches themselves.

    T(n, S) = a + d·n + b·n·S + c·n·S²

with ``n`` rows and padded length ``S`` (1 for models without a length axis, where only ``a + d·n`` is
left): ``a`` is paid once a batch, ``d`` a row, ``b`` a token, and ``c`` for what attention makes of each
pair of tokens.  Pure: no clock; the scheduler tells what it measured, under its lock.

The coefficients are non-negative recursive least squares.  Errors count relative to the time, so that
long batches do not drown short ones.  Forgetting is *directional* (Cao and Schwartz, "A directional
forgetting algorithm based on the decomposition of the information matrix", Automatica 36, 2000): a batch
makes the model forget only what that batch tells anew, so that hours of one shape do not blow the rest of
the model up.  What is far off is clipped; only when several batches in a row are off to the same side,
the machine has become another one, and all coefficients are scaled at once.

The tail is the rolling distribution of observed / predicted, one for each power of two of the length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from augury.batching.least_squares import solve_nonnegative
from augury.batching.residuals import FEW, RESIDUALS, Drift, Residuals

# Part of what is known along a direction that is forgotten with each batch that tells about it: about
# the last hundred batches count, a second of a quick model. Fewer would follow the noise.
FORGETTING: Final = 0.01
# Observations count as at most so many times their prediction, or as at least its inverse: a stall of the
# machine moves the model by one hundredth of a factor of two.
CLIP: Final = 2.0
# The fit is made anew so often; each of the first YOUNG batches makes it anew.
REFIT_EVERY: Final = 16
YOUNG: Final = 16
# Enough to be used: batches, and shapes among them; or so many batches of whatever shape.
KNOWN_BATCHES: Final = 6
KNOWN_SHAPES: Final = 3
KNOWN_ALIKE: Final = 32
# Shapes that are remembered for the next start, one for each pair of powers of two.
MOST_SHAPES: Final = 64
# What was kept counts as so many batches of each shape: enough to start on, little enough to be corrected.
KEPT_WEIGHT: Final = 5.0
# Beyond these nothing is believed, measured or read from disk.
MOST_ROWS: Final = 1 << 24
MOST_LENGTH: Final = 1 << 24
MOST_SECONDS: Final = 86_400.0
LEAST_SECONDS: Final = 1e-9
# A batch that was stopped says that the estimate is wrong where it had taken longer than this part of such
# batches do; batches are made so that about this part of them is in time.
STOPPED_QUANTILE: Final = 0.95

_FEATURES: Final = range(4)


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Seconds: of a batch (a), of each row (d), of each token (b), of each token's square (c)."""

    a: float
    d: float
    b: float
    c: float


class CostModel:
    """Predicts what a batch takes.

    ``length`` is the padded length of the batch everywhere; 0 and 1 mean a model without a length axis.
    """

    def __init__(self) -> None:
        self.known = False
        self.observations = 0
        self._theta = (0.0, 0.0, 0.0, 0.0)  # for lengths in units of self._unit
        self._a = self._d = self._b = self._c = 0.0  # for lengths as they are
        self._unit = 0.0  # the first length: keeps the features of one size
        self._flat = True  # no length but 1 was seen: only a and d can be told apart
        self._information = [[0.0] * 4 for _ in _FEATURES]
        self._moment = [0.0] * 4
        self._support: tuple[int, ...] = (0, 1, 2, 3)
        self._since_fit = 0
        self._shapes: dict[tuple[int, int], tuple[int, int]] = {}
        self._all = Residuals()
        self._buckets: dict[int, Residuals] = {}
        self._drift = Drift()

    @property
    def coefficients(self) -> Coefficients:
        """The model as it is now; zeros while it has seen nothing."""
        return Coefficients(self._a, self._d, self._b, self._c)

    def predict(self, rows: int, length: int) -> float:
        """Mean seconds of a batch; NaN while not :attr:`known`."""
        if not self.known:
            return math.nan
        size = length or 1
        return self._a + rows * (self._d + size * (self._b + size * self._c))

    def tail(self, rows: int, length: int, quantile: float = 0.99) -> float:
        """Seconds that *quantile* of such batches stay under; NaN while not :attr:`known`."""
        return self.predict(rows, length) * self.spread(length, quantile)

    def spread(self, length: int, quantile: float = 0.99) -> float:
        """How many times the mean *quantile* of the batches of about that length stay under."""
        return self._spread((length or 1).bit_length(), quantile)

    def _spread(self, bucket: int, quantile: float) -> float:
        residuals = self._buckets.get(bucket)
        if residuals is None or residuals.count < FEW:
            residuals = self._all
        return residuals.quantile(quantile)

    def row_s(self, length: int) -> float:
        """What one more row of that length adds to a batch of that length."""
        size = length or 1
        return self._d + size * (self._b + size * self._c)

    def rows_s(self, rows: float, lengths: float, squares: float) -> float:
        """What many rows take without padding, and without what each batch costs.

        Args:
            rows: How many.
            lengths: Sum of their lengths.
            squares: Sum of the squares of their lengths.
        """
        return self._d * rows + self._b * lengths + self._c * squares

    def observe(
        self,
        rows: int,
        length: int,
        seconds: float,
        *,
        began_s: float = math.nan,
        at_least: bool = False,
    ) -> None:
        """Learn from a batch; what cannot be is ignored.

        Args:
            rows: Rows in it.
            length: Its padded length.
            seconds: What it took.
            began_s: When it began, on any clock; batches that overlap in time are no proof of each other.
            at_least: Whether it was stopped then, and would have taken longer.
        """
        size = length or 1
        if not (
            0 < rows <= MOST_ROWS
            and 0 < size <= MOST_LENGTH
            and LEAST_SECONDS <= seconds <= MOST_SECONDS
        ):
            return  # NaN too
        if at_least and seconds <= self.predict(rows, size):
            return  # nothing new: it was not expected to be over
        self.observations += 1
        if not self._unit:
            self._unit = float(size)
        if size > 1:
            self._flat = False
        shape = (rows.bit_length(), size.bit_length())
        if shape not in self._shapes and len(self._shapes) < MOST_SHAPES:
            self._shapes[shape] = (rows, size)
        believed = seconds
        weight = 1.0 / seconds
        if self.known:
            predicted = self._a + rows * (self._d + size * (self._b + size * self._c))
            if predicted > 0.0:
                self._residual(shape[1], seconds, predicted, began_s, at_least)
                believed = min(max(seconds, predicted / CLIP), predicted * CLIP)
                weight = 1.0 / predicted
        self._learn(rows, size, believed, weight)
        self._since_fit += 1
        if self._since_fit >= REFIT_EVERY or self.observations <= YOUNG:
            self._fit()
        if not self.known:
            seen = self.observations
            self.known = (
                seen >= KNOWN_BATCHES and len(self._shapes) >= KNOWN_SHAPES
            ) or seen >= KNOWN_ALIKE

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`from_dict` wants; JSON-able, and readable in a package's provenance."""
        shapes = [
            [rows, size, self.predict(rows, size)]
            for rows, size in self._shapes.values()
            if self.known
        ]
        return {
            "coefficients": asdict(self.coefficients),
            "observations": self.observations,
            "shapes": shapes,
            "residuals": self._all.summary(),
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> CostModel:
        """A model that knows what :meth:`to_dict` told, and unlearns it quickly.

        It learns the kept shapes anew, rather than believing matrices: whatever lies on the disk, the
        coefficients are finite and not negative.

        Raises:
            ValueError: *kept* is not what :meth:`to_dict` tells; the message says where.
        """
        model = cls()
        shapes = _numbers(kept, "shapes", columns=3)
        residuals = [row[0] for row in _numbers(kept, "residuals", columns=1)]
        for rows, size, seconds in shapes[:MOST_SHAPES]:
            if not (
                1 <= rows <= MOST_ROWS
                and 1 <= size <= MOST_LENGTH
                and rows == int(rows)
                and size == int(size)
                and LEAST_SECONDS <= seconds <= MOST_SECONDS
            ):
                raise ValueError(
                    f"kept cost model: shape {[rows, size, seconds]} is not [rows, length, seconds]"
                )
            model._unit = model._unit or size
            model._flat = model._flat and size == 1
            whole = (int(rows), int(size))
            model._shapes.setdefault((whole[0].bit_length(), whole[1].bit_length()), whole)
            model._learn(*whole, seconds, math.sqrt(KEPT_WEIGHT) / seconds, forget=False)
        for ratio in residuals[:RESIDUALS]:
            if not 0.0 < ratio < 1e6:
                raise ValueError(f"kept cost model: residual {ratio} is no ratio of times")
            model._all.add(ratio)
        if model._shapes:
            model._fit()
            model.known = True
            model.observations = KNOWN_BATCHES
        return model

    def _learn(
        self, rows: int, size: int, seconds: float, weight: float, *, forget: bool = True
    ) -> None:
        """Add one equation ``x·theta = seconds``, times *weight*, to the normal equations."""
        scaled = size / self._unit
        x0 = weight
        x1 = weight * rows
        x2 = x1 * scaled
        x3 = x2 * scaled
        target = weight * seconds
        row0, row1, row2, row3 = self._information
        m0, m1, m2, m3 = self._moment
        a00, a01, a02, a03 = row0
        _, a11, a12, a13 = row1
        _, _, a22, a23 = row2
        a33 = row3[3]
        if forget:
            v0 = a00 * x0 + a01 * x1 + a02 * x2 + a03 * x3
            v1 = a01 * x0 + a11 * x1 + a12 * x2 + a13 * x3
            v2 = a02 * x0 + a12 * x1 + a22 * x2 + a23 * x3
            v3 = a03 * x0 + a13 * x1 + a23 * x2 + a33 * x3
            told = x0 * v0 + x1 * v1 + x2 * v2 + x3 * v3
            if told > 0.0:
                # A <- A - k·(A x)(A x)'; the estimate stays: m = A·theta loses k·(A x)(x·m).
                k = FORGETTING / told
                k0, k1, k2, k3 = k * v0, k * v1, k * v2, k * v3
                along = x0 * m0 + x1 * m1 + x2 * m2 + x3 * m3
                a00 -= k0 * v0
                a01 -= k0 * v1
                a02 -= k0 * v2
                a03 -= k0 * v3
                a11 -= k1 * v1
                a12 -= k1 * v2
                a13 -= k1 * v3
                a22 -= k2 * v2
                a23 -= k2 * v3
                a33 -= k3 * v3
                m0 -= k0 * along
                m1 -= k1 * along
                m2 -= k2 * along
                m3 -= k3 * along
        row0[:] = a00 + x0 * x0, a01 + x0 * x1, a02 + x0 * x2, a03 + x0 * x3
        row1[:] = row0[1], a11 + x1 * x1, a12 + x1 * x2, a13 + x1 * x3
        row2[:] = row0[2], row1[2], a22 + x2 * x2, a23 + x2 * x3
        row3[:] = row0[3], row1[3], row2[3], a33 + x3 * x3
        self._moment = [m0 + x0 * target, m1 + x1 * target, m2 + x2 * target, m3 + x3 * target]

    def _fit(self) -> None:
        """Solve for the coefficients that are not negative."""
        self._since_fit = 0
        theta = solve_nonnegative(self._information, self._moment, self._support, self._flat)
        if theta is None:  # rounding has eaten the equations; what is known makes new ones
            self._information = [[0.0] * 4 for _ in _FEATURES]
            self._moment = [0.0] * 4
            for rows, size in self._shapes.values():
                predicted_s = self.predict(rows, size)
                if predicted_s > 0.0:
                    weight = math.sqrt(KEPT_WEIGHT) / predicted_s
                    self._learn(rows, size, predicted_s, weight, forget=False)
            return
        self._support = tuple(j for j in _FEATURES if theta[j] > 0.0)
        self._set(theta)

    def _set(self, theta: tuple[float, float, float, float]) -> None:
        self._theta = theta
        self._a, self._d = theta[0], theta[1]
        self._b = theta[2] / self._unit
        self._c = theta[3] / self._unit**2

    def _residual(
        self, bucket: int, seconds: float, predicted_s: float, began_s: float, at_least: bool
    ) -> None:
        """Note how far off a prediction was; notice when all of them are."""
        ratio = seconds / predicted_s
        stopped = at_least and ratio > self._spread(bucket, STOPPED_QUANTILE)
        factor, certain = self._drift.note(
            bucket, ratio, began_s=began_s, took_s=seconds, stopped=stopped
        )
        if factor != 1.0:
            self._moment = [moment * factor for moment in self._moment]
            t0, t1, t2, t3 = self._theta
            self._set((t0 * factor, t1 * factor, t2 * factor, t3 * factor))
        for where, ratio in certain:
            self._all.add(ratio)
            residuals = self._buckets.get(where)
            if residuals is None:
                residuals = self._buckets[where] = Residuals()
            residuals.add(ratio)


def _numbers(kept: Mapping[str, Any], key: str, columns: int) -> list[list[float]]:
    """*kept[key]* as rows of numbers.

    Raises:
        ValueError: It is something else.
    """
    table = kept.get(key)
    if not isinstance(table, list):
        raise ValueError(f"kept cost model: {key} is no list")
    rows = []
    for row in table:
        if (
            not isinstance(row, list)
            or len(row) != columns
            or not all(
                isinstance(value, int | float) and not isinstance(value, bool) for value in row
            )
        ):
            raise ValueError(f"kept cost model: {key} holds {row!r}, not {columns} numbers")
        try:
            rows.append([float(value) for value in row])
        except OverflowError:  # an integer of hundreds of digits
            raise ValueError(f"kept cost model: {key} holds a number that is too large") from None
    return rows
