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

from augury.app.access import check_exposure, open_access
from augury.app.joining import open_joiner
from augury.app.settings import Settings
from augury.cache.prediction import PredictionCache
from augury.cache.stored import StoredRows
from augury.core.clock import Clock, SystemClock
from augury.core.errors import InvalidSetting, OperatorError
from augury.edge.health import Drain
from augury.edge.http import Edge, build_api
from augury.lifecycle.manager import Manager
from augury.lifecycle.sources.base import Source
from augury.lifecycle.sources.directory import DirectorySource
from augury.observe.logs import get_logger
from augury.observe.metrics import Metrics
from augury.pipeline.costs import CostBook
from augury.pipeline.engine import Engine
from augury.pipeline.loading import ServableLoader
from augury.pipeline.remembered import PredictionRows, remembered_nbytes
from augury.protocols.native.batches import router as batch_routes
from augury.protocols.native.routes import PredictRoute
from augury.stores.base import KeyValueStore
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
async def open_core(
    settings: Settings,
    *repositories: Path,
    poll: bool,
    store: KeyValueStore | None = None,
    costs: CostBook | None = None,
) -> AsyncIterator[Core]:
    """Models of *repositories*, loaded; unloaded when the block ends.

    Args:
        settings: The settings.
        *repositories: Folders of models.
        poll: Whether they are looked at again and again.
        store: The store that is open; ``None``: the settings' one is opened when it is needed.
        costs: Where what batches cost is kept between starts; ``None``: nowhere.

    Raises:
        InvalidSetting: A repository that is no folder.
    """
    for repository in repositories:
        if not repository.is_dir():
            raise InvalidSetting(f"no folder {str(repository)!r}; give a model repository")
    source = DirectorySource(*repositories)
    async with open_source(settings, source, poll=poll, store=store, costs=costs) as core:
        yield core


@asynccontextmanager
async def open_source(
    settings: Settings,
    source: Source,
    *,
    poll: bool,
    store: KeyValueStore | None = None,
    costs: CostBook | None = None,
) -> AsyncIterator[Core]:
    """What *source* wants, loaded; unloaded when the block ends."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    clock = SystemClock()
    metrics = Metrics()
    shared = store if settings.caches_in_store else None
    manager = Manager(
        source,
        ServableLoader(
            clock,
            metrics,
            share_answers=shared is not None,
            remembers=settings.cache_bytes > 0 and settings.cache_entries > 0,
            costs=costs,
        ),
        metrics,
        poll_s=settings.model_poll_s if poll else None,
    )
    executor = ThreadPoolExecutor(2, thread_name_prefix="augury-preprocess")
    cache: PredictionRows = PredictionCache(
        settings.cache_bytes, clock, remembered_nbytes, max_entries=settings.cache_entries
    )
    joining = open_joiner(
        store,
        settings.store,
        clock=clock,
        metrics=metrics,
        executor=executor,
        on_corrupt=_tell_corrupt,
    )
    async with joining as joiner, _open_rows(settings, shared, clock) as stored:
        engine = Engine(
            manager,
            cache,
            executor,
            clock,
            max_rows=settings.max_request_rows,
            stored=stored,
            joiner=joiner,
        )
        try:
            await manager.start()
            yield Core(manager, engine, metrics, clock)
        finally:
            await manager.close()
            executor.shutdown()


@asynccontextmanager
async def _open_rows(
    settings: Settings, shared: KeyValueStore | None, clock: Clock
) -> AsyncIterator[StoredRows | None]:
    """The prediction cache's second level, if there is a store for it."""
    if shared is None:
        yield None
        return
    rows = StoredRows(
        shared,
        clock,
        timeout_s=settings.store_timeout_s,
        max_bytes=settings.cache_unwritten_bytes,
    )
    async with rows as stored:
        yield stored


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
        check_exposure(settings)
        clock = SystemClock()
        store = await _open_store(settings, clock, needed=with_tweets)
        stack.push_async_callback(store.close)
        access = await stack.enter_async_context(open_access(settings, store, clock))
        costs = CostBook(settings.costs) if settings.costs is not None else None
        core = await stack.enter_async_context(
            open_core(settings, *repositories, poll=poll, store=store, costs=costs)
        )
        drain = Drain()
        api = build_api(
            core.manager,
            core.metrics,
            drain,
            anonymous=access.gate.anonymous,
            ready_without_models=settings.ready_without_models,
            degradations=lambda: _degradations(store, settings),
        )
        core.metrics.watch_store(lambda: store.fault is None)
        api.include_router(batch_routes(core.manager, core.clock))
        if with_tweets:
            await add_tweets(stack, api, core, settings, store)
        await add_pages(stack, api, core, drain, tweets=with_tweets)
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
            access.gate,
            access.audit,
            drain,
            metrics=core.metrics,
            clock=core.clock,
            max_body_bytes=settings.max_body_bytes,
            max_buffered_bytes=settings.max_buffered_bytes,
        )
        yield Application(core, api, edge, drain)


def _degradations(store: KeyValueStore, settings: Settings) -> list[str]:
    """What ``/readyz``, which is open to everybody, tells of the store."""
    if store.fault is None:
        return []
    # Where it is and how it fails is not for everybody to know.
    return [
        store.fault if settings.on_loopback else "the store cannot be reached; the log tells why"
    ]


async def _open_store(settings: Settings, clock: Clock, *, needed: bool) -> KeyValueStore:
    """The settings' store; one in memory where nobody asked for it and the folder is read-only.

    Raises:
        OperatorError: It cannot be opened, and is needed or was asked for.
    """
    try:
        return await open_store(
            settings.store,
            clock=clock,
            on_corrupt=_tell_corrupt,
            timeout_s=settings.store_timeout_s,
        )
    except OperatorError as error:
        if needed or settings.store != Settings.model_fields["store"].default:
            raise
        _log.warning("no store: API keys are not known", reason=str(error), help="--store")
        return await open_store("memory://", clock=clock, on_corrupt=_tell_corrupt)


async def add_tweets(
    stack: AsyncExitStack, api: FastAPI, core: Core, settings: Settings, store: KeyValueStore
) -> None:
    """Add the tweet service to *api*."""
    from augury.services.tweets.api.routes import router as tweet_routes
    from augury.services.tweets.ledger import ledger_over
    from augury.services.tweets.service import TweetService
    from augury.services.tweets.sources.chain import open_sources
    from augury.services.tweets.sources.x_api import XLimits

    token = settings.x_bearer_token
    source = await stack.enter_async_context(
        open_sources(
            store,
            token.get_secret_value() if token else None,
            base_url=settings.x_base_url,
            limits=XLimits(budget_s=settings.x_timeout_s),
        )
    )
    service = await stack.enter_async_context(
        TweetService(
            core.engine,
            source,
            ledger_over(store, core.clock),
            model=TWEET_MODEL,
            max_texts=settings.max_texts,
            clock=core.clock,
            on_lookup=core.metrics.feature_looked_up,
            buffer_items=settings.store_buffer_items,
            buffer_bytes=settings.store_buffer_bytes,
            on_buffer=core.metrics.store_buffer_changed,
        )
    )
    api.include_router(tweet_routes(service))


async def add_pages(
    stack: AsyncExitStack, api: FastAPI, core: Core, drain: Drain, *, tweets: bool
) -> None:
    """Add the dashboard to *api*, and the page at ``/`` when *tweets* are served."""
    from augury.services.ui.live import router as live_routes
    from augury.services.ui.live import sampler_of
    from augury.services.ui.routes import router as page_routes
    from augury.services.ui.sampler import running

    sampler = sampler_of(core.metrics, core.manager, core.clock, draining=lambda: drain.begun)
    await stack.enter_async_context(running(sampler))
    api.include_router(live_routes(sampler, tweets=tweets))
    api.include_router(page_routes(page=tweets))


def _tell_corrupt(kept: Path, fault: str) -> None:
    _log.error("store was damaged; kept aside, a fresh one was begun", kept=str(kept), fault=fault)
