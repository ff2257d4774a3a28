"""Grow while the objective holds, shrink when it does not.

Clipper (Crankshaw et al., NSDI 2017, section 4.3.1): additive increase and multiplicative decrease of the
largest batch, with a decrease much gentler than TCP's, since what a batch takes changes little.  It needs no
model of the cost, and finds the largest batch that an objective for the time of one batch allows.
"""

from __future__ import annotations

from typing import Final

from augury.batching.policies.base import BatchDone, Choice, Load, PolicyContext, W, Waiting
from augury.batching.policies.company import age_urgency, by_length, take
from augury.batching.queue import RowQueue

# Clipper's own: one row more after a batch that held, a tenth less after one that missed.
INCREASE_ROWS: Final = 1.0
DECREASE: Final = 0.9


class AdditiveIncrease:
    """Batches of a size that moves until ``objective_s`` is just held."""

    def __init__(self, context: PolicyContext) -> None:
        self._max_rows = context.max_rows
        self._objective_s = context.table.objective_s
        self._ageing_s = context.table.ageing_s
        self._window = context.table.window_of(context.max_rows)
        self._max_padding = context.table.max_padding
        self._rows = 1.0

    @property
    def rows(self) -> int:
        """Rows of the largest batch as of now."""
        return int(self._rows)

    def urgency(self, work: Waiting) -> float:
        return age_urgency(work, self._ageing_s)

    def admit(self, work: Waiting, queue: RowQueue[W], load: Load, now_s: float) -> float | None:
        return None

    def choose(self, queue: RowQueue[W], load: Load, now_s: float) -> Choice[W]:
        window = queue.window(self._window)
        batch, reason = by_length(window, self.rows, self._max_padding)
        if reason == "full" and self.rows < self._max_rows:
            reason = "objective"
        return take(queue, batch, reason)

    def observed(self, batch: BatchDone) -> None:
        if batch.runtime_s > self._objective_s:
            self._rows = max(1.0, min(self._rows, batch.rows) * DECREASE)
        elif batch.rows >= self.rows and not batch.stopped:
            # A smaller batch says nothing about a larger one.
            self._rows = min(float(self._max_rows), self._rows + INCREASE_ROWS)
