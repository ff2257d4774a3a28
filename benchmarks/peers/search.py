"""Which rates to try, to find the highest that holds.  Pure: measuring is passed in.

Short runs say roughly where it is (:func:`augury.bench.sweep.search`); long ones then decide, and only a rate that held for
long is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable

STEP = 1.08


def settle_on(
    holds: Callable[[float], bool], first: float, *, most: int = 4, lowest: float = 0.5
) -> float | None:
    """The highest rate that *holds*, in steps of 8 %, from *first* on.

    Upwards it goes in single steps; downwards in growing ones, then back up in between.

    Args:
        holds: Measures a rate; whether it held.
        first: Where to begin.
        most: Rates to measure at most.
        lowest: Below this nothing is tried.

    Returns:
        The highest that was measured and held; ``None`` when none was.

    >>> settle_on(lambda rate: rate <= 100, 95)
    95
    >>> round(settle_on(lambda rate: rate <= 100, 120), 1)
    95.3
    >>> settle_on(lambda rate: False, 120)
    """
    held: float | None = None
    failed: float | None = None
    rate, step = first, STEP
    for _ in range(most):
        if holds(rate):
            held = rate
        else:
            failed = rate
        if held is None:
            rate /= step
            step *= step
            if rate < lowest:
                break
        elif failed is None:
            rate *= STEP
        elif failed <= held * STEP * 1.001:
            break
        else:
            rate = math.sqrt(held * failed)
    return held


def highest(holds: Callable[[int], bool], steps: int, first: int) -> int | None:
    """The highest step that holds: upwards from *first* until one does not, or downwards until one does.

    >>> highest(lambda step: step <= 5, 9, 3), highest(lambda step: step <= 1, 9, 3), highest(lambda step: False, 9, 3)
    (5, 1, None)
    >>> highest(lambda step: True, 3, -1)
    2
    """
    step = min(max(first, 0), steps - 1)
    if holds(step):
        while step + 1 < steps and holds(step + 1):
            step += 1
        return step
    while step > 0:
        step -= 1
        if holds(step):
            return step
    return None


def seconds(rate: float, *, requests: int, shortest: float, longest: float) -> float:
    """How long to ask at *rate*, so that 1 % of the requests are a few.

    >>> seconds(10, requests=600, shortest=4, longest=10), seconds(1000, requests=600, shortest=4, longest=10)
    (10, 4)
    """
    return min(longest, max(shortest, requests / rate))
