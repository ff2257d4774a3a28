"""Late binding: an idle instance takes what waits.

Work waits in a queue; each instance is a thread that takes the next batch the moment it is free,
without going through the event loop, so that a busy loop never leaves a core idle.  No timer: a
batch grows while the instances are busy.  This is the only file of the folder that knows threads
and asyncio.

A batch that fails is split in halves until the guilty rows stand alone; the others get answers.
Whatever a model raises, its instance lives on and everybody who waits is told.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from augury.batching.merge import (
    gather_outputs,
    group_alike,
    merge_columns,
    padding_ratio,
    split_outputs,
)
from augury.batching.queue import RowQueue
from augury.core.clock import Clock
from augury.core.errors import (
    AuguryError,
    DeadlineExceeded,
    Overloaded,
    RuntimeFailed,
    Unavailable,
)
from augury.core.tensor import Array, Columns, Ragged, take_rows
from augury.observe.logs import get_logger
from augury.observe.metrics import VersionMetrics

RowErrors = dict[int, AuguryError]
# Computes a merged batch: columns and their row count to outputs and the rows that were refused.
RunBatch = Callable[[dict[str, Array], int], tuple[dict[str, Array], RowErrors]]

# A full queue is searched for abandoned work at most this often: the search takes 0.1 ms for 1,000
# pieces, and refusing must stay cheap when many are refused.
SWEEP_INTERVAL_S: Final = 0.01

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkResult:
    """What became of a piece of work.

    Args:
        outputs: Arrays with as many rows as the work, read-only; views into the batch's arrays.
            Empty when no row has an answer.
        errors: Row to why it has no answer.
        queue_s: Seconds that the work waited.
        runtime_s: Seconds that its batch took.
    """

    outputs: dict[str, Array]
    errors: RowErrors
    queue_s: float
    runtime_s: float


@dataclass(slots=True, eq=False)
class Work:
    """Rows of one request that are computed together.

    Args:
        columns: The rows' tensors, as the runtime wants them but for padding.
        rows: How many.
        future: Gets the :class:`WorkResult` or the error; cancelled when nobody waits any more.
        deadline_s: Monotonic time after which nobody wants the answer.
        enqueued_s: Set by the scheduler.
        length: Size of the longest ragged row; 0 when no column is ragged.
    """

    columns: Columns
    rows: int
    future: asyncio.Future[WorkResult]
    deadline_s: float | None = None
    enqueued_s: float = field(default=0.0, init=False)
    length: int = field(init=False)

    def __post_init__(self) -> None:
        ragged = (column for column in self.columns.values() if isinstance(column, Ragged))
        self.length = max((len(row) for column in ragged for row in column.rows), default=0)

    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.future.done()


Delivery = tuple[Work, WorkResult | AuguryError]


class Scheduler:
    """Runs the batches of one model version.

    Args:
        name: For the threads' names and messages.
        run: Computes one merged batch; called from *instances* threads at once.
        instances: Batches that may be under way at once.
        max_rows: Rows of a batch at most.
        max_queue_rows: Rows that may wait; more is refused.
        clock: Monotonic time.
        metrics: Where batches are counted.
    """

    def __init__(
        self,
        name: str,
        run: RunBatch,
        *,
        instances: int,
        max_rows: int,
        max_queue_rows: int,
        clock: Clock,
        metrics: VersionMetrics,
    ) -> None:
        self.max_rows = max_rows
        self._name = name
        self._run = run
        self._clock = clock
        self._metrics = metrics
        self._queue: RowQueue[Work] = RowQueue(max_queue_rows)
        self._changed = threading.Condition()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_sweep_s = 0.0
        self._row_seconds = 0.0  # smoothed; only for the hint in Retry-After
        self._instances = instances
        self._threads: list[threading.Thread] = []

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the instances; answers are delivered on *loop*."""
        self._loop = loop
        for number in range(self._instances):
            thread = threading.Thread(
                target=self._serve, name=f"augury-{self._name}-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def submit(self, works: Sequence[Work]) -> None:
        """Let *works* wait for an idle instance.

        Raises:
            Overloaded: As many rows wait as may; none of *works* was taken.
            Unavailable: The scheduler is closed.
        """
        if not works:
            return
        now_s = self._clock.monotonic()
        rows = sum(work.rows for work in works)
        with self._changed:
            if self._closed:
                raise Unavailable(f"{self._name} is being unloaded; ask again")
            if not self._queue.fits(rows) and now_s >= self._next_sweep_s:
                self._next_sweep_s = now_s + SWEEP_INTERVAL_S
                self._queue.drop_abandoned()
            if not self._queue.fits(rows):
                # One second at least: a finer hint would only synchronise the callers.
                wait_s = max(1.0, self._queue.rows * self._row_seconds / self._instances)
                raise Overloaded(
                    f"{self._queue.rows} rows wait for {self._name}, the limit is "
                    f"{self._queue.max_rows} ([batching] max_queue_rows); retry later",
                    waiting_rows=self._queue.rows,
                    limit_rows=self._queue.max_rows,
                    retry_after_s=round(wait_s, 1),
                )
            for work in works:
                work.enqueued_s = now_s
                self._queue.push(work)
            self._metrics.queue_changed(self._queue.rows)
            self._changed.notify(min(len(works), self._instances))

    async def close(self) -> None:
        """Finish what waits, then stop the instances."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        loop = asyncio.get_running_loop()
        for thread in self._threads:
            await loop.run_in_executor(None, thread.join)
        # Nothing, unless the instances could not be started.
        error = Unavailable(f"{self._name} is being unloaded; ask again")
        _deliver([(work, error) for work in self._queue.clear()])

    def _serve(self) -> None:
        """Take, run, deliver, until closed and empty; the body of an instance's thread."""
        while True:
            with self._changed:
                while not self._queue:
                    if self._closed:
                        return
                    self._changed.wait()
                taken = self._queue.take(self.max_rows, self._clock.monotonic())
                self._metrics.queue_changed(self._queue.rows)
            late = f"the deadline passed while the request waited for {self._name}"
            self._hand_over([(work, DeadlineExceeded(late)) for work in taken.expired])
            try:
                self._compute(taken.batch)
            except BaseException as error:  # noqa: BLE001 - nobody waits for a thread that has died
                failed = public_error(error, self._name)
                self._hand_over([(work, failed) for work in taken.batch])

    def _hand_over(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            return
        assert self._loop is not None  # noqa: S101 - start() set it before any thread ran
        try:
            self._loop.call_soon_threadsafe(_deliver, deliveries)
        except RuntimeError:
            _log.warning("answers dropped: the event loop is closed", works=len(deliveries))

    def _compute(self, works: Sequence[Work]) -> None:
        """Run *works* as one batch, or in parts if it fails, and hand the answers over."""
        if not works:
            return
        started_s = self._clock.monotonic()
        parts = [work.columns for work in works]
        counts = [work.rows for work in works]
        rows = sum(counts)
        try:
            merged = merge_columns(parts)
            ratio = padding_ratio(parts, merged)
            outputs, errors = self._run_checked(merged, rows)
        except BaseException as error:  # noqa: BLE001 - a model may even call sys.exit()
            self._isolate(works, error)
            return
        runtime_s = self._clock.monotonic() - started_s
        queue_s = [started_s - work.enqueued_s for work in works]
        self._row_seconds += 0.1 * (runtime_s / rows - self._row_seconds)
        start = 0
        deliveries: list[Delivery] = []
        for work, part, waited_s in zip(
            works, split_outputs(outputs, counts), queue_s, strict=True
        ):
            own: RowErrors = {}
            if errors:
                own = {
                    row: errors[start + row] for row in range(work.rows) if start + row in errors
                }
            deliveries.append((work, WorkResult(part, own, waited_s, runtime_s)))
            start += work.rows
        # Counted first: who has an answer finds it in the metrics.
        self._metrics.batch_done(
            rows=rows, padding_ratio=ratio, queue_s=queue_s, runtime_s=runtime_s
        )
        self._hand_over(deliveries)

    def _run_checked(
        self, merged: dict[str, Array], rows: int
    ) -> tuple[dict[str, Array], RowErrors]:
        outputs, errors = self._run(merged, rows)
        for name, array in outputs.items():
            if array.ndim == 0 or len(array) != rows:
                got = len(array) if array.ndim else "no batch axis"
                raise RuntimeFailed(
                    f"{self._name} answered {got} rows of output {name!r} for {rows} rows of input",
                    output=name,
                )
        return outputs, errors

    def _isolate(self, works: Sequence[Work], error: BaseException) -> None:
        """Run the parts of a failed batch on their own, down to single rows."""
        if len(works) == 1:
            work = works[0]
            rescued = self._rescue_rows(work) if work.rows > 1 else None
            self._hand_over([(work, rescued or public_error(error, self._name))])
            return
        # Where the size of an input is open, rows of one size are computed together.
        groups = group_alike([work.columns for work in works])
        if len(groups) == 1:
            middle = len(works) // 2
            groups = [list(range(middle)), list(range(middle, len(works)))]
        for group in groups:
            # Each part costs a run, so those who have gone meanwhile are left out.
            live = [works[position] for position in group if not works[position].abandoned()]
            self._compute(live)

    def _rescue_rows(self, work: Work) -> WorkResult:
        """Answer the good rows of *work*, whose rows cannot all be computed together."""
        started_s = self._clock.monotonic()
        errors: RowErrors = {}
        answers: list[tuple[Sequence[int], dict[str, Array]]] = []
        middle = work.rows // 2
        for half in (range(middle), range(middle, work.rows)):
            self._bisect(work.columns, half, answers, errors)
        outputs = gather_outputs(answers, work.rows)
        runtime_s = self._clock.monotonic() - started_s
        return WorkResult(outputs, errors, started_s - work.enqueued_s, runtime_s)

    def _bisect(
        self,
        columns: Columns,
        rows: range,
        answers: list[tuple[Sequence[int], dict[str, Array]]],
        errors: RowErrors,
    ) -> None:
        part = {
            name: take_rows(column, slice(rows.start, rows.stop))
            for name, column in columns.items()
        }
        try:
            outputs, refused = self._run_checked(merge_columns([part]), len(rows))
        except BaseException as error:  # noqa: BLE001 - as above
            if len(rows) == 1:
                errors[rows.start] = public_error(error, self._name)
                return
            middle = len(rows) // 2
            self._bisect(columns, rows[:middle], answers, errors)
            self._bisect(columns, rows[middle:], answers, errors)
            return
        answers.append((rows, outputs))
        errors.update((rows[row], reason) for row, reason in refused.items())


def public_error(error: BaseException, name: str) -> AuguryError:
    """*error* as the caller of model *name* may see it; a stranger's exception may quote the input."""
    if isinstance(error, AuguryError):
        return error
    _log.error("model raised", model=name, exc_info=error)
    return RuntimeFailed(f"{name} raised {type(error).__name__}; the server's log tells more")


def _deliver(deliveries: Sequence[Delivery]) -> None:
    for work, result in deliveries:
        if work.future.done():
            continue
        if isinstance(result, AuguryError):
            work.future.set_exception(result)
        else:
            work.future.set_result(result)
