"""Puts a server together from settings; the one place where everything meets."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import FastAPI

from augury.app.settings import Settings
from augury.cache.prediction import PredictionCache
from augury.core.clock import Clock, SystemClock
from augury.core.errors import InvalidSetting
from augury.edge.health import Drain
from augury.edge.http import Edge, build_api
from augury.lifecycle.manager import Manager
from augury.lifecycle.sources.base import Source
from augury.lifecycle.sources.directory import DirectorySource
from augury.observe.logs import get_logger
from augury.observe.metrics import Metrics
from augury.pipeline.engine import Engine, result_nbytes
from augury.pipeline.servable import ServableLoader
from augury.protocols.native.routes import PredictRoute
from augury.stores.registry import open_store

# The interpreter lets a thread run this long before another gets its turn.  Python's default of
# 5 ms would keep an instance waiting behind the event loop for as long as a whole batch takes.
SWITCH_INTERVAL_S: Final = 0.0005

BUNDLED: Final = "bundled"
TWEET_MODEL: Final = "tweet-sentiment"

_log = get_logger(__name__)


def bundled_repository() -> Path:
    """The models that ship inside the package."""
    return Path(str(files("augury").joinpath(BUNDLED)))


@dataclass(frozen=True, slots=True)
class Core:
    """What every face of the program needs to ask models."""

    manager: Manager
    engine: Engine
    metrics: Metrics
    clock: Clock


@asynccontextmanager
async def open_core(settings: Settings, *repositories: Path, poll: bool) -> AsyncIterator[Core]:
    """Models of *repositories*, loaded; unloaded when the block ends.

    Raises:
        InvalidSetting: A repository that is no folder.
    """
    for repository in repositories:
        if not repository.is_dir():
            raise InvalidSetting(f"no folder {str(repository)!r}; give a model repository")
    async with open_source(settings, DirectorySource(*repositories), poll=poll) as core:
        yield core


@asynccontextmanager
async def open_source(settings: Settings, source: Source, *, poll: bool) -> AsyncIterator[Core]:
    """What *source* wants, loaded; unloaded when the block ends."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    clock = SystemClock()
    metrics = Metrics()
    manager = Manager(
        source,
        ServableLoader(clock, metrics),
        metrics,
        poll_s=settings.model_poll_s if poll else None,
    )
    executor = ThreadPoolExecutor(2, thread_name_prefix="augury-preprocess")
    cache = PredictionCache(settings.cache_bytes, clock, result_nbytes, metrics.cache_bytes.set)
    engine = Engine(manager, cache, executor, clock, max_rows=settings.max_request_rows)
    try:
        await manager.start()
        yield Core(manager, engine, metrics, clock)
    finally:
        await manager.close()
        executor.shutdown()


@dataclass(frozen=True, slots=True)
class Application:
    """A server's application, ready to be given to a socket."""

    core: Core
    api: FastAPI
    edge: Edge
    drain: Drain


@asynccontextmanager
async def open_application(
    settings: Settings, repository: Path | None, apps: tuple[str, ...]
) -> AsyncIterator[Application]:
    """Everything that ``augury serve`` serves; closed in reverse order when the block ends.

    Args:
        settings: The settings.
        repository: The models to serve; ``None`` for the bundled application alone.
        apps: Bundled applications to add ("tweets").

    Raises:
        OperatorError: A setting, folder or store that cannot be used.
    """
    with_tweets = repository is None or "tweets" in apps
    repositories = [path for path in (repository,) if path is not None]
    if with_tweets:
        repositories.append(bundled_repository())
    poll = repository is not None and settings.model_control == "poll"
    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(settings, *repositories, poll=poll))
        drain = Drain()
        api = build_api(
            core.manager, core.metrics, drain, ready_without_models=settings.ready_without_models
        )
        if with_tweets:
            await add_tweets(stack, api, core, settings)
        predict = PredictRoute(
            core.engine,
            core.metrics,
            core.clock,
            max_body_bytes=settings.max_body_bytes,
            max_rows=settings.max_request_rows,
        )
        edge = Edge(
            predict,
            api,
            drain,
            core.metrics,
            core.clock,
            max_body_bytes=settings.max_body_bytes,
            max_buffered_bytes=settings.max_buffered_bytes,
        )
        yield Application(core, api, edge, drain)


async def add_tweets(stack: AsyncExitStack, api: FastAPI, core: Core, settings: Settings) -> None:
    """Add the tweet service and its page to *api*."""
    from augury.services.tweets.routes import router as tweet_routes
    from augury.services.tweets.service import TweetService
    from augury.services.tweets.sources.chain import open_sources
    from augury.services.tweets.sources.x_api import XLimits
    from augury.services.ui.routes import router as ui_routes

    store = await open_store(settings.store, clock=core.clock, on_corrupt=_tell_corrupt)
    stack.push_async_callback(store.close)
    token = settings.x_bearer_token
    source = await stack.enter_async_context(
        open_sources(
            store,
            token.get_secret_value() if token else None,
            base_url=settings.x_base_url,
            limits=XLimits(budget_s=settings.x_timeout_s),
        )
    )
    service = TweetService(
        core.engine,
        source,
        store,
        model=TWEET_MODEL,
        max_texts=settings.max_texts,
        clock=core.clock,
        on_lookup=core.metrics.feature_looked_up,
    )
    api.include_router(tweet_routes(service))
    api.include_router(ui_routes())


def _tell_corrupt(kept: Path, fault: str) -> None:
    _log.error("store was damaged; kept aside, a fresh one was begun", kept=str(kept), fault=fault)
