"""A whole pipeline over a repository of small models, for the tests of this folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augury.batching.scheduler import Scheduler
from augury.cache.prediction import PredictionCache
from augury.cache.stored import StoredRows
from augury.core.cancellation import Cancellation
from augury.core.clock import SystemClock
from augury.core.request import InferRequest
from augury.core.tensor import Array
from augury.lifecycle.manager import Manager
from augury.lifecycle.sources.directory import DirectorySource
from augury.observe.metrics import Metrics
from augury.pipeline.engine import Engine
from augury.pipeline.loading import ServableLoader
from augury.pipeline.remembered import PredictionRows, RowShelf, remembered_nbytes
from augury.pipeline.servable import ModelServable
from augury.runtimes.onnx import OnnxRuntime
from augury.stores.base import KeyValueStore

ONE_INSTANCE = "[instances]\ncount = 1\n"


@dataclass(frozen=True)
class Serving:
    """What a test may look at."""

    engine: Engine
    manager: Manager
    cache: PredictionRows
    metrics: Metrics

    @property
    def under_way(self) -> int:
        """How many rows are being answered."""
        servables = [harness.servable for harness in self.manager.versions()]
        return sum(len(one.flights) for one in servables if isinstance(one, ModelServable))

    def shelf(self, model: str) -> RowShelf:
        """The rows that its newest version has remembered in the process."""
        with self.engine.lease(model) as servable:
            assert isinstance(servable, ModelServable)
            return servable.shelf_in(self.cache)

    def looked_up(self, model: str, level: str = "process") -> dict[str, float]:
        """Rows looked up in a level of the cache so far."""
        found = {}
        other = "shared" if level == "process" else "unavailable"
        for result in ("hit", other, "miss"):
            labels = {"model": model, "level": level, "result": result}
            value = self.metrics.registry.get_sample_value("augury_cache_lookups_total", labels)
            found[result] = value or 0.0
        return found


@asynccontextmanager
async def serving(
    repository: Path,
    *,
    max_rows: int = 65_536,
    cache_bytes: int = 1 << 24,
    store: KeyValueStore | None = None,
) -> AsyncIterator[Serving]:
    """Everything in *repository*, loaded; answers are remembered in *store* too, if there is one."""
    clock, metrics = SystemClock(), Metrics()
    loader = ServableLoader(
        clock, metrics, share_answers=store is not None, remembers=cache_bytes > 0
    )
    manager = Manager(DirectorySource(repository), loader, metrics)
    cache: PredictionRows = PredictionCache(cache_bytes, clock, remembered_nbytes)
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(2))
        stored = None
        if store is not None:
            stored = await stack.enter_async_context(StoredRows(store, clock, timeout_s=30))
        engine = Engine(manager, cache, executor, clock, max_rows=max_rows, stored=stored)
        try:
            await manager.start()
            assert [one.reason for one in manager.unready()] == []
            yield Serving(engine, manager, cache, metrics)
        finally:
            await manager.close()


def ask(model: str, *rows: list[float], name: str = "x", **options: Any) -> InferRequest:
    """A request with one FP32 input."""
    return InferRequest(model, {name: np.array(rows, "f4")}, **options)


class Gate:
    """Every run of every ONNX model waits here until it is let through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.rows: list[int] = []
        run = OnnxRuntime.run

        def gated(
            runtime: OnnxRuntime, inputs: dict[str, Array], cancel: Cancellation | None = None
        ) -> dict[str, Array]:
            self.rows.append(len(next(iter(inputs.values()))))
            self.entered.release()
            assert self.open.wait(60)
            return run(runtime, inputs, cancel)

        monkeypatch.setattr(OnnxRuntime, "run", gated)
        # Whatever waits on the event loop would wait for ever.
        monkeypatch.setattr(Scheduler, "try_inline", lambda *_: None)

    async def running(self) -> None:
        """Return when one more run is under way."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=60)


async def turns(count: int = 5) -> None:
    """Let everybody on the loop go on."""
    for _ in range(count):
        await asyncio.sleep(0)
