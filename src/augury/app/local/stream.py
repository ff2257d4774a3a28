"""Rows through the engine, many at once, answers in the order of the rows.

A window of rows is under way, so that batches fill and no instance idles; memory is bounded by it,
whatever the length of the file.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np

from augury.app.build import Core, open_source
from augury.app.local.feed import RowFeed
from augury.app.local.rows import Row
from augury.app.local.selection import OnePackage
from augury.app.settings import Settings
from augury.core.errors import AuguryError, OperatorError, UnlikeRows
from augury.core.request import InferRequest, InferResponse, Priority
from augury.core.signature import Signature
from augury.core.tensor import Array
from augury.packages.reader import ModelPackage
from augury.pipeline.servable import ModelServable
from augury.protocols.native.codec import DecodedRows, decode_rows, encode_rows

# While one request is being preprocessed and one written out, a third keeps the instances busy.
REQUESTS_IN_FLIGHT: Final = 3
# Rows of a request, in batches: enough that rows of like length meet, which saves padding.
BATCHES_PER_REQUEST: Final = 8
REQUEST_BYTES: Final = 4 * 1024 * 1024


@dataclass(slots=True)
class Answers:
    """What became of some rows.

    Args:
        rows: The rows, in the order of the file.
        outputs: Output to array, a row for each of *rows*; void where there is an error.
        errors: Place in *rows* to why it has no answer.
    """

    rows: Sequence[Row]
    outputs: dict[str, Array] = field(default_factory=dict)
    errors: dict[int, AuguryError] = field(default_factory=dict)

    def first_error(self) -> str:
        """Line and message of the first row that has no answer; there is one."""
        place = min(self.errors)
        return f"line {self.rows[place].line}: {self.errors[place].message}"

    def documents(self, package: ModelPackage, signature: Signature) -> list[dict[str, Any]]:
        """Each row's answer as the native API has it, or its error, which tells the line too."""
        count = len(self.rows)
        response = InferResponse(package.name, package.version, self.outputs, count, self.errors)
        decoded = DecodedRows({}, list(range(count)), {}, count)
        documents = encode_rows(response, decoded, signature)
        for place in self.errors:
            documents[place]["error"]["line"] = self.rows[place].line
        return documents


class LocalModel:
    """A loaded model and the engine in front of it.

    Args:
        core: Where the model is loaded.
        servable: The model.
        max_rows: Rows of one request at most.
    """

    def __init__(self, core: Core, servable: ModelServable, max_rows: int) -> None:
        self._engine = core.engine
        self.package = servable.package
        self.signature = servable.signature
        queue_rows = servable.package.manifest.batching.max_queue_rows
        # Together no more than may wait: nothing is refused for a full queue.
        self._in_flight = min(REQUESTS_IN_FLIGHT, queue_rows)
        self._request_rows = min(
            BATCHES_PER_REQUEST * servable.scheduler.max_rows,
            queue_rows // self._in_flight,
            max_rows,
        )

    async def answer_rows(self, rows: Iterator[Row], write: Callable[[Answers], None]) -> None:
        """Answer all *rows* and give the answers to *write*, in the order of the rows.

        Args:
            rows: Read by a thread of its own.
            write: Called on the loop; blocks for as long as whoever reads the answers is slow.

        Raises:
            Exception: What *rows* or *write* raised.
        """
        pending: deque[asyncio.Task[Answers]] = deque()
        taking: asyncio.Task[list[Row]] | None = None
        ended = False
        feed = RowFeed(rows, max_rows=self._request_rows, max_bytes=REQUEST_BYTES)
        async with feed:
            try:
                while not ended or pending:
                    if taking is None and not ended and len(pending) < self._in_flight:
                        taking = asyncio.create_task(feed.take())
                    waits = [*list(pending)[:1], *([taking] if taking else [])]
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    if taking is not None and taking.done():
                        taken = taking.result()
                        taking, ended = None, not taken
                        if taken:
                            pending.append(asyncio.create_task(self._answer(taken)))
                    while pending and pending[0].done():
                        write(pending.popleft().result())
            finally:
                tasks: list[asyncio.Task[Any]] = [*pending, *([taking] if taking else [])]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, rows: Sequence[Row]) -> Answers:
        answers = Answers(rows)
        for place, row in enumerate(rows):
            if row.error is not None:
                answers.errors[place] = row.error
        good = [place for place in range(len(rows)) if place not in answers.errors]
        # Neighbours of like length share a batch: tweets in batches of 32 are padded by 25 %, not 34 %.
        good.sort(key=lambda place: rows[place].nbytes)
        while good:
            decoded = decode_rows([dict(rows[place].inputs) for place in good], self.signature)
            # Rows of one request share a shape; those of another shape go in a request of their own.
            others = []
            for position, error in decoded.errors.items():
                if decoded.positions and isinstance(error, UnlikeRows):
                    others.append(good[position])
                else:
                    answers.errors[good[position]] = error
            if decoded.positions:
                asked = [good[position] for position in decoded.positions]
                await self._ask(asked, decoded.inputs, answers)
            good = others
        return answers

    async def _ask(self, places: list[int], inputs: dict[str, Array], answers: Answers) -> None:
        request = InferRequest(
            self.package.name,
            inputs,
            version=self.package.version,
            use_cache=False,
            priority=Priority.LOW,
        )
        try:
            response = await self._engine.infer(request)
        except AuguryError as error:
            answers.errors.update((place, error) for place in places)
            return
        answers.errors.update((places[row], error) for row, error in response.errors.items())
        for name, array in response.outputs.items():
            _spread(answers, name, array, places)


def _spread(answers: Answers, name: str, array: Array, places: list[int]) -> None:
    """Put the rows of *array* where they belong among the answers' rows."""
    whole = answers.outputs.get(name)
    if whole is None:
        whole = np.zeros((len(answers.rows), *array.shape[1:]), array.dtype)
        if array.dtype == object:
            whole.fill(b"")
    elif whole.shape[1:] != array.shape[1:]:
        # Rows of different shape cannot share an array, but can share a column of lists.
        whole, array = _lists(whole), _lists(array)
    whole[places] = array
    answers.outputs[name] = whole


def _lists(array: Array) -> Array:
    column = np.empty(len(array), dtype=object)
    for row, value in enumerate(array.tolist()):
        column[row] = value
    return column


@asynccontextmanager
async def open_model(settings: Settings, package: ModelPackage) -> AsyncIterator[LocalModel]:
    """*package*, loaded behind an engine; unloaded when the block ends.

    Raises:
        OperatorError: It cannot be loaded.
    """
    async with open_source(settings, OnePackage(package), poll=False) as core:
        for harness in core.manager.unready():
            raise OperatorError(harness.reason)
        with core.engine.lease(package.name, package.version) as servable:
            yield LocalModel(core, cast("ModelServable", servable), settings.max_request_rows)
