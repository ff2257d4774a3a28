"""Holds the versions, decides what is loaded and unloaded next, and hands out leases.

Runs on the event loop; blocking work goes to threads.  Loads use a thread of their own, so that a
slow load holds up neither requests nor the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor

from augury.core.errors import AuguryError, ModelNotFound, ModelNotReady, VersionNotFound
from augury.core.garbage import settle
from augury.lifecycle.handle import Handle
from augury.lifecycle.harness import Harness, State
from augury.lifecycle.loader import Loader, Servable
from augury.lifecycle.policies.availability import Action, Snapshot, next_action
from augury.lifecycle.sources.base import Source, Wanted
from augury.observe.logs import get_logger
from augury.observe.metrics import Metrics

_log = get_logger(__name__)


class Manager:
    """The versions of all models.

    Args:
        source: States what should be served.
        loader: Makes servables.
        metrics: Where states are shown.
        poll_s: Seconds between two questions to the source; ``None`` asks once.
    """

    def __init__(
        self, source: Source, loader: Loader, metrics: Metrics, *, poll_s: float | None = None
    ) -> None:
        self._source = source
        self._loader = loader
        self._metrics = metrics
        self._poll_s = poll_s
        self._harnesses: dict[str, dict[int, Harness]] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._ready: dict[str, Harness] = {}  # the newest ready version: what most requests want
        # A thread to load in and one to ask the source in: neither waits for the other.
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="augury-load")
        self._loading = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._wanted = Wanted()
        self._tasks: set[asyncio.Task[None]] = set()
        self._poller: asyncio.Task[None] | None = None
        self._warned: frozenset[str] = frozenset()
        self._generation = 0
        self._revision = 0

    async def start(self) -> None:
        """Ask the source, load what it wants, and go on asking if polling is on.

        Returns when every wanted version is ready or has failed.
        """
        await self.refresh()
        await self.settle()
        if self._poll_s is not None:
            self._poller = asyncio.create_task(self._poll(self._poll_s), name="augury-poll")

    async def refresh(self) -> None:
        """Ask the source once and begin what follows from its answer."""
        loop = asyncio.get_running_loop()
        async with self._asking:  # an older answer never overtakes a newer one
            self._aspire(await loop.run_in_executor(self._executor, self._source.wanted))

    async def settle(self) -> None:
        """Return when nothing is being loaded or unloaded."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Unload everything; requests under way are finished first."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        self._aspire(Wanted())
        await self.settle()
        while any(one.state is State.DRAINING for one in self.versions()):
            await asyncio.sleep(0.01)
            await self.settle()
        self._executor.shutdown()

    def acquire(self, name: str, version: int | None = None, label: str | None = None) -> Handle:
        """Lease a ready version: *version*, or the one *label* names, or the newest.

        Raises:
            ModelNotFound: No model of that name.
            VersionNotFound: The model has no such version or label.
            ModelNotReady: It is known but not ready.
        """
        harness = self._ready.get(name) if version is None and label is None else None
        if harness is None:
            harness = self._find(name, version, label)
        assert harness.servable is not None  # noqa: S101 - a ready harness has one
        return Handle(harness, harness.servable, self._on_idle)

    def versions(self, name: str | None = None) -> list[Harness]:
        """All versions that are known, or those of one model, by name and version."""
        names = sorted(self._harnesses) if name is None else [name]
        return [
            harness
            for each in names
            for _, harness in sorted(self._harnesses.get(each, {}).items())
        ]

    def models(self) -> tuple[str, ...]:
        """Names of all models, in order."""
        return tuple(sorted(self._harnesses))

    def default_version(self, name: str) -> int | None:
        """The version that answers when none is named; ``None`` when none is ready."""
        harness = self._ready.get(name)
        return None if harness is None else harness.version

    def labels(self, name: str) -> dict[str, int]:
        """Labels of a model and the versions that they name."""
        return dict(self._labels.get(name, {}))

    def unready(self) -> Sequence[Harness]:
        """Wanted models that have no ready version, each by its newest wanted version."""
        missing = []
        for name, harnesses in self._harnesses.items():
            wanted = [harness for harness in harnesses.values() if harness.aspired]
            if wanted and name not in self._ready:
                missing.append(max(wanted, key=lambda harness: harness.version))
        return missing

    @property
    def revision(self) -> int:
        """Changes whenever the set of ready versions does; for what is derived from it."""
        return self._revision

    def _find(self, name: str, version: int | None, label: str | None) -> Harness:
        harnesses = self._harnesses.get(name)
        if not harnesses:
            raise ModelNotFound(name, self.models())
        if label is not None:
            version = self._labels.get(name, {}).get(label)
            if version is None:
                raise VersionNotFound(name, f"label {label!r}", tuple(self._labels.get(name, ())))
        if version is None:
            newest = max(harnesses.values(), key=lambda one: (one.aspired, one.version))
            raise ModelNotReady(
                f"model {name!r} has no ready version; version {newest.version} is {newest.state}"
                + (f": {newest.reason}" if newest.reason else ""),
                model=name,
            )
        harness = harnesses.get(version)
        if harness is None:
            raise VersionNotFound(name, f"version {version}", tuple(map(str, sorted(harnesses))))
        if harness.state is not State.READY:
            raise ModelNotReady(
                f"version {version} of model {name!r} is {harness.state}"
                + (f": {harness.reason}" if harness.reason else ""),
                model=name,
                version=version,
            )
        return harness

    async def _poll(self, interval_s: float) -> None:
        told = ""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.refresh()
                told = ""
            except OSError as error:
                # A full descriptor table or a sleeping disk is no wish to unload everything.
                if told != str(error):
                    _log.warning(
                        "model repository unreadable; what is served stays", reason=str(error)
                    )
                told = str(error)
            except Exception as error:  # noqa: BLE001 - the next poll may do better
                _log.error("reading the model repository failed", exc_info=error)

    def _aspire(self, wanted: Wanted) -> None:
        """Take over the source's whole wanted set."""
        for warning in wanted.warnings:
            if warning not in self._warned:
                _log.warning(warning)
        self._warned = frozenset(wanted.warnings)
        self._wanted = wanted
        kept = {name: self.labels(name) for name in wanted.unclear}
        self._labels = {name: dict(labels) for name, labels in wanted.labels.items()} | kept
        for harness in self.versions():
            if harness.name not in wanted.unclear:
                harness.aspired = harness.version in wanted.versions.get(harness.name, {})
        self._adopt()
        self._reconcile()

    def _adopt(self) -> None:
        """Give every wanted version a harness."""
        for name, versions in self._wanted.versions.items():
            for version, aspired in versions.items():
                known = self._harnesses.setdefault(name, {})
                before = known.get(version)
                # A failed version is tried again when its files have changed.
                if before is not None and (
                    before.state is not State.FAILED or before.fingerprint == aspired.fingerprint
                ):
                    continue
                harness = Harness(name, version, aspired.fingerprint, aspired.package)
                known[version] = harness
                if aspired.fault:
                    self._fail(harness, aspired.fault)
                self._show(harness)

    def _reconcile(self) -> None:
        """Begin every action that the policy names."""
        while True:
            snapshots = [
                Snapshot(one.name, one.version, one.state, one.aspired) for one in self.versions()
            ]
            action = next_action(snapshots)
            if action is None:
                return
            self._begin(action)

    def _begin(self, action: Action) -> None:
        harness = self._harnesses[action.name][action.version]
        if action.kind == "load":
            harness.move(State.LOADING)
            self._show(harness)
            self._spawn(self._load(harness))
        elif harness.state is State.READY:
            harness.move(State.DRAINING)
            self._show(harness)
            self._on_idle(harness)
        else:
            self._forget(harness)

    async def _load(self, harness: Harness) -> None:
        async with self._loading:
            if harness.aspired:
                await self._load_now(harness)
            else:  # nobody wants it any more, since it waited for its turn
                self._forget(harness)
        self._reconcile()

    async def _load_now(self, harness: Harness) -> None:
        assert harness.package is not None  # noqa: S101 - only readable packages are NEW
        self._generation += 1
        loop = asyncio.get_running_loop()
        servable: Servable | None = None
        try:
            servable = await loop.run_in_executor(
                self._executor, self._loader.load, harness.package, self._generation
            )
            servable.start()
        except AuguryError as error:
            self._fail(harness, error.message)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a model may do anything at all
            _log.error("load failed", model=harness.name, version=harness.version, exc_info=error)
            if servable is not None:
                await self._close(harness, servable)
            self._fail(harness, f"{type(error).__name__}: {error}")
        else:
            harness.servable = servable
            harness.move(State.READY)
            _log.info("model ready", model=harness.name, version=harness.version)
        self._show(harness)

    def _fail(self, harness: Harness, reason: str) -> None:
        harness.move(State.FAILED, reason)
        _log.error("model failed", model=harness.name, version=harness.version, reason=reason)

    def _on_idle(self, harness: Harness) -> None:
        """The last lease came back, or none was out: close what is draining."""
        if harness.state is State.DRAINING and harness.idle:
            self._spawn(self._unload(harness))

    async def _unload(self, harness: Harness) -> None:
        assert harness.servable is not None  # noqa: S101 - it was ready
        await self._close(harness, harness.servable)
        harness.servable = None
        settle()
        _log.info("model unloaded", model=harness.name, version=harness.version)
        self._forget(harness)
        if harness.aspired:  # wanted again, since it was retired
            self._adopt()
        self._reconcile()

    async def _close(self, harness: Harness, servable: Servable) -> None:
        try:
            await servable.close()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the version is gone either way
            _log.error("unload failed", model=harness.name, version=harness.version, exc_info=error)

    def _forget(self, harness: Harness) -> None:
        harness.move(State.ENDED)
        versions = self._harnesses[harness.name]
        del versions[harness.version]
        if not versions:
            del self._harnesses[harness.name]
        self._metrics.set_model_state(harness.name, harness.version, None)
        self._choose_ready(harness.name)

    def _show(self, harness: Harness) -> None:
        self._metrics.set_model_state(harness.name, harness.version, harness.state)
        self._choose_ready(harness.name)

    def _choose_ready(self, name: str) -> None:
        ready = [
            harness
            for harness in self._harnesses.get(name, {}).values()
            if harness.state is State.READY
        ]
        self._revision += 1
        if ready:
            self._ready[name] = max(ready, key=lambda harness: (harness.aspired, harness.version))
        else:
            self._ready.pop(name, None)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
