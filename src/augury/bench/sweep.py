"""Which rates to measure, to find the highest that holds.  Pure: measuring is passed in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

# The first rate: this part of what a closed loop of a few connections reaches.
FIRST_PART: Final = 0.25
# Multiples of the sustainable rate, to see whether the server collapses.
BEYOND: Final = (1.5, 2.0, 3.0)


def search(
    holds: Callable[[float], bool],
    first_rps: float,
    *,
    precision: float = 0.05,
    max_levels: int = 14,
    lowest_rps: float = 0.1,
) -> float | None:
    """The highest rate that holds, to *precision*.

    It doubles until a rate does not hold (or halves until one does), then takes geometric means.

    Args:
        holds: Measures a rate; whether it held.
        first_rps: Where to begin.
        precision: It ends when the lowest rate that failed is at most this part above the highest that held.
        max_levels: Rates to measure at most.
        lowest_rps: Below this nothing is tried.

    Returns:
        ``None`` when none held.

    >>> search(lambda rate: rate <= 100, 10, precision=0.2, max_levels=6)
    80
    """
    held: float | None = None
    failed: float | None = None
    rate = first_rps
    for _ in range(max_levels):
        if holds(rate):
            held = rate
        else:
            failed = rate
        if held is None:
            rate /= 2
            if rate < lowest_rps:
                break
        elif failed is None:
            rate *= 2
        elif failed <= held * (1 + precision):
            break
        else:
            rate = math.sqrt(held * failed)
    return held
