"""A scheduler over a function in a model's place, for the tests of this folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from augury.batching.cost import CostModel
from augury.batching.policies.base import PolicyContext
from augury.batching.policies.registry import make_policy
from augury.batching.scheduler import RowErrors, RunBatch, Scheduler, Work
from augury.core.cancellation import Cancellation
from augury.core.clock import SystemClock
from augury.core.errors import AuguryError
from augury.core.request import Priority
from augury.core.tensor import Array, Columns
from augury.observe.metrics import Metrics, VersionMetrics
from augury.packages.manifest import BatchingTable

Outputs = tuple[dict[str, Array], RowErrors]


class Model:
    """Adds one, and notes what it was asked; a value below zero makes the whole batch fail."""

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.error: BaseException = ValueError("a value of the caller's")

    def __call__(
        self, inputs: dict[str, Array], rows: int, cancel: Cancellation | None = None
    ) -> Outputs:
        values = inputs["x"][:, 0].tolist()
        self.batches.append(values)
        assert len(values) == rows
        if min(values) < 0:
            raise self.error
        return {"y": inputs["x"] + 1}, {}


class Gate(Model):
    """As :class:`Model`, but each batch waits until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(
        self, inputs: dict[str, Array], rows: int, cancel: Cancellation | None = None
    ) -> Outputs:
        self.entered.release()
        assert self.open.wait(60)
        return super().__call__(inputs, rows)

    async def running(self) -> None:
        """Return when one more batch is under way."""
        await asyncio.to_thread(self.entered.acquire, timeout=60)


def work(*values: float, deadline_s: float | None = None, priority: int = Priority.NORMAL) -> Work:
    columns: Columns = {"x": np.array(values, "f8").reshape(-1, 1)}
    future = asyncio.get_running_loop().create_future()
    return Work(columns, len(values), future, deadline_s, priority)


def scheduler_of(run: RunBatch, metrics: Metrics | None = None, **options: Any) -> Scheduler:
    """One with the default policy, unless *options* have another."""
    given: dict[str, Any] = {"instances": 1, "max_rows": 64, "max_queue_rows": 1000, **options}
    given.setdefault("clock", SystemClock())
    cost = given.setdefault("cost", CostModel())
    table = given.pop("table", BatchingTable())
    given.setdefault("policy", make_policy(PolicyContext(table, given["max_rows"], cost)))
    return Scheduler(
        "model/1", run, metrics=VersionMetrics(metrics or Metrics(), "model", 1), **given
    )


@asynccontextmanager
async def started(run: RunBatch, *, start: bool = True, **options: Any) -> AsyncIterator[Scheduler]:
    scheduler = scheduler_of(run, **options)
    if start:
        scheduler.start(asyncio.get_running_loop())
    try:
        yield scheduler
    finally:
        if isinstance(run, Gate):
            run.open.set()
        await scheduler.close()
        assert not any(thread.is_alive() for thread in scheduler._threads)


async def outcome(one: Work) -> Any:
    """The values that came back, or the error's type."""
    try:
        result = await asyncio.wait_for(one.future, 60)
    except AuguryError as error:
        return type(error)
    values = result.outputs["y"][:, 0].tolist() if result.outputs else [None] * one.rows
    return [
        type(result.errors[row]) if row in result.errors else value
        for row, value in enumerate(values)
    ]
