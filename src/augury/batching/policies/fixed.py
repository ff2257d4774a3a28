"""A size and a timer: what TensorFlow Serving and TorchServe do.

TensorFlow Serving's ``BasicBatchScheduler`` (``max_batch_size``, ``batch_timeout_micros``) and TorchServe
(``batch_size``, ``max_batch_delay``) close a batch when it is full or when its first row has waited long
enough, rows in the order in which they came.  Here to be compared with, and for models that want all
batches of one size.
"""

from __future__ import annotations

from augury.batching.policies.base import BatchDone, Choice, Load, PolicyContext, W, Waiting
from augury.batching.policies.company import age_urgency, in_order, take
from augury.batching.queue import RowQueue


class FixedSize:
    """Releases a batch of ``max_rows``, or what there is after ``timeout_s``."""

    def __init__(self, context: PolicyContext) -> None:
        self._max_rows = context.max_rows
        self._timeout_s = context.table.timeout_s
        self._ageing_s = context.table.ageing_s

    def urgency(self, work: Waiting) -> float:
        return age_urgency(work, self._ageing_s)

    def admit(self, work: Waiting, queue: RowQueue[W], load: Load, now_s: float) -> float | None:
        return None

    def choose(self, queue: RowQueue[W], load: Load, now_s: float) -> Choice[W]:
        batch, full = in_order(queue.window(self._max_rows), self._max_rows)
        if full:
            return take(queue, batch, "full")
        # Not the first: a high priority may have overtaken the oldest.
        release_s = min(work.enqueued_s for work in batch) + self._timeout_s
        if now_s >= release_s:
            return take(queue, batch, "timeout")
        return Choice([], look_again_s=release_s)

    def observed(self, batch: BatchDone) -> None:
        """Learns nothing."""
