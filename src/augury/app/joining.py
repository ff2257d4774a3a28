"""The joiner of feature tables over the server's store, or over one that is opened when it is needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path

from augury.core.clock import Clock
from augury.features.online import OnlineStore
from augury.observe.metrics import Metrics
from augury.pipeline.joining import Joiner
from augury.stores.base import KeyValueStore
from augury.stores.registry import open_store


@asynccontextmanager
async def open_joiner(
    store: KeyValueStore | None,
    url: str,
    *,
    clock: Clock,
    metrics: Metrics,
    executor: Executor,
    on_corrupt: Callable[[Path, str], None],
) -> AsyncIterator[Joiner]:
    """What reads the features that models join.

    Args:
        store: The store that is open already; it stays so.
        url: Without one: the store that is opened with the first request to a model that joins
            features, and closed when the block ends.  Commands whose models join none open none.
        clock: Decides what has expired.
        metrics: Where lookups are counted.
        executor: Where large requests are worked on.
        on_corrupt: Told of a damaged file, as :func:`open_store` does.
    """
    opened: list[KeyValueStore] = []

    async def open_features() -> OnlineStore:
        if store is not None:
            return OnlineStore(store, clock, executor)
        if not opened:
            opened.append(await open_store(url, clock=clock, on_corrupt=on_corrupt))
        return OnlineStore(opened[0], clock, executor)

    try:
        yield Joiner(open_features, metrics.features_joined, executor)
    finally:
        for one in opened:
            await one.close()
