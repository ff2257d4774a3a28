"""The parts of an answer, put together in the order of the request's rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from augury.batching.merge import gather_outputs
from augury.batching.scheduler import WorkResult
from augury.core.errors import AuguryError, Unavailable
from augury.core.request import InferRequest, InferResponse, Timing
from augury.core.tensor import Array
from augury.packages.reader import ModelPackage
from augury.pipeline.remembered import Remembered


class Answer:
    """Collects results and errors of *rows* rows.

    Args:
        rows: Rows of the request.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.errors: dict[int, AuguryError] = {}
        self.cached: set[int] = set()
        self.preprocess_s = 0.0
        self._parts: list[tuple[Sequence[int], WorkResult]] = []

    def add_cached(self, row: int, result: Remembered) -> None:
        """*row* was remembered."""
        self.cached.add(row)
        self._parts.append(((row,), result))

    def computed(self) -> Iterator[tuple[int, dict[str, Array]]]:
        """Each row that has an answer, and its outputs: views of one row."""
        for rows, result in self._parts:
            for position, row in enumerate(rows):
                if row not in self.errors:
                    own = slice(position, position + 1)
                    yield row, {name: array[own] for name, array in result.outputs.items()}

    def refuse(self, rows: Iterable[int], error: AuguryError) -> None:
        """*rows* have no answer."""
        self.errors.update(dict.fromkeys(rows, error))

    def add(self, rows: Sequence[int], future: asyncio.Future[WorkResult]) -> None:
        """*rows* of the request are the rows of the result that *future* holds."""
        error = (
            Unavailable("the computation was given up; ask again")
            if future.cancelled()
            else future.exception()
        )
        if error is None:
            self.add_result(rows, future.result())
        elif isinstance(error, AuguryError):
            self.refuse(rows, error)
        else:
            raise error

    def add_result(self, rows: Sequence[int], result: WorkResult) -> None:
        """*rows* of the request are the rows of *result*."""
        if isinstance(result, Remembered):
            self.cached.update(rows)
        self._parts.append((rows, result))
        if result.errors:
            self.errors.update((rows[row], fault) for row, fault in result.errors.items())

    def response(self, package: ModelPackage, request: InferRequest) -> InferResponse:
        """All rows together."""
        timing = Timing(preprocess_s=self.preprocess_s)
        for _, result in self._parts:
            timing.queue_s = max(timing.queue_s, result.queue_s)
            timing.runtime_s = max(timing.runtime_s, result.runtime_s)
        outputs = self._outputs()
        if request.outputs:
            outputs = {name: outputs[name] for name in request.outputs if name in outputs}
        return InferResponse(
            model=package.name,
            version=package.version,
            outputs=outputs,
            rows=self.rows,
            errors=self.errors,
            cached=frozenset(self.cached),
            timing=timing,
        )

    def _outputs(self) -> dict[str, Array]:
        if len(self._parts) == 1 and len(self._parts[0][0]) == self.rows:
            # A dict of its own: the cache, or another caller, may hold this one.
            return dict(self._parts[0][1].outputs)
        return gather_outputs([(rows, result.outputs) for rows, result in self._parts], self.rows)
