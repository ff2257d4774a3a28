"""How far the event loop is behind.

Where cores are short, requests wait in the sockets before the loop reads them, and answers before it
writes them.  Neither is seen by a queue; both are as long as it takes the loop to get to an answer that an
instance hands over, and that can be measured for nothing.
"""

from __future__ import annotations

import math
from typing import Final

# Weight of a lag that is longer than was expected: two in a row are believed.
RISE: Final = 0.5
# What was seen is forgotten at this pace, so that a pause of the loop costs no more than its like.
FADE_S: Final = 0.25
# Nothing longer is believed: a clock may have jumped.
MOST_S: Final = 10.0


class LoopLag:
    """Pure: is told what was seen, and when.

    Quick to rise, slow to fall: too little is an answer too late, too much a refusal that was not needed.
    """

    __slots__ = ("_lag_s", "_seen_s")

    def __init__(self) -> None:
        self._lag_s = 0.0
        self._seen_s = 0.0

    def seen(self, lag_s: float, now_s: float) -> None:
        """At *now_s* the loop got to something that had been ready for *lag_s*."""
        expected_s = self.at(now_s)
        if lag_s >= 0.0:  # NaN is nothing
            self._lag_s = max(expected_s, expected_s + RISE * (min(lag_s, MOST_S) - expected_s))
            self._seen_s = now_s

    def at(self, now_s: float) -> float:
        """Seconds that the loop is probably behind."""
        passed_s = now_s - self._seen_s
        if passed_s <= 0.0 or not self._lag_s:
            return self._lag_s
        return self._lag_s * math.exp(-passed_s / FADE_S)
