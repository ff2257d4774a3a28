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
from dataclasses import replace
from typing import Any, cast

from augury.cache.stored import StoredRows
from augury.core.clock import Clock
from augury.core.errors import (
    AuguryError,
    DeadlineExceeded,
    InvalidInput,
    Overloaded,
    TooLarge,
    Unavailable,
)
from augury.core.request import InferRequest, InferResponse, Priority, Timing
from augury.core.signature import Signature
from augury.core.tensor import Array
from augury.lifecycle.handle import Handle
from augury.lifecycle.manager import Manager
from augury.pipeline.answer import Answer
from augury.pipeline.computing import Computing
from augury.pipeline.joining import Joiner
from augury.pipeline.recall import Recall
from augury.pipeline.remembered import KnownRows, PredictionRows
from augury.pipeline.servable import ModelServable


class Engine:
    """Answers requests from the models that a manager holds.

    Args:
        manager: Leases servables.
        cache: Rows remembered in this process.
        executor: Where preprocessing of large requests runs.
        clock: Time.
        max_rows: Rows of one request at most.
        stored: Rows remembered in a store; ``None``: in none.
        joiner: Reads the features that models join; ``None``: such models cannot answer.
    """

    def __init__(
        self,
        manager: Manager,
        cache: PredictionRows,
        executor: Executor,
        clock: Clock,
        *,
        max_rows: int = 65_536,
        stored: StoredRows | None = None,
        joiner: Joiner | None = None,
    ) -> None:
        self._manager = manager
        self._computing = Computing(executor, clock)
        self._recall = Recall(cache, stored, self._computing, executor, clock)
        self._joiner = joiner
        self._clock = clock
        self._max_rows = max_rows

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

    def keys(
        self,
        servable: ModelServable,
        inputs: Mapping[str, Array],
        rows: int,
        parameters: Mapping[str, Any],
    ) -> list[bytes] | None:
        """The keys of *rows*, where they can be made at once; see :meth:`Recall.keys`."""
        return self._recall.keys(servable, inputs, rows, parameters)

    def known(
        self, servable: ModelServable, keys: Sequence[bytes], question: tuple[str, bytes]
    ) -> KnownRows | None:
        """What this process remembers of all rows; see :meth:`Recall.known`."""
        return self._recall.known(servable, keys, question)

    def asked_before(
        self, servable: ModelServable, question: tuple[str, bytes]
    ) -> KnownRows | None:
        """The same for a request that was asked before; see :meth:`Recall.asked_before`."""
        return self._recall.asked_before(servable, question)

    def may_know(self, servable: ModelServable, key: bytes) -> bool:
        """Whether a row that this process does not remember may be had without computing it; see there."""
        return self._recall.may_know(servable, key)

    def too_late(
        self, servable: ModelServable, request: InferRequest, rows: int, now_s: float
    ) -> Overloaded | None:
        """Why *request*, of which nothing is remembered, cannot be in time; ``None``: it may be.

        Args:
            servable: What would have to compute it.
            request: Its inputs may be of any shape yet.
            rows: How many it has.
            now_s: Monotonic time at which it came.
        """
        if request.deadline_s is None and servable.deadline_s is not None:
            request = _due(request, now_s + servable.deadline_s)
        try:
            servable.turn_away(request.inputs, rows, request.deadline_s, request.priority)
        except Overloaded as error:
            return error
        return None

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
            return await self.infer_leased(cast("ModelServable", servable), request)

    async def infer_leased(
        self,
        servable: ModelServable,
        request: InferRequest,
        keys: Sequence[bytes] | None = None,
    ) -> InferResponse:
        """The same for a caller that holds the version.

        Args:
            servable: What answers; leased until the answer is there.
            request: What is asked; model, version and label in it do not matter.
            keys: From :meth:`keys`, if the caller has asked for them.

        Raises:
            As :meth:`infer`.
        """
        started_s = self._clock.monotonic()
        if request.deadline_s is None and servable.deadline_s is not None:
            request = _due(request, started_s + servable.deadline_s)
        rows = self._checked(servable, request, started_s)
        if servable.joins is None:
            answering = self._answer(servable, request, rows, keys)
        else:
            answering = self._join(servable, request, rows)
        if request.deadline_s is None:
            response = await answering
        else:
            try:
                async with asyncio.timeout(request.deadline_s - started_s):
                    response = await answering
            except TimeoutError:
                raise DeadlineExceeded(
                    f"no answer within the {request.deadline_s - started_s:.3f} s that the request, or "
                    "else [batching] deadline_s, allows; allow more, or ask when less waits"
                ) from None
        response.timing.total_s = self._clock.monotonic() - started_s
        return response

    def infer_now(
        self,
        servable: ModelServable,
        request: InferRequest,
        keys: Sequence[bytes] | None = None,
    ) -> InferResponse | None:
        """The same on the event loop, if nothing has to be waited for: a cheap model is idle.

        Args:
            servable: What answers.
            request: As for :meth:`infer_leased`.
            keys: From :meth:`keys`.

        Returns:
            ``None``: :meth:`infer_leased` has to do it, and nothing has been done yet.

        Raises:
            As :meth:`infer`.
        """
        if not servable.takes_rows_as_they_come or request.refresh:
            return None
        started_s = self._clock.monotonic()
        if request.deadline_s is None and servable.deadline_s is not None:
            request = _due(request, started_s + servable.deadline_s)
        rows = self._checked(servable, request, started_s)
        if servable.caching and request.use_cache:
            answer = Answer(rows)
            if keys is None or not self._recall.now(servable, request, answer, keys):
                return None
            response = answer.response(servable.package, request)
        else:
            outputs: dict[str, Array] = {}
            timing = Timing()
            try:
                result = self._computing.now(servable, request.inputs, rows, request)
            except AuguryError as error:
                errors = dict.fromkeys(range(rows), error)
            else:
                if result is None:
                    return None
                errors, outputs = result.errors, result.outputs
                timing.runtime_s = result.runtime_s
                if request.outputs:
                    outputs = {name: outputs[name] for name in request.outputs if name in outputs}
            package = servable.package
            response = InferResponse(
                package.name, package.version, outputs, rows, errors, frozenset(), timing
            )
        response.timing.total_s = self._clock.monotonic() - started_s
        return response

    def _checked(self, servable: ModelServable, request: InferRequest, now_s: float) -> int:
        """The rows of *request*.

        Raises:
            As :meth:`infer`.
        """
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
        if request.deadline_s is not None and request.deadline_s <= now_s:
            raise DeadlineExceeded("the deadline had passed when the request came; allow more time")
        return rows

    async def _join(
        self, servable: ModelServable, request: InferRequest, rows: int
    ) -> InferResponse:
        """Answer with the features that the model joins, so that they are part of the cache's key."""
        assert servable.joins is not None  # noqa: S101 - the caller looked
        if self._joiner is None:
            raise Unavailable(
                f"model {servable.package.name!r} joins features, and no feature store is open here"
            )
        return await self._joiner.answer(
            servable.joins,
            servable.package,
            request,
            rows,
            lambda joined, live: self._answer(servable, joined, live),
        )

    async def _answer(
        self,
        servable: ModelServable,
        request: InferRequest,
        rows: int,
        keys: Sequence[bytes] | None = None,
    ) -> InferResponse:
        """Answer what has been validated."""
        answer = Answer(rows)
        if not (servable.caching and request.use_cache):
            await self._computing.together(servable, request, answer)
        elif request.refresh:
            await self._recall.refresh(servable, request, answer)
        else:
            await self._recall.answer(servable, request, answer, keys)
        return answer.response(servable.package, request)


def _due(request: InferRequest, deadline_s: float) -> InferRequest:
    """*request*, which names no deadline, with that of its model; bulk work takes as long as it takes."""
    return request if request.priority == Priority.LOW else replace(request, deadline_s=deadline_s)
