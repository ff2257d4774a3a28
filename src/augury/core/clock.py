"""Time, passed in: monotonic for durations and deadlines, wall for dates.

Decision code takes a :class:`Clock` (or plain numbers) and never asks the operating system itself,
so that its tests neither sleep nor guess.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""


class SystemClock:
    """The operating system's time."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()


class ManualClock:
    """A clock that stands until it is moved.

    >>> clock = ManualClock(now_s=10.0)
    >>> clock.advance(2.5)
    >>> clock.monotonic()
    12.5
    """

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def advance(self, seconds: float) -> None:
        """Move forward by *seconds*."""
        self.now_s += seconds

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s
