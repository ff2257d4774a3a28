"""Wait a few milliseconds for the rest of a burst.

Clipper's delayed batching (Crankshaw et al., "Clipper: A Low-Latency Online Prediction Serving System",
NSDI 2017, section 4.3.2), after Nagle's algorithm; ``max_queue_delay_microseconds`` of Triton's dynamic
batcher.  For models whose batches cost much the same at all sizes, called by clients that send many rows
one by one.
"""

from __future__ import annotations

from augury.batching.policies.base import BatchDone, Choice, Load, PolicyContext, W, Waiting
from augury.batching.policies.company import age_urgency, by_length, take
from augury.batching.queue import RowQueue


class Delayed:
    """Releases a full batch at once, anything else ``delay_s`` after the oldest row came."""

    def __init__(self, context: PolicyContext) -> None:
        self._max_rows = context.max_rows
        self._delay_s = context.table.delay_s
        self._ageing_s = context.table.ageing_s
        self._window = context.table.window_of(context.max_rows)
        self._max_padding = context.table.max_padding

    def urgency(self, work: Waiting) -> float:
        return age_urgency(work, self._ageing_s)

    def admit(self, work: Waiting, queue: RowQueue[W], load: Load, now_s: float) -> float | None:
        return None

    def choose(self, queue: RowQueue[W], load: Load, now_s: float) -> Choice[W]:
        window = queue.window(self._window)
        release_s = min(work.enqueued_s for work in window) + self._delay_s
        if queue.rows < self._max_rows and now_s < release_s:
            return Choice([], look_again_s=release_s)
        batch, reason = by_length(window, self._max_rows, self._max_padding)
        return take(queue, batch, "timeout" if reason == "idle" and self._delay_s else reason)

    def observed(self, batch: BatchDone) -> None:
        """Learns nothing."""
