"""The way of one request: model, validation, cache, transforms, queue, answer.

Every dialect, batch job and business service asks through :meth:`Engine.infer`.  Rows are answered
on their own: what a row meets on its way (a refusal, a full queue, a model's failure) is in
``errors`` of the response and touches no other.  What makes the request as a whole impossible
(unknown model, wrong shape) is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Final, cast

from augury.batching.scheduler import Work, WorkResult, public_error
from augury.cache.key import key_prefix, row_keys
from augury.cache.prediction import Flight, PredictionCache, settled
from augury.core.clock import Clock
from augury.core.errors import AuguryError, DeadlineExceeded, InvalidInput, TooLarge
from augury.core.request import InferRequest, InferResponse
from augury.core.signature import Signature
from augury.core.tensor import Array, column_nbytes, take_rows
from augury.lifecycle.handle import Handle
from augury.lifecycle.manager import Manager
from augury.pipeline.answer import Answer
from augury.pipeline.servable import ModelServable
from augury.pipeline.transforms.base import Batch

# More input than this is preprocessed off the loop: tokenising 16 KiB of text takes about 5 ms.
INLINE_PREPROCESS_BYTES: Final = 16 * 1024

# An array object and its place in the dict of outputs; measured with tracemalloc.
ARRAY_OVERHEAD_BYTES: Final = 160

PredictionRows = PredictionCache[WorkResult]


def result_nbytes(result: WorkResult) -> int:
    """Bytes that a remembered row holds."""
    return sum(column_nbytes(array) + ARRAY_OVERHEAD_BYTES for array in result.outputs.values())


class Engine:
    """Answers requests from the models that a manager holds.

    Args:
        manager: Leases servables.
        cache: Remembered rows.
        executor: Where preprocessing of large requests runs.
        clock: Monotonic time.
        max_rows: Rows of one request at most.
    """

    def __init__(
        self,
        manager: Manager,
        cache: PredictionRows,
        executor: Executor,
        clock: Clock,
        *,
        max_rows: int = 65_536,
    ) -> None:
        self._manager = manager
        self._cache = cache
        self._executor = executor
        self._clock = clock
        self._max_rows = max_rows
        self._tasks: set[asyncio.Task[None]] = set()

    def lease(self, model: str, version: int | None = None, label: str | None = None) -> Handle:
        """Hold a version, for callers that need its signature and its answers to belong together.

        Raises:
            NotFound: No such model, version or label.
            ModelNotReady: It is not ready.
        """
        return self._manager.acquire(model, version, label)

    def signature(
        self, model: str, version: int | None = None, label: str | None = None
    ) -> Signature:
        """The signature of a ready version.

        Raises:
            NotFound: No such model, version or label.
            ModelNotReady: It is not ready.
        """
        with self._manager.acquire(model, version, label) as servable:
            return cast("ModelServable", servable).signature

    def version(self, model: str) -> int:
        """The version that answers when none is named.

        Raises:
            NotFound: No such model.
            ModelNotReady: It is not ready.
        """
        with self._manager.acquire(model) as servable:
            return servable.package.version

    async def infer(self, request: InferRequest) -> InferResponse:
        """Answer *request*.

        Raises:
            NotFound: No such model, version or label.
            ModelNotReady: It is not ready.
            InvalidInput: The inputs do not fit the signature, or an output that it does not have.
            TooLarge: More rows than one request may have.
            DeadlineExceeded: The request's time is up.
        """
        with self._manager.acquire(request.model, request.version, request.label) as servable:
            return await self._infer(cast("ModelServable", servable), request)

    async def _infer(self, servable: ModelServable, request: InferRequest) -> InferResponse:
        started_s = self._clock.monotonic()
        rows = servable.signature.validate(request.inputs)
        if rows > self._max_rows:
            raise TooLarge(
                f"{rows} rows in one request, the limit is {self._max_rows} (max_request_rows); "
                "send several requests",
                rows=rows,
                limit=self._max_rows,
            )
        for name in request.outputs:
            if servable.signature.output(name) is None:
                known = ", ".join(spec.name for spec in servable.signature.outputs)
                raise InvalidInput(
                    f"unknown output {name!r}; the model's outputs are: {known}", output=name
                )
        if request.deadline_s is not None and request.deadline_s <= started_s:
            raise DeadlineExceeded("the deadline had passed when the request came; allow more time")
        answer = Answer(rows)
        caching = servable.package.manifest.cache.enabled and request.use_cache
        answering = (
            self._through_cache(servable, request, answer)
            if caching
            else self._straight(servable, request, answer)
        )
        if request.deadline_s is None:
            await answering
        else:
            try:
                async with asyncio.timeout(request.deadline_s - started_s):
                    await answering
            except TimeoutError:
                raise DeadlineExceeded(
                    f"no answer within the {request.deadline_s - started_s:.3f} s that the request "
                    "allows; allow more, or ask when less waits"
                ) from None
        response = answer.response(servable.package, request)
        response.timing.total_s = self._clock.monotonic() - started_s
        return response

    async def _straight(
        self, servable: ModelServable, request: InferRequest, answer: Answer
    ) -> None:
        """Compute all rows for this request alone."""
        loop = asyncio.get_running_loop()
        started_s = self._clock.monotonic()
        try:
            if _is_small(request.inputs):
                batch = servable.preprocess(request.inputs, answer.rows, request.parameters)
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
        live = list(batch.live_rows())
        size = servable.scheduler.max_rows
        chunks = [live[start : start + size] for start in range(0, len(live), size)]
        works = []
        for chunk in chunks:
            # Without refused rows a chunk is a run of rows, and a slice of it is not copied.
            whole = chunk[-1] - chunk[0] == len(chunk) - 1
            rows = slice(chunk[0], chunk[-1] + 1) if whole else chunk
            columns = {name: take_rows(column, rows) for name, column in batch.columns.items()}
            works.append(Work(columns, len(chunk), loop.create_future(), request.deadline_s))
        try:
            servable.scheduler.submit(works)
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

    async def _through_cache(
        self, servable: ModelServable, request: InferRequest, answer: Answer
    ) -> None:
        """Take what is remembered, join what is under way, and compute the rest row by row."""
        package = servable.package
        ttl_s = package.manifest.cache.ttl_s
        loop = asyncio.get_running_loop()
        prefix = key_prefix(package.name, package.version, servable.generation, request.parameters)
        if _is_small(request.inputs):
            keys = row_keys(prefix, request.inputs, answer.rows)
        else:
            keys = await loop.run_in_executor(
                self._executor, row_keys, prefix, request.inputs, answer.rows
            )
        flights: list[tuple[int, Flight[WorkResult]]] = []
        missing: list[tuple[int, Flight[WorkResult]]] = []
        for row, key in enumerate(keys):
            known = self._cache.get(key)
            if known is not None:
                answer.add_cached(row, known)
                continue
            flight = self._cache.flight(key)
            if flight is None:
                flight = self._cache.lead(key, loop.create_future(), lambda r: _kept(r, ttl_s))
                missing.append((row, flight))
            flight.join()
            flights.append((row, flight))
        servable.metrics.cache_looked_up(
            hits=answer.rows - len(flights), shared=len(flights) - len(missing), misses=len(missing)
        )
        if not flights:
            return
        try:
            if missing:
                self._begin(servable, request, missing, answer)
            await settled([flight.future for _, flight in flights])
        finally:
            for _, flight in flights:
                flight.leave()
        for row, flight in flights:
            answer.add([row], flight.future)

    def _begin(
        self,
        servable: ModelServable,
        request: InferRequest,
        missing: Sequence[tuple[int, Flight[WorkResult]]],
        answer: Answer,
    ) -> None:
        """Preprocess the *missing* rows and queue them; what fails is told through their flights."""
        inputs: Mapping[str, Array] = request.inputs
        if len(missing) != answer.rows:
            rows = [row for row, _ in missing]
            inputs = {name: array[rows] for name, array in inputs.items()}
        started_s = self._clock.monotonic()

        def queue(batch: Batch) -> None:
            answer.preprocess_s = self._clock.monotonic() - started_s
            works = []
            for position, (_, flight) in enumerate(missing):
                if flight.future.done():
                    continue
                error = batch.errors.get(position)
                if error is not None:
                    flight.future.set_exception(error)
                    continue
                row = slice(position, position + 1)
                columns = {name: take_rows(column, row) for name, column in batch.columns.items()}
                works.append(Work(columns, 1, flight.future))
            servable.scheduler.submit(works)

        def fail(error: BaseException) -> None:
            told = public_error(error, servable.package.name)
            for _, flight in missing:
                if not flight.future.done():
                    flight.future.set_exception(told)

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

        if _is_small(inputs):
            try:
                queue(servable.preprocess(inputs, len(missing), request.parameters))
            except Exception as error:  # noqa: BLE001 - whoever waits for these rows is told
                fail(error)
        else:
            # A task of its own: others may wait for these rows when this request's client has gone.
            task = asyncio.create_task(later())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def _is_small(inputs: Mapping[str, Array]) -> bool:
    return sum(map(column_nbytes, inputs.values())) <= INLINE_PREPROCESS_BYTES


def _kept(result: WorkResult, ttl_s: float) -> tuple[WorkResult, float] | None:
    """A row as it is remembered: a copy, since its arrays are views into a whole batch."""
    if result.errors:
        return None
    outputs = {name: array.copy() for name, array in result.outputs.items()}
    for array in outputs.values():
        array.setflags(write=False)  # it is handed to every caller that asks for the row
    return WorkResult(outputs, {}, queue_s=0.0, runtime_s=0.0), ttl_s
