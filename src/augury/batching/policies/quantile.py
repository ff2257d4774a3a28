"""The largest batch whose p99 is expected to fit the objective.

Clipper's other way (Crankshaw et al., NSDI 2017, section 4.3.1) regresses the 99th percentile of a
batch's time on its rows, and takes the most rows that fit.  Ours asks the cost model, which knows lengths
too, so that short rows make larger batches.
"""

from __future__ import annotations

from augury.batching.policies.base import BatchDone, Choice, Load, PolicyContext, W, Waiting
from augury.batching.policies.company import age_urgency, by_length, take
from augury.batching.queue import RowQueue


class Quantile:
    """Batches whose p99 stays within ``objective_s``, by the cost model."""

    def __init__(self, context: PolicyContext) -> None:
        self._max_rows = context.max_rows
        self._objective_s = context.table.objective_s
        self._ageing_s = context.table.ageing_s
        self._window = context.table.window_of(context.max_rows)
        self._max_padding = context.table.max_padding
        self._cost = context.cost

    def urgency(self, work: Waiting) -> float:
        return age_urgency(work, self._ageing_s)

    def admit(self, work: Waiting, queue: RowQueue[W], load: Load, now_s: float) -> float | None:
        return None

    def choose(self, queue: RowQueue[W], load: Load, now_s: float) -> Choice[W]:
        batch, reason = by_length(queue.window(self._window), self._max_rows, self._max_padding)
        if self._cost.known:
            fitting = self._fitting(batch)
            if fitting < len(batch):
                batch, reason = batch[:fitting], "objective"
        return take(queue, batch, reason)

    def observed(self, batch: BatchDone) -> None:
        """The cost model has learnt already."""

    def _fitting(self, batch: list[W]) -> int:
        """How many pieces of *batch* fit the objective; the first goes in any case."""
        rows, longest = batch[0].rows, batch[0].length
        for count, work in enumerate(batch[1:], start=1):
            rows += work.rows
            longest = max(longest, work.length)
            if self._cost.tail(rows, longest) > self._objective_s:
                return count
        return len(batch)
