"""Which rates to try, to find the highest that holds, again and again.  Pure: measuring is passed in.

The first time it is searched for from what a closed loop reached (:func:`augury.bench.sweep.search`); later repeats only
look at the neighbourhood of what was found, so that five of them do not take five times as long.
"""

from __future__ import annotations

from collections.abc import Callable

STEP = 1.08


def follow(holds: Callable[[float], bool], last: float, *, most: int = 4) -> float:
    """The highest rate that holds near *last*, in steps of 8 %.

    Args:
        holds: Measures a rate; whether it held.
        last: Where it was found before.
        most: Rates to measure at most.

    Returns:
        The highest that held; when none of the tried did, the next lower step.

    >>> follow(lambda rate: rate <= 100, 90)
    97.2
    >>> round(follow(lambda rate: rate <= 100, 120), 1)
    95.3
    """
    rate = last
    held = holds(rate)
    rising = held
    for _ in range(most - 1):
        if held != rising:
            break
        rate = rate * STEP if rising else rate / STEP
        held = holds(rate)
    return rate if held else rate / STEP


def seconds(rate: float, *, requests: int, shortest: float, longest: float) -> float:
    """How long to ask at *rate*, so that 1 % of the requests are a few.

    >>> seconds(10, requests=600, shortest=4, longest=10), seconds(1000, requests=600, shortest=4, longest=10)
    (10, 4)
    """
    return min(longest, max(shortest, requests / rate))
