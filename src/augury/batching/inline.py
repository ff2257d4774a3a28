"""Which models are computed on the event loop: those that take less than a way between threads.

Handing work to an instance and its answer back costs two changes of thread.  A model that is quicker than
that is computed at once, where the request stands, if nothing of it waits or is under way.

:class:`InlineGate` decides, from measured times alone; :mod:`augury.batching.hop` measures what the way
costs on this machine.  See ``docs/decisions/0017-inline-and-budget.md``.
"""

from __future__ import annotations

from typing import Final, Literal

from augury.batching.cost import CostModel

InlineMode = bool | Literal["auto"]

# What is measured is believed between these: an idle machine in a good moment, and a very slow one.
LEAST_HOP_S: Final = 50e-6
MOST_HOP_S: Final = 500e-6

# This part of the runs must be below the threshold.
QUANTILE: Final = 0.9
# One slow run weighs as much as so many quick ones ...
SLOW_WEIGHT: Final = 8
# ... and at this weight, eight slow runs in a row, the model leaves the event loop,
MOST_STRIKES: Final = 64
# first for so long, each further time for twice as long, up to the second number.
FIRST_BREAK_S: Final = 1.0
MOST_BREAK_S: Final = 60.0
# While it is not computed inline, its costs are looked at so often.
LOOK_AGAIN_S: Final = 1.0
# One inline run in so many teaches the cost model, which takes 10 µs to learn.
LEARN_EVERY: Final = 32


class InlineGate:
    """Whether a model is computed inline, and up to how many rows at once.

    Written on the event loop, but for :meth:`look` under the scheduler's lock.

    Args:
        mode: ``[batching] inline``: "auto", or whatever the costs are, always or never.
        hop_s: What a way between threads takes: the threshold.
        max_rows: Rows of a run at most.
    """

    __slots__ = (
        "_break_s",
        "_closed_until_s",
        "_max_rows",
        "_mode",
        "_next_look_s",
        "_runs",
        "_strikes",
        "limit_s",
        "rows",
    )

    def __init__(self, mode: InlineMode, hop_s: float, max_rows: int) -> None:
        self._mode = mode
        self._max_rows = max_rows
        self.limit_s = min(max(hop_s, LEAST_HOP_S), MOST_HOP_S)
        # So many rows may be computed inline; 0: none.
        self.rows = max_rows if mode is True else 0
        self._runs = 0
        self._strikes = 0
        self._break_s = FIRST_BREAK_S
        self._closed_until_s = 0.0
        self._next_look_s = 0.0

    @property
    def always(self) -> bool:
        """Whether the costs do not matter."""
        return self._mode is True

    def look(self, cost: CostModel, now_s: float) -> None:
        """See what the model costs by now, unless that was seen a moment ago."""
        if self._mode != "auto" or now_s < self._next_look_s or now_s < self._closed_until_s:
            return
        self._next_look_s = now_s + LOOK_AGAIN_S
        rows = self._max_rows
        # A NaN, as of a model that is not known, is below nothing.
        while rows and not cost.tail(rows, 1, QUANTILE) <= self.limit_s:
            rows //= 2
        self.rows = rows

    def ran(self, seconds: float, now_s: float) -> bool:
        """A run on the event loop took so long; returns whether the cost model should learn it."""
        self._runs += 1
        if seconds > self.limit_s:
            self._strikes += SLOW_WEIGHT
            if self._strikes >= MOST_STRIKES and self._mode == "auto":
                self.rows = 0
                self._strikes = 0
                self._closed_until_s = now_s + self._break_s
                self._break_s = min(2.0 * self._break_s, MOST_BREAK_S)
                return True
        elif self._strikes:
            self._strikes -= 1
        return self._runs % LEARN_EVERY == 0
