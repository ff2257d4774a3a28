"""Four coefficients that must not be negative, out of their normal equations.

Pure, and in plain Python: at this size a call of a numerical library costs more than the arithmetic.
"""

from __future__ import annotations

import math
from typing import Final

# Weight of the ridge, in units of what is known: about noise² / batches = 0.1² / 100, where it is best.
RIDGE: Final = 1e-4
_ALL: Final = range(4)
# All ways to leave coefficients out, the fullest first, so that the least is left out.
_SUBSETS: Final = sorted(
    (tuple(j for j in _ALL if mask >> j & 1) for mask in range(1, 16)), key=len, reverse=True
)


def solve_nonnegative(
    information: list[list[float]],
    moment: list[float],
    support: tuple[int, ...],
    flat: bool,
) -> tuple[float, float, float, float] | None:
    """Minimise ``theta'·A·theta / 2 - m·theta`` over ``theta >= 0``.

    Args:
        information: ``A``, four by four and symmetric.
        moment: ``m``; not all of it negative, since it comes from times.
        support: Which coefficients were positive the last time.
        flat: Whether only the first two may be positive.

    Returns:
        The coefficients; ``None`` where the numbers allow none.

    There are fifteen ways to leave some of four coefficients out, and one of them fulfils the conditions
    of Karush, Kuhn and Tucker, nearly always the one of the last time, *support*.  Columns are scaled to
    one size, and a small ridge shares out what the observations cannot tell apart.
    """
    if not all(0.0 < information[j][j] < math.inf for j in _ALL):
        return None
    scales = [math.sqrt(information[j][j]) for j in _ALL]
    a = [
        [information[i][j] / (scales[i] * scales[j]) + (RIDGE if i == j else 0.0) for j in _ALL]
        for i in _ALL
    ]
    m = [moment[j] / scales[j] for j in _ALL]
    allowed = (0, 1) if flat else (0, 1, 2, 3)
    for subset in (support, *_SUBSETS):
        if not subset or any(j not in allowed for j in subset):
            continue
        part = _solve([[a[i][j] for j in subset] for i in subset], [m[j] for j in subset])
        if part is None or min(part) < 0.0:
            continue
        theta = [0.0] * 4
        for j, value in zip(subset, part, strict=True):
            theta[j] = value
        if all(
            sum(a[j][i] * theta[i] for i in subset) >= m[j] - 1e-9 * abs(m[j])
            for j in allowed
            if j not in subset
        ):
            t0, t1, t2, t3 = (theta[j] / scales[j] for j in _ALL)
            return t0, t1, t2, t3
    return None


def _solve(a: list[list[float]], b: list[float]) -> list[float] | None:
    """Gaussian elimination of a small positive definite system, in place; ``None``: it is not."""
    size = len(b)
    for k in range(size):
        pivot = a[k][k]
        if not pivot > 0.0:
            return None
        for i in range(k + 1, size):
            factor = a[i][k] / pivot
            if factor:
                row, top = a[i], a[k]
                for j in range(k, size):
                    row[j] -= factor * top[j]
                b[i] -= factor * b[k]
    for k in range(size - 1, -1, -1):
        value = b[k]
        for j in range(k + 1, size):
            value -= a[k][j] * b[j]
        b[k] = value / a[k][k]
    return b
