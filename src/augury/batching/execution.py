"""One batch, from its pieces of work to their answers.

A batch that fails is computed again in halves until the guilty rows stand alone: one guilty row of ``n``
costs ``2·log2(n)`` further runs.  Whoever has gone meanwhile, or is too late, is left out of them.
Whatever a model raises or answers, everybody who waits is told, and outputs of the wrong length reach
nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from augury.batching.cost import CostModel
from augury.batching.journal import INLINE, Dispatch, Journal
from augury.batching.merge import (
    gather_outputs,
    group_alike,
    merge_columns,
    padding_ratio,
    split_outputs,
)
from augury.batching.policies.base import BatchDone
from augury.batching.work import Delivery, RowErrors, Work, WorkResult, public_error
from augury.core.cancellation import Cancellation, RunCancelled
from augury.core.clock import Clock
from augury.core.errors import AuguryError, DeadlineExceeded, RuntimeFailed
from augury.core.tensor import Array, Columns, take_rows
from augury.observe.metrics import VersionMetrics

RETRY: Final = "retry"


class RunBatch(Protocol):
    """Computes a merged batch."""

    def __call__(
        self, inputs: dict[str, Array], rows: int, cancel: Cancellation | None, /
    ) -> tuple[dict[str, Array], RowErrors]:
        """Outputs of *rows* rows, and the rows that were refused."""


class Ledger:
    """Where a version's batches are counted: its metrics and its journal.

    Args:
        metrics: What Prometheus scrapes.
        journal: What was last dispatched.
    """

    def __init__(self, metrics: VersionMetrics, journal: Journal) -> None:
        self.metrics = metrics
        self.journal = journal

    def dispatched(self, dispatch: Dispatch, queue_s: Sequence[float]) -> None:
        """A batch is over; *queue_s* tells how long each of its pieces had waited."""
        self.journal.add(dispatch)
        if dispatch.outcome == "ok":
            self.metrics.batch_done(
                rows=dispatch.rows,
                padding_ratio=dispatch.padding_ratio,
                queue_s=queue_s,
                runtime_s=dispatch.runtime_s,
                predicted_s=dispatch.predicted_s,
                reason=dispatch.reason,
            )
        else:
            self.metrics.batch_failed(dispatch.reason)

    def inlined(self, at_s: float, rows: int, runtime_s: float) -> None:
        """A batch was computed on the event loop, whose thread this is."""
        self.journal.add_inline(at_s, rows, runtime_s)
        self.metrics.inline_done(rows, runtime_s)

    def shed(self, reason: str, pieces: int = 1) -> None:
        """*pieces* of work get no answer, for want of time."""
        if pieces:
            self.metrics.shed(reason, pieces)
            self.journal.shed(reason, pieces)


class Execution:
    """Computes the batches of one instance.

    Args:
        name: The model, for messages.
        run: Computes a merged batch.
        cost: Predicts; it is only asked here.
        clock: Monotonic time.
        ledger: Where batches are counted.
        hand_over: Takes answers to those who wait; any thread may call it.
    """

    def __init__(
        self,
        name: str,
        run: RunBatch,
        *,
        cost: CostModel,
        clock: Clock,
        ledger: Ledger,
        hand_over: Callable[[Sequence[Delivery]], None],
    ) -> None:
        # The pieces that are computed just now, and how to stop that; read by the event loop.
        self.under_way: tuple[Sequence[Work], Cancellation] | None = None
        # What was computed; the scheduler takes it out and has the cost model learn it.
        self.done: list[BatchDone] = []
        self._name = name
        self._run = run
        self._cost = cost
        self._clock = clock
        self._ledger = ledger
        self._hand_over = hand_over

    def compute(self, works: Sequence[Work], reason: str) -> None:
        """Run *works* as one batch, or in parts if it fails, and hand the answers over."""
        if not works:
            return
        parts = [work.columns for work in works]
        try:
            merged = merge_columns(parts)
        except Exception as error:  # noqa: BLE001 - not alike, in one of several ways
            self._part_unlike(works, reason, error)
            return
        batch = _Begun(works, reason, self._cost, self._clock.monotonic())
        cancel = Cancellation()
        self.under_way = (works, cancel)
        try:
            batch.padding_ratio = padding_ratio(parts, merged)
            outputs, errors = self._run_checked(merged, batch.rows, cancel)
        except BaseException as error:  # noqa: BLE001 - a model may even call sys.exit()
            self.under_way = None
            # Who waited for a cancelled run has gone, or has been told by whoever cancelled it.
            if not self._failed(batch, cancel):
                self._isolate(works, error)
            return
        self.under_way = None
        runtime_s = self._clock.monotonic() - batch.started_s
        queue_s = [batch.started_s - work.enqueued_s for work in works]
        start = 0
        deliveries: list[Delivery] = []
        for work, part, waited_s in zip(
            works, split_outputs(outputs, [work.rows for work in works]), queue_s, strict=True
        ):
            own: RowErrors = {}
            if errors:
                own = {
                    row: errors[start + row] for row in range(work.rows) if start + row in errors
                }
            deliveries.append((work, WorkResult(part, own, waited_s, runtime_s)))
            start += work.rows
        # Counted first: who has an answer finds it in the metrics.
        self._ended(batch, runtime_s, queue_s)
        self._hand_over(deliveries)

    def _ended(self, batch: _Begun, runtime_s: float, queue_s: Sequence[float]) -> None:
        self._ledger.dispatched(batch.dispatch(runtime_s, "ok"), queue_s)
        self._note(batch, runtime_s, stopped=False)

    def _note(self, batch: _Begun, runtime_s: float, *, stopped: bool) -> None:
        """Leave what is to be learnt to the scheduler."""
        self.done.append(
            BatchDone(
                batch.rows,
                batch.length,
                batch.predicted_s,
                runtime_s,
                batch.queue_s,
                batch.started_s,
                stopped,
            )
        )

    def _failed(self, batch: _Begun, cancel: Cancellation) -> bool:
        """Count a batch that ended without answers; returns whether it was cancelled."""
        runtime_s = self._clock.monotonic() - batch.started_s
        outcome = "cancelled" if cancel.cancelled else "failed"
        self._ledger.dispatched(batch.dispatch(runtime_s, outcome), ())
        if cancel.cancelled:
            # It took at least that: else a model that has become slow would never be found out.
            self._note(batch, runtime_s, stopped=True)
        return cancel.cancelled

    def _run_checked(
        self, merged: dict[str, Array], rows: int, cancel: Cancellation
    ) -> tuple[dict[str, Array], RowErrors]:
        outputs, errors = self._run(merged, rows, cancel)
        check_rows(outputs, rows, self._name)
        return outputs, errors

    def _isolate(self, works: Sequence[Work], error: BaseException) -> None:
        """Run the parts of a failed batch on their own, down to single rows."""
        if len(works) == 1:
            work = works[0]
            answer: WorkResult | AuguryError | None = None
            if work.rows > 1:
                answer = self._rescue_rows(work)
            if answer is None:
                answer = public_error(error, self._name)
            self._hand_over([(work, answer)])
            return
        middle = len(works) // 2
        for part in (works[:middle], works[middle:]):
            self.compute(self._wanted(part), RETRY)  # each part costs a run

    def _part_unlike(self, works: Sequence[Work], reason: str, error: Exception) -> None:
        """Where the size of an input is open, compute those of one size together."""
        groups = group_alike([work.columns for work in works])
        if len(groups) == 1:
            told = public_error(error, self._name)
            self._hand_over([(work, told) for work in works])
            return
        for group in groups:
            self.compute([works[position] for position in group], reason)

    def _wanted(self, works: Sequence[Work]) -> list[Work]:
        """Those whose answer is still of use; the late are told."""
        now_s = self._clock.monotonic()
        wanted = [work for work in works if not work.unwanted(now_s)]
        if len(wanted) < len(works):
            late = [work for work in works if work.late(now_s)]
            self._ledger.shed("expired", len(late))
            self._ledger.shed("abandoned", len(works) - len(wanted) - len(late))
            self._hand_over([(work, too_late(self._name)) for work in late])
        return wanted

    def _rescue_rows(self, work: Work) -> WorkResult | DeadlineExceeded:
        """Answer the good rows of *work*, whose rows cannot all be computed together."""
        started_s = self._clock.monotonic()
        errors: RowErrors = {}
        answers: list[tuple[Sequence[int], dict[str, Array]]] = []
        middle = work.rows // 2
        parts = [range(middle, work.rows), range(middle)]
        while parts:
            now_s = self._clock.monotonic()
            if work.unwanted(now_s):
                self._ledger.shed("expired" if work.late(now_s) else "abandoned")
                return too_late(self._name)
            rows = parts.pop()
            part = {
                name: take_rows(column, slice(rows.start, rows.stop))
                for name, column in work.columns.items()
            }
            try:
                outputs, refused = self._run_part(work, part, len(rows))
            except RunCancelled:
                # Whoever cancelled it has told who waited, and counted it.
                return too_late(self._name)
            except BaseException as error:  # noqa: BLE001 - as above
                if len(rows) == 1:
                    errors[rows.start] = public_error(error, self._name)
                else:
                    middle = len(rows) // 2
                    parts += [rows[middle:], rows[:middle]]
                continue
            answers.append((rows, outputs))
            errors.update((rows[row], reason) for row, reason in refused.items())
        outputs = gather_outputs(answers, work.rows)
        runtime_s = self._clock.monotonic() - started_s
        return WorkResult(outputs, errors, started_s - work.enqueued_s, runtime_s)

    def _run_part(self, work: Work, part: Columns, rows: int) -> tuple[dict[str, Array], RowErrors]:
        """Compute some rows of *work*, and count that."""
        piece = Work(part, rows, work.future, work.deadline_s)
        piece.enqueued_s = work.enqueued_s
        batch = _Begun([piece], RETRY, self._cost, self._clock.monotonic())
        cancel = Cancellation()
        self.under_way = ([work], cancel)
        try:
            outputs, refused = self._run_checked(merge_columns([part]), rows, cancel)
        except BaseException:
            self.under_way = None
            if self._failed(batch, cancel):
                raise RunCancelled from None
            raise
        self.under_way = None
        self._ended(batch, self._clock.monotonic() - batch.started_s, ())
        return outputs, refused


class _Begun:
    """A batch as it begins."""

    __slots__ = (
        "length",
        "padding_ratio",
        "pieces",
        "predicted_s",
        "queue_s",
        "reason",
        "rows",
        "started_s",
        "tail_s",
    )

    def __init__(
        self, works: Sequence[Work], reason: str, cost: CostModel, started_s: float
    ) -> None:
        self.started_s = started_s
        self.reason = reason
        self.pieces = len(works)
        self.rows = sum([work.rows for work in works])
        self.length = max([work.length for work in works]) or 1
        self.queue_s = started_s - min([work.enqueued_s for work in works])
        self.predicted_s = cost.predict(self.rows, self.length)
        self.tail_s = cost.tail(self.rows, self.length)
        self.padding_ratio = 0.0

    def dispatch(self, runtime_s: float, outcome: str) -> Dispatch:
        """What the journal keeps of it."""
        return Dispatch(
            self.started_s,
            self.reason,
            self.rows,
            self.pieces,
            self.length,
            self.padding_ratio,
            self.predicted_s,
            self.tail_s,
            runtime_s,
            self.queue_s,
            outcome,
        )


def inline_failure(rows: int, at_s: float, runtime_s: float) -> Dispatch:
    """What the journal keeps of a batch that failed on the event loop; nothing was predicted for it."""
    nan = math.nan
    return Dispatch(at_s, INLINE, rows, 1, 1, 0.0, nan, nan, runtime_s, 0.0, "failed")


def check_rows(outputs: dict[str, Array], rows: int, name: str) -> None:
    """See that a model has not lost count.

    Raises:
        RuntimeFailed: An output has not *rows* rows.
    """
    for output, array in outputs.items():
        if array.ndim == 0 or len(array) != rows:
            raise wrong_rows(output, array, rows, name)


def wrong_rows(output: str, array: Array, rows: int, name: str) -> RuntimeFailed:
    """What is told of an output that has not *rows* rows."""
    got = len(array) if array.ndim else "no batch axis"
    return RuntimeFailed(
        f"{name} answered {got} rows of output {output!r} for {rows} rows of input",
        output=output,
    )


def too_late(name: str) -> DeadlineExceeded:
    """What is told to whom time was up before it was their turn."""
    return DeadlineExceeded(f"the deadline passed while the request waited for {name}")
