"""Late binding: an idle instance takes what waits.

Work waits in a queue; each instance is a thread that takes the next batch the moment it is free,
without going through the event loop, so that a busy loop never leaves a core idle.  Which pieces make
that batch, and whether it is worth while to wait for more, is the policy's to say; a batch grows until
its instance has a core.  Threads and the event loop meet here and nowhere else in the folder.

Nothing runs while nothing is asked: instances sleep, and there is no timer but while a batch that takes
long is under way, to see whether anybody still wants it.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from typing import cast

from augury.batching.budget import CpuBudget, Grant, Share
from augury.batching.cost import CostModel
from augury.batching.cutting import piece_rows
from augury.batching.execution import Execution, Ledger, RunBatch, inline_failure, wrong_rows
from augury.batching.inline import InlineGate
from augury.batching.journal import Journal
from augury.batching.merge import merge_columns
from augury.batching.policies.base import BatchDone, BatchPolicy, Choice, Load
from augury.batching.priority import step_back
from augury.batching.waiting_room import WaitingRoom
from augury.batching.watch import Watch
from augury.batching.work import (
    Delivery,
    RowErrors,
    Work,
    WorkResult,
    deliver,
    public_error,
)
from augury.core.clock import Clock
from augury.core.errors import Unavailable
from augury.core.tensor import Array, Columns, Ragged
from augury.observe.logs import get_logger
from augury.observe.metrics import VersionMetrics

__all__ = ["RowErrors", "RunBatch", "Scheduler", "Work", "WorkResult", "public_error"]

_log = get_logger(__name__)


class Scheduler:
    """Runs the batches of one model version.

    Args:
        name: For the threads' names and messages.
        run: Computes one merged batch; called from *instances* threads at once.
        policy: Decides when waiting rows become a batch.
        cost: Learns what batches take; the policy may hold the same.
        instances: Batches that may be under way at once.
        threads: Cores that each of them takes.
        max_rows: Rows of a batch at most.
        max_queue_rows: Rows that may wait; more is refused.
        clock: Monotonic time.
        metrics: Where batches are counted.
        budget: Cores shared with other models; ``None``: nothing is shared.
        inline: Whether batches are computed on the event loop; ``None``: never.
    """

    def __init__(
        self,
        name: str,
        run: RunBatch,
        *,
        policy: BatchPolicy,
        cost: CostModel,
        instances: int,
        max_rows: int,
        max_queue_rows: int,
        clock: Clock,
        metrics: VersionMetrics,
        threads: int = 1,
        budget: CpuBudget | None = None,
        inline: InlineGate | None = None,
    ) -> None:
        self.max_rows = max_rows
        self.cost = cost
        self.journal = Journal()
        self._name = name
        self._run = run
        self._clock = clock
        self._metrics = metrics
        self._ledger = Ledger(metrics, self.journal)
        self._room = WaitingRoom(
            name,
            policy,
            cost,
            max_rows=max_rows,
            max_queue_rows=max_queue_rows,
            ledger=self._ledger,
        )
        self._queue = self._room.queue
        self._changed = threading.Condition(threading.Lock())
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sleeping = 0  # instances that wait to be notified
        self._free_at_s: dict[int, float] = {}  # of the instances that are busy
        self._inline = inline or InlineGate(False, 0.0, max_rows)
        self._budget = budget
        self._cores = threads
        self._share: Share | None = None
        self._executions = [
            Execution(
                name, run, cost=cost, clock=clock, ledger=self._ledger, hand_over=self._hand_over
            )
            for _ in range(instances)
        ]
        self._watch = Watch(
            name, self._executions, lambda: bool(self._queue), clock=clock, ledger=self._ledger
        )
        self._threads: list[threading.Thread] = []

    @property
    def waiting_rows(self) -> int:
        """Rows that wait now."""
        return self._queue.rows

    def piece_rows(self, rows: int, length: int) -> int:
        """Rows of one piece of work, where *rows* come together whose longest has *length*."""
        return piece_rows(
            self.cost,
            rows,
            length,
            max_rows=self.max_rows,
            instances=len(self._executions),
        )

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the instances; answers are delivered on *loop*."""
        self._loop = loop
        if self._budget is not None:
            # What was calibrated, until it has run.
            lone_s = self.cost.predict(1, 1) if self.cost.known else 0.0
            self._share = self._budget.open(self._name, lone_s)
        self._inline.look(self.cost, self._clock.monotonic())
        for number in range(len(self._executions)):
            thread = threading.Thread(
                target=self._serve,
                args=(number,),
                name=f"augury-{self._name}-{number}",
                daemon=True,
            )
            thread.start()
            self._threads.append(thread)

    def submit(self, works: Sequence[Work]) -> None:
        """Let *works* wait for an idle instance; on the event loop.

        Those that cannot be in time are told so, and the others are computed.

        Raises:
            Overloaded: As many rows wait as may, or none of *works* can be in time; none was taken.
            Unavailable: The scheduler is closed.
        """
        if not works:
            return
        now_s = self._clock.monotonic()
        with self._changed:
            if self._closed:
                raise self._unloaded()
            try:
                told = self._room.take_in(works, self._load(now_s), now_s)
            finally:
                self._metrics.queue_changed(self._queue.rows)
            if self._sleeping:
                self._changed.notify(min(len(works), self._sleeping))
        if told:
            deliver(told)
        if self._loop is not None:
            # For quick models, too: one of their batches may hang. A look in 20 ms is all that it costs.
            self._watch.begin(self._loop)

    def turn_away(self, deadline_s: float | None, priority: int, least: int = 0) -> None:
        """Refuse who cannot be in time, whatever they bring; for before the steps before the model.

        Args:
            deadline_s: Monotonic; ``None``: they have time.
            priority: Theirs.
            least: The length that they have at least.

        Raises:
            Overloaded: They cannot be in time.
        """
        if deadline_s is None or not (self._queue or self._free_at_s):
            return
        now_s = self._clock.monotonic()
        with self._changed:
            self._room.turn_away(deadline_s, priority, least, self._load(now_s), now_s)

    def try_inline(
        self, columns: Columns, rows: int, deadline_s: float | None = None
    ) -> WorkResult | None:
        """Compute *rows* at once, on the event loop, if that is cheaper than handing them over.

        Args:
            columns: As of a piece of work.
            rows: How many.
            deadline_s: Monotonic time after which nobody wants the answer.

        Returns:
            The answer; ``None``: to be submitted, since the model is too slow for this, something of it
            waits or is under way, or some of the rows fail and the good ones are to be found out.

        Raises:
            AuguryError: What a lone piece of work gets that fails.
        """
        gate = self._inline
        # Only the loop fills the queue, and nobody else begins what is not in it: no lock is needed. The queue
        # is looked at first: who has emptied it counted as busy before.
        if rows > gate.rows or self._queue.rows or self._free_at_s or self._closed:
            return None
        inputs = cast("dict[str, Array]", columns)
        for column in columns.values():
            if column.__class__ is Ragged:
                if not gate.always:
                    return None  # what it costs depends on the length
                inputs = merge_columns([columns])
                break
        if not gate.knows(columns, rows):
            return None
        started_s = self._clock.monotonic()
        if deadline_s is not None and deadline_s <= started_s:
            return None
        outputs: dict[str, Array] = {}
        try:
            computed, errors = self._run(inputs, rows, None)
            for name, array in computed.items():
                if not array.ndim or len(array) != rows:
                    raise wrong_rows(name, array, rows, self._name)
                # A view is made read-only, not the array: a runtime may answer with one of its own.
                outputs[name] = view = array[:]
                view.setflags(write=False)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a model may even call sys.exit()
            now_s = self._clock.monotonic()
            runtime_s = now_s - started_s
            self._ledger.dispatched(inline_failure(rows, started_s, runtime_s), ())
            gate.ran(runtime_s, now_s)
            if rows > 1:
                return None
            raise public_error(error, self._name) from None
        now_s = self._clock.monotonic()
        runtime_s = now_s - started_s
        self._ledger.inlined(started_s, rows, runtime_s)
        if gate.ran(runtime_s, now_s):
            with self._changed:
                self._room.learn(BatchDone(rows, 1, math.nan, runtime_s, 0.0))
        return WorkResult(outputs, errors, 0.0, runtime_s)

    async def close(self) -> None:
        """Finish what waits, then stop the instances."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        loop = asyncio.get_running_loop()
        for thread in self._threads:
            await loop.run_in_executor(None, thread.join)
        self._watch.end()
        if self._budget is not None and self._share is not None:
            self._budget.close(self._share)
            self._share = None
        # Nothing, unless the instances could not be started.
        error = self._unloaded()
        deliver([(work, error) for work in self._queue.clear()])

    def _deliver(self, deliveries: Sequence[Delivery], handed_s: float) -> None:
        self._room.deliver(deliveries, handed_s, self._clock.monotonic())

    def _load(self, now_s: float) -> Load:
        busy = self._free_at_s
        return Load(
            len(self._executions),
            tuple(sorted([max(now_s, at_s) for at_s in busy.values()])),
            self._room.lag_s(now_s),
        )

    def _unloaded(self) -> Unavailable:
        return Unavailable(f"{self._name} is being unloaded; ask again")

    # What follows is done by the instances' threads.

    def _serve(self, number: int) -> None:
        """Take, run, deliver, until closed and empty."""
        step_back()
        execution = self._executions[number]
        look_again_s: float | None = None
        while self._work_waits(look_again_s):
            # A core first: the batch grows until it can begin.
            grant = self._take_cores()
            ran = False
            try:
                choice = self._choose(number)
                look_again_s = None if choice.batch else choice.look_again_s
                ran = bool(choice.batch)
                if ran:
                    self._compute(execution, choice)
            finally:
                self._give_cores_back(grant, ran=ran)
            if ran:
                self._finish(number)

    def _compute(self, execution: Execution, choice: Choice[Work]) -> None:
        try:
            execution.compute(choice.batch, choice.reason)
        except BaseException as error:  # noqa: BLE001 - nobody waits for a dead thread
            failed = public_error(error, self._name)
            self._hand_over([(work, failed) for work in choice.batch])
        finally:
            execution.under_way = None

    def _work_waits(self, look_again_s: float | None) -> bool:
        """Sleep until something waits, or *look_again_s* has come; false: closed and empty."""
        with self._changed:
            if look_again_s is not None and not self._closed:
                self._sleep(max(0.0, look_again_s - self._clock.monotonic()))
            while not self._queue:
                if self._closed:
                    return False
                self._sleep(None)
            return True

    def _sleep(self, timeout_s: float | None) -> None:
        self._sleeping += 1
        self._changed.wait(timeout_s)
        self._sleeping -= 1

    def _take_cores(self) -> Grant | None:
        if self._budget is None or self._share is None:
            return None
        return self._budget.take(self._share, self._cores)

    def _give_cores_back(self, grant: Grant | None, *, ran: bool) -> None:
        if self._budget is not None and grant is not None:
            self._budget.give_back(grant, ran=ran)

    def _choose(self, number: int) -> Choice[Work]:
        """What this instance is to do; those for whom there is no time are told."""
        told: list[Delivery] = []
        with self._changed:
            now_s = self._clock.monotonic()
            load = self._load(now_s)
            # Before anything leaves the queue: see try_inline().
            self._free_at_s[number] = now_s
            try:
                choice, told = self._room.call_next(load, now_s, closing=self._closed)
            except Exception as error:  # noqa: BLE001 - the others' instance must live on
                failed = public_error(error, self._name)
                choice, told = Choice([]), [(work, failed) for work in self._queue.clear()]
            if choice.batch:
                rows = sum([work.rows for work in choice.batch])
                length = max([work.length for work in choice.batch])
                predicted_s = self.cost.predict(rows, length)
                # NaN while nothing is known: free any moment.
                self._free_at_s[number] = now_s + max(0.0, predicted_s)
                if self._queue and self._sleeping:
                    self._changed.notify()  # this one is busy now, the rest is another's
            else:
                del self._free_at_s[number]
            self._metrics.queue_changed(self._queue.rows)
        self._hand_over(told)
        return choice

    def _finish(self, number: int) -> None:
        """This instance is idle again; what it has computed is learnt."""
        done = self._executions[number].done
        with self._changed:
            del self._free_at_s[number]
            try:
                for batch in done:
                    self._room.learn(batch)
                self._inline.look(self.cost, self._clock.monotonic())
            except Exception as error:  # noqa: BLE001 - as above
                _log.error("a batch could not be learnt from", model=self._name, exc_info=error)
        done.clear()

    def _hand_over(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            return
        assert self._loop is not None  # noqa: S101 - start() set it before any thread ran
        try:
            self._loop.call_soon_threadsafe(self._deliver, deliveries, self._clock.monotonic())
        except RuntimeError:
            _log.warning("answers dropped: the event loop is closed", works=len(deliveries))
