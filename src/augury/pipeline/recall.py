"""What is remembered of a request's rows, at both levels of the prediction cache.

A row is looked for in this process, then among the rows that are being answered just now, then in the
store, and is computed at last; what was computed is remembered at both levels, and a row of the store
in this process.  However many ask for it meanwhile, there is one question to the store and one
computation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from augury.batching.scheduler import WorkResult
from augury.cache.flight import Flight, later, settled
from augury.cache.packing import pack, unpack
from augury.cache.stored import StoredRows
from augury.core.clock import Clock
from augury.core.errors import AuguryError, DeadlineExceeded, Overloaded
from augury.core.request import InferRequest
from augury.core.tensor import Array
from augury.pipeline.answer import Answer
from augury.pipeline.computing import Computing, Missing, is_small, row_of
from augury.pipeline.remembered import KnownRows, PredictionRows, Remembered, remembered
from augury.pipeline.servable import ModelServable


class Recall:
    """Finds answers, and remembers them.

    Args:
        cache: Rows remembered in this process.
        stored: Rows remembered in a store; ``None``: in none.
        computing: Computes what is not.
        executor: Where digests of large requests are made.
        clock: Wall time, for what is stored.
    """

    def __init__(
        self,
        cache: PredictionRows,
        stored: StoredRows | None,
        computing: Computing,
        executor: Executor,
        clock: Clock,
    ) -> None:
        self._cache = cache
        self._stored = stored
        self._computing = computing
        self._executor = executor
        self._clock = clock

    def keys(
        self,
        servable: ModelServable,
        inputs: Mapping[str, Array],
        rows: int,
        parameters: Mapping[str, Any],
    ) -> list[bytes] | None:
        """The keys of *rows*, made here and now; ``None`` when they cannot be known yet.

        The inputs need not have been validated: only rows that were have an answer under their key.

        Raises:
            InvalidInput: Parameters that JSON cannot hold.
        """
        # What is joined is part of the key, and has to be waited for.
        if not servable.caching or servable.joins is not None or not is_small(inputs):
            return None
        return servable.keys.keys(inputs, rows, parameters)

    def known(
        self, servable: ModelServable, keys: Sequence[bytes], question: tuple[str, bytes]
    ) -> KnownRows | None:
        """What is remembered in this process of all rows, at once and without waiting.

        Args:
            servable: A leased version.
            keys: From :meth:`keys`.
            question: Dialect and bytes of the request, for :meth:`asked_before` next time.

        Returns:
            The rows; ``None`` when one is not remembered: then :meth:`answer` does, and counts, it all.
        """
        known = self._known(servable, keys)
        if known is not None:
            servable.shelf_in(self._cache).questions.put(question, len(question[1]), keys)
        return known

    def may_know(self, servable: ModelServable, key: bytes) -> bool:
        """Whether the row *key* may be had without computing it: from a store, or from who computes it."""
        return (self._stored is not None and servable.storing) or key in servable.flights

    def asked_before(
        self, servable: ModelServable, question: tuple[str, bytes]
    ) -> KnownRows | None:
        """The same for a request that :meth:`known` has answered before, byte for byte.

        Args:
            servable: A leased version.
            question: Dialect and bytes of the request.
        """
        if not servable.caching:
            return None
        keys = servable.shelf_in(self._cache).questions.get(question)
        return None if keys is None else self._known(servable, keys)

    def _known(self, servable: ModelServable, keys: Sequence[bytes]) -> KnownRows | None:
        shelf = servable.shelf_in(self._cache)
        found = shelf.get_all(keys)
        if found is None:
            return None
        servable.metrics.cache_looked_up(hits=len(found), shared=0, misses=0)
        return KnownRows(shelf, keys, found)

    def now(
        self,
        servable: ModelServable,
        request: InferRequest,
        answer: Answer,
        keys: Sequence[bytes],
    ) -> bool:
        """Take what is remembered and compute the rest, if none of it has to be waited for.

        Args:
            servable: A leased version.
            request: What is asked.
            answer: Where the rows go.
            keys: Of all rows.

        Returns:
            Whether the rows are answered; if not, :meth:`answer` has to do, and to count, it all.
        """
        if self._stored is not None and servable.storing:
            return False
        shelf = servable.shelf_in(self._cache)
        known = [shelf.get(key) for key in keys]
        missing = [row for row, result in enumerate(known) if result is None]
        if missing and not self._compute_now(servable, request, answer, keys, missing):
            return False
        for row, result in enumerate(known):
            if result is not None:
                answer.add_cached(row, result)
        servable.metrics.cache_looked_up(
            hits=len(keys) - len(missing), shared=0, misses=len(missing)
        )
        return True

    def _compute_now(
        self,
        servable: ModelServable,
        request: InferRequest,
        answer: Answer,
        keys: Sequence[bytes],
        missing: Sequence[int],
    ) -> bool:
        """Compute the *missing* rows and remember them, unless they have to be waited for."""
        wanted = {keys[row] for row in missing}
        if len(wanted) < len(missing):  # one row twice is computed once
            return False
        flights = servable.flights
        if len(flights) and any(flights.get(key, request.priority) for key in wanted):
            return False
        inputs: Mapping[str, Array] = request.inputs
        if len(missing) < len(keys):
            inputs = {name: array[list(missing)] for name, array in inputs.items()}
        try:
            result = self._computing.now(servable, inputs, len(missing), request)
        except AuguryError as error:
            answer.refuse(missing, error)
            return True
        if result is None:
            return False
        answer.add_result(missing, result)
        for position, row in enumerate(missing):
            if position not in result.errors:
                self._remember(servable, keys[row], row_of(result, position).outputs)
        return True

    async def answer(
        self,
        servable: ModelServable,
        request: InferRequest,
        answer: Answer,
        keys: Sequence[bytes] | None = None,
    ) -> None:
        """Take what is remembered, join what is under way, and find out the rest row by row."""
        if keys is None:
            keys = await self._keys(servable, request, answer.rows)
        shelf = servable.shelf_in(self._cache)
        unknown = []
        for row, key in enumerate(keys):
            known = shelf.get(key)
            if known is None:
                unknown.append(row)
            else:
                answer.add_cached(row, known)
        servable.metrics.cache_looked_up(hits=len(answer.cached), shared=0, misses=0)
        if not unknown:
            return
        hurried = await self._find_out(servable, request, answer, keys, unknown)
        if hurried:
            for row in hurried:
                del answer.errors[row]
            await self._find_out(servable, request, answer, keys, hurried, counted=True)

    async def _find_out(
        self,
        servable: ModelServable,
        request: InferRequest,
        answer: Answer,
        keys: Sequence[bytes],
        rows: Sequence[int],
        *,
        counted: bool = False,
    ) -> list[int]:
        """Answer *rows*, of which none is remembered in this process; *counted*: that is counted already.

        Returns:
            Those that were given up for the haste of somebody else, whom this request had joined: it
            allows more time, and may ask again.
        """
        loop = asyncio.get_running_loop()
        flights: list[tuple[int, Flight[WorkResult]]] = []
        missing: list[Missing] = []

        def landed(key: bytes, result: WorkResult) -> None:
            if not (result.errors or isinstance(result, Remembered)):
                self._remember(servable, key, result.outputs)

        for row in rows:
            key = keys[row]
            flight = servable.flights.get(key, request.priority)
            if flight is None:
                flight = servable.flights.lead(
                    key,
                    loop.create_future(),
                    landed,
                    deadline_s=request.deadline_s,
                    priority=request.priority,
                )
                missing.append(Missing(row, key, flight))
            flight.join(request.deadline_s)
            flights.append((row, flight))
        if not counted:
            servable.metrics.cache_looked_up(
                hits=0, shared=len(flights) - len(missing), misses=len(missing)
            )
        try:
            if missing and self._stored is not None and servable.storing:
                self._look_up(self._stored, servable, request, missing, answer)
            elif missing:
                self._computing.one_by_one(servable, request, missing, answer)
            await settled([flight.future for _, flight in flights])
        finally:
            for _, flight in flights:
                flight.leave()
        for row, flight in flights:
            answer.add([row], flight.future)
        return [
            row
            for row, flight in flights
            if later(request.deadline_s, flight.begun_for_s)
            and isinstance(answer.errors.get(row), Overloaded | DeadlineExceeded)
        ]

    async def refresh(self, servable: ModelServable, request: InferRequest, answer: Answer) -> None:
        """Compute all rows for this request alone, and remember them for others."""
        keys = await self._keys(servable, request, answer.rows)
        await self._computing.together(servable, request, answer)
        for row, outputs in answer.computed():
            self._remember(servable, keys[row], outputs)

    async def _keys(self, servable: ModelServable, request: InferRequest, rows: int) -> list[bytes]:
        if is_small(request.inputs):
            return servable.keys.keys(request.inputs, rows, request.parameters)
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, servable.keys.keys, request.inputs, rows, request.parameters
        )

    def _look_up(
        self,
        stored: StoredRows,
        servable: ModelServable,
        request: InferRequest,
        missing: Sequence[Missing],
        answer: Answer,
    ) -> None:
        """Ask the store for the *missing* rows, and compute those that it has not."""

        def looked_up(values: Sequence[bytes | None] | None) -> None:
            rest: Sequence[Missing] = missing
            if values is not None:
                taken = [
                    value is not None and self._take(servable, one, value)
                    for one, value in zip(missing, values, strict=True)
                ]
                rest = [one for one, has in zip(missing, taken, strict=True) if not has]
            servable.metrics.store_looked_up(
                hits=len(missing) - len(rest),
                misses=0 if values is None else len(rest),
                unavailable=0 if values is not None else len(rest),
            )
            rest = [one for one in rest if not one.flight.future.done()]
            if rest:
                self._computing.one_by_one(servable, request, rest, answer)

        stored.look_up([servable.stored_name(one.key) for one in missing], looked_up)

    def _take(self, servable: ModelServable, one: Missing, value: bytes) -> bool:
        """Answer *one* with the *value* that the store holds; ``False`` when it is no answer."""
        unpacked = unpack(one.key, value, servable.signature)
        if unpacked is None:
            return False
        outputs, expires_s = unpacked
        left_s = expires_s - self._clock.time()
        if left_s <= 0:
            return False
        row = Remembered(outputs, {}, queue_s=0.0, runtime_s=0.0)
        # No longer than the writer meant, nor, should its clock be ahead, than this model allows.
        ttl_s = min(left_s, servable.package.manifest.cache.ttl_s)
        servable.shelf_in(self._cache).put(one.key, row, ttl_s)
        if not one.flight.future.done():
            one.flight.future.set_result(row)
        return True

    def _remember(self, servable: ModelServable, key: bytes, outputs: Mapping[str, Array]) -> None:
        """Keep a row that was computed, at both levels."""
        row = remembered(outputs)
        ttl_s = servable.package.manifest.cache.ttl_s
        servable.shelf_in(self._cache).put(key, row, ttl_s)
        if self._stored is not None and servable.storing:
            value = pack(key, row.outputs, self._clock.time() + ttl_s)
            self._stored.put(servable.stored_name(key), value, ttl_s)
