"""From rows to answers: the steps before the model, then the queue, or the model itself.

Three ways: :meth:`Computing.now` on the event loop, for models that cost less than a way between threads;
:meth:`Computing.together` for one request alone; :meth:`Computing.one_by_one` for rows that others may be
waiting for, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Final, NamedTuple

from augury.batching.scheduler import Work, WorkResult, public_error
from augury.batching.work import longest_row
from augury.cache.flight import Flight, settled
from augury.core.clock import Clock
from augury.core.errors import AuguryError
from augury.core.request import InferRequest
from augury.core.tensor import Array, Columns, column_nbytes, take_rows
from augury.pipeline.answer import Answer
from augury.pipeline.servable import ModelServable
from augury.pipeline.transforms.base import Batch

# More input than this is preprocessed off the loop: tokenising 16 KiB of text takes about 5 ms.
INLINE_PREPROCESS_BYTES: Final = 16 * 1024


def is_small(inputs: Mapping[str, Array]) -> bool:
    """Whether *inputs* may be worked on in the event loop."""
    return sum(map(column_nbytes, inputs.values())) <= INLINE_PREPROCESS_BYTES


class Missing(NamedTuple):
    """A row that a request has to find an answer for, on behalf of all who ask for it."""

    row: int
    key: bytes
    flight: Flight[WorkResult]


class Computing:
    """Computes rows.

    Args:
        executor: Where preprocessing of large requests runs.
        clock: Monotonic time.
    """

    def __init__(self, executor: Executor, clock: Clock) -> None:
        self._executor = executor
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def now(
        self,
        servable: ModelServable,
        inputs: Mapping[str, Array],
        rows: int,
        request: InferRequest,
    ) -> WorkResult | None:
        """The answers to *rows* rows of *inputs*, computed here and now.

        Returns:
            ``None``: they have to wait, for an instance or for the steps before the model.

        Raises:
            AuguryError: The model fails; said of all rows.
        """
        scheduler = servable.scheduler
        # Steps may take longer than the model; whether it is worth it, they say in `together`.
        if not servable.takes_rows_as_they_come or rows > scheduler.max_rows:
            return None
        columns: Columns = dict(inputs)
        return scheduler.try_inline(columns, rows, request.deadline_s)

    async def together(
        self, servable: ModelServable, request: InferRequest, answer: Answer
    ) -> None:
        """Compute all rows for this request alone."""
        loop = asyncio.get_running_loop()
        started_s = self._clock.monotonic()
        try:
            if not servable.takes_rows_as_they_come:
                servable.turn_away(
                    request.inputs, answer.rows, request.deadline_s, request.priority
                )
            if is_small(request.inputs):
                batch = servable.preprocess_now(request.inputs, answer.rows, request.parameters)
            else:
                batch = await loop.run_in_executor(
                    self._executor,
                    servable.preprocess,
                    request.inputs,
                    answer.rows,
                    request.parameters,
                )
        except Exception as error:  # noqa: BLE001 - a step may raise anything
            answer.refuse(range(answer.rows), public_error(error, servable.package.name))
            return
        answer.preprocess_s = self._clock.monotonic() - started_s
        answer.errors.update(batch.errors)
        scheduler = servable.scheduler
        if not batch.errors and answer.rows <= scheduler.max_rows:
            try:
                result = scheduler.try_inline(batch.columns, answer.rows, request.deadline_s)
            except AuguryError as error:
                answer.refuse(range(answer.rows), error)
                return
            if result is not None:
                answer.add_result(range(answer.rows), result)
                return
        live = list(batch.live_rows())
        size = scheduler.piece_rows(len(live), longest_row(batch.columns))
        chunks = [live[start : start + size] for start in range(0, len(live), size)]
        works = []
        for chunk in chunks:
            # Without refused rows a chunk is a run of rows, and a slice of it is not copied.
            whole = chunk[-1] - chunk[0] == len(chunk) - 1
            rows = slice(chunk[0], chunk[-1] + 1) if whole else chunk
            columns = {name: take_rows(column, rows) for name, column in batch.columns.items()}
            future: asyncio.Future[WorkResult] = loop.create_future()
            works.append(Work(columns, len(chunk), future, request.deadline_s, request.priority))
        try:
            scheduler.submit(works)
            await settled([work.future for work in works])
        except AuguryError as error:
            answer.refuse(live, error)
            return
        finally:
            for work in works:
                # Of those that are done it only marks an error as seen.
                work.future.cancel()
        for chunk, work in zip(chunks, works, strict=True):
            answer.add(chunk, work.future)

    def one_by_one(
        self,
        servable: ModelServable,
        request: InferRequest,
        missing: Sequence[Missing],
        answer: Answer,
    ) -> None:
        """Preprocess the *missing* rows and queue them; what fails is told through their flights."""
        inputs: Mapping[str, Array] = request.inputs
        if len(missing) != answer.rows:
            rows = [one.row for one in missing]
            inputs = {name: array[rows] for name, array in inputs.items()}
        started_s = self._clock.monotonic()

        def queue(batch: Batch) -> None:
            answer.preprocess_s = self._clock.monotonic() - started_s
            if self._fly_inline(servable, batch, missing):
                return
            works = []
            for position, one in enumerate(missing):
                future = one.flight.future
                if future.done():
                    continue
                error = batch.errors.get(position)
                if error is not None:
                    future.set_exception(error)
                    continue
                row = slice(position, position + 1)
                columns = {name: take_rows(column, row) for name, column in batch.columns.items()}
                # As patient as those who have joined meanwhile, and those who will.
                work = Work(columns, 1, future, one.flight.deadline_s, one.flight.priority)
                one.flight.carried_by(work.put_off)
                works.append(work)
            servable.scheduler.submit(works)

        def fail(error: BaseException) -> None:
            told = public_error(error, servable.package.name)
            for one in missing:
                if not one.flight.future.done():
                    one.flight.future.set_exception(told)

        async def later() -> None:
            loop = asyncio.get_running_loop()
            try:
                queue(
                    await loop.run_in_executor(
                        self._executor,
                        servable.preprocess,
                        inputs,
                        len(missing),
                        request.parameters,
                    )
                )
            except BaseException as error:  # whoever waits for these rows is told
                fail(error)
                if isinstance(error, asyncio.CancelledError):
                    raise

        if is_small(inputs):
            try:
                if not servable.takes_rows_as_they_come:
                    servable.turn_away(inputs, len(missing), *_most_patient(missing))
                queue(servable.preprocess_now(inputs, len(missing), request.parameters))
            except Exception as error:  # noqa: BLE001 - whoever waits for these rows is told
                fail(error)
        else:
            # A task of its own: others may wait for these rows when this request's client has gone.
            task = asyncio.create_task(later())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _fly_inline(
        self, servable: ModelServable, batch: Batch, missing: Sequence[Missing]
    ) -> bool:
        """Compute the *missing* rows of *batch* here and now and land their flights, if that is cheap.

        Raises:
            AuguryError: The model fails.
        """
        scheduler = servable.scheduler
        if batch.errors or len(missing) > scheduler.max_rows:
            return False
        deadlines = [one.flight.deadline_s for one in missing]
        deadline_s = min((one for one in deadlines if one is not None), default=None)
        result = scheduler.try_inline(batch.columns, len(missing), deadline_s)
        if result is None:
            return False
        for position, one in enumerate(missing):
            future = one.flight.future
            if future.done():
                continue
            error = result.errors.get(position)
            if error is None:
                future.set_result(row_of(result, position))
            else:
                future.set_exception(error)
        return True


def _most_patient(missing: Sequence[Missing]) -> tuple[float | None, int]:
    """The latest deadline and the highest priority of all who wait for *missing* rows."""
    deadlines = [one.flight.deadline_s for one in missing]
    known = [deadline_s for deadline_s in deadlines if deadline_s is not None]
    latest_s = max(known) if len(known) == len(deadlines) else None
    return latest_s, min(one.flight.priority for one in missing)


def row_of(result: WorkResult, position: int) -> WorkResult:
    """One row of *result* that has an answer, as a result of its own."""
    own = slice(position, position + 1)
    outputs = {name: array[own] for name, array in result.outputs.items()}
    return WorkResult(outputs, {}, result.queue_s, result.runtime_s)
