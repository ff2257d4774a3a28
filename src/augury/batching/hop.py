"""Measures what it costs on this machine to hand rows to an instance, and its answer back."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter
from typing import Final

import numpy as np

from augury.batching.cost import CostModel
from augury.batching.policies.base import PolicyContext
from augury.batching.policies.registry import make_policy
from augury.batching.scheduler import Scheduler
from augury.batching.work import RowErrors, Work, WorkResult
from augury.core.cancellation import Cancellation
from augury.core.clock import SystemClock
from augury.core.tensor import Array
from augury.observe.metrics import Metrics, VersionMetrics
from augury.packages.manifest import BatchingTable

# Ways that are measured; 5 to 10 ms in all.
HOPS: Final = 15


def measure_hop_s() -> float:
    """Median seconds of a lone row's way through a scheduler whose model does nothing.

    On an event loop of its own, in a thread of its own, so that anybody may ask.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="augury-hop") as pool:
        return pool.submit(asyncio.run, _measure()).result()


async def _measure() -> float:
    cost = CostModel()
    scheduler = Scheduler(
        "hop",
        _nothing,
        policy=make_policy(PolicyContext(BatchingTable(), 1, cost)),
        cost=cost,
        instances=1,
        max_rows=1,
        max_queue_rows=1,
        clock=SystemClock(),
        metrics=VersionMetrics(Metrics(), "hop", 1),
    )
    loop = asyncio.get_running_loop()
    scheduler.start(loop)
    columns = {"x": np.zeros((1, 1))}
    times = []
    for _ in range(HOPS):
        started_s = perf_counter()
        future: asyncio.Future[WorkResult] = loop.create_future()
        scheduler.submit([Work(dict(columns), 1, future)])
        await future
        times.append(perf_counter() - started_s)
    await scheduler.close()
    return median(times)


def _nothing(
    inputs: dict[str, Array],
    rows: int,
    cancel: Cancellation | None,
) -> tuple[dict[str, Array], RowErrors]:
    return inputs, {}
