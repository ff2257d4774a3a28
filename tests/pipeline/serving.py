"""A whole pipeline over a repository of small models, for the tests of this folder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augury.cache.prediction import PredictionCache
from augury.core.clock import SystemClock
from augury.core.request import InferRequest
from augury.core.tensor import Array
from augury.lifecycle.manager import Manager
from augury.lifecycle.sources.directory import DirectorySource
from augury.observe.metrics import Metrics
from augury.pipeline.engine import Engine, PredictionRows, result_nbytes
from augury.pipeline.servable import ServableLoader
from augury.runtimes.onnx import OnnxRuntime

ONE_INSTANCE = "[instances]\ncount = 1\n"


@dataclass(frozen=True)
class Serving:
    """What a test may look at."""

    engine: Engine
    manager: Manager
    cache: PredictionRows
    metrics: Metrics

    def looked_up(self, model: str) -> dict[str, float]:
        """Rows looked up in the cache so far."""
        found = {}
        for result in ("hit", "shared", "miss"):
            labels = {"model": model, "result": result}
            value = self.metrics.registry.get_sample_value("augury_cache_lookups_total", labels)
            found[result] = value or 0.0
        return found


@asynccontextmanager
async def serving(
    repository: Path, *, max_rows: int = 65_536, cache_bytes: int = 1 << 24
) -> AsyncIterator[Serving]:
    """Everything in *repository*, loaded."""
    clock, metrics = SystemClock(), Metrics()
    manager = Manager(DirectorySource(repository), ServableLoader(clock, metrics), metrics)
    cache = PredictionCache(cache_bytes, clock, result_nbytes)
    with ThreadPoolExecutor(2) as executor:
        engine = Engine(manager, cache, executor, clock, max_rows=max_rows)
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

        def gated(runtime: OnnxRuntime, inputs: dict[str, Array]) -> dict[str, Array]:
            self.rows.append(len(next(iter(inputs.values()))))
            self.entered.release()
            assert self.open.wait(60)
            return run(runtime, inputs)

        monkeypatch.setattr(OnnxRuntime, "run", gated)

    async def running(self) -> None:
        """Return when one more run is under way."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=60)


async def turns(count: int = 5) -> None:
    """Let everybody on the loop go on."""
    for _ in range(count):
        await asyncio.sleep(0)
