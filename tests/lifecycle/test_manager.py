"""Tests of ``augury.lifecycle.manager``: real loop and threads, models that only note their lives."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from augury.core.errors import InvalidPackage, ModelNotFound, ModelNotReady, VersionNotFound
from augury.lifecycle.harness import State
from augury.lifecycle.loader import Servable
from augury.lifecycle.manager import Manager
from augury.lifecycle.sources.base import Aspired, Wanted
from augury.lifecycle.sources.directory import DirectorySource
from augury.observe.metrics import MODEL_STATES, Metrics
from augury.packages.reader import ModelPackage

Key = tuple[str, int]


class Life:
    """A servable that notes what is done to it."""

    def __init__(self, package: ModelPackage, generation: int) -> None:
        self._package = package
        self.generation = generation
        self.started = self.closed = 0
        self.may_close = asyncio.Event()
        self.may_close.set()
        self.fault: BaseException | None = None

    @property
    def package(self) -> ModelPackage:
        return self._package

    def start(self) -> None:
        self.started += 1
        if self.fault:
            raise self.fault

    async def close(self) -> None:
        await self.may_close.wait()
        self.closed += 1
        if self.fault:
            raise self.fault


class Lives:
    """A loader that does as it is told."""

    def __init__(self) -> None:
        self.made: dict[Key, list[Life]] = defaultdict(list)
        self.errors: dict[Key, BaseException] = {}
        self.faults: dict[Key, BaseException] = {}
        self.gates: dict[Key, threading.Event] = {}
        self.entered: dict[Key, threading.Event] = defaultdict(threading.Event)
        self.order: list[Key] = []

    def load(self, package: ModelPackage, generation: int) -> Servable:
        key = (package.name, package.version)
        self.order.append(key)
        self.entered[key].set()
        if key in self.gates:
            assert self.gates[key].wait(60)
        if key in self.errors:
            raise self.errors[key]
        life = Life(package, generation)
        life.fault = self.faults.get(key)
        self.made[key].append(life)
        return life

    async def loading(self, *key: str | int) -> None:
        """Return when the load of *key* has begun."""
        assert await asyncio.to_thread(self.entered[key].wait, 60)  # type: ignore[index]

    def open(self) -> None:
        for gate in self.gates.values():
            gate.set()

    def one(self, *key: str | int) -> Life:
        (life,) = self.made[key]  # type: ignore[index]
        return life


class Wish:
    """A source that wants what the test says."""

    def __init__(self, *keys: Key, labels: dict[str, dict[str, int]] | None = None) -> None:
        self.wish = Wanted()
        self.asked = 0
        self.error: Exception | None = None
        self.set(*keys, labels=labels)

    def set(
        self,
        *keys: Key,
        labels: dict[str, dict[str, int]] | None = None,
        faults: dict[Key, str] | None = None,
        fingerprint: str = "",
        warnings: tuple[str, ...] = (),
        unclear: frozenset[str] = frozenset(),
    ) -> None:
        versions: dict[str, dict[int, Aspired]] = {}
        for name, version in keys:
            path = Path("/repository") / name / str(version)
            package = ModelPackage(name, version, path, path / "model.onnx", "onnx")
            fault = (faults or {}).get((name, version), "")
            versions.setdefault(name, {})[version] = Aspired(
                None if fault else package, fault, fingerprint
            )
        self.wish = Wanted(versions, labels or {}, warnings, unclear)

    def wanted(self) -> Wanted:
        self.asked += 1
        if self.error:
            raise self.error
        return self.wish


@asynccontextmanager
async def managing(
    source: Wish | DirectorySource,
    loader: Lives,
    *,
    poll_s: float | None = None,
    metrics: Metrics | None = None,
) -> AsyncIterator[Manager]:
    manager = Manager(source, loader, metrics or Metrics(), poll_s=poll_s)
    try:
        yield manager
    finally:
        loader.open()
        await manager.close()


def states(manager: Manager, name: str | None = None) -> dict[Key, str]:
    return {(one.name, one.version): str(one.state) for one in manager.versions(name)}


async def until(condition: Callable[[], bool]) -> None:
    """Return when *condition* holds; the event loop goes on meanwhile."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the conditions are others' business
            await asyncio.sleep(0.001)


@pytest.fixture
def loader() -> Lives:
    return Lives()


async def test_what_is_wanted_is_loaded(loader: Lives) -> None:
    """After the start all of it is ready, the newest version answers, each in its own generation."""
    source = Wish(("a", 1), ("a", 2), ("b", 1))
    async with managing(source, loader) as manager:
        await manager.start()
        assert set(states(manager).values()) == {"ready"}
        assert manager.models() == ("a", "b")
        assert manager.default_version("a") == 2
        assert manager.default_version("c") is None
        assert manager.unready() == []
        assert loader.order == [("a", 2), ("a", 1), ("b", 1)]
        lives = [life for made in loader.made.values() for life in made]
        assert len({life.generation for life in lives}) == 3
        assert [life.started for life in lives] == [1, 1, 1]
    assert [life.closed for life in lives] == [1, 1, 1]
    assert manager.versions() == []


async def test_leases(loader: Lives) -> None:
    """By default the newest; else the version or the label asked for."""
    source = Wish(("a", 1), ("a", 2), labels={"a": {"stable": 1, "new": 2}})
    async with managing(source, loader) as manager:
        await manager.start()
        for version, label, want in ((None, None, 2), (1, None, 1), (None, "stable", 1)):
            with manager.acquire("a", version, label) as servable:
                assert servable.package.version == want
        assert manager.labels("a") == {"stable": 1, "new": 2}
        assert manager.labels("b") == {}
        assert all(harness.idle for harness in manager.versions())


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (("c",), ModelNotFound, "no model 'c'; here are: a, b"),
        (("a", 7), VersionNotFound, "model 'a' has no version 7; here are: 1, 2"),
        (("a", None, "x"), VersionNotFound, "model 'a' has no label 'x'; here are: stable, bad"),
        (("a", 2), ModelNotReady, "version 2 of model 'a' is failed: no good"),
        (("a", None, "bad"), ModelNotReady, "version 2 of model 'a' is failed: no good"),
        (("b",), ModelNotReady, "model 'b' has no ready version; version 1 is failed: no good"),
    ],
)
async def test_what_cannot_be_leased_is_told(
    loader: Lives, asked: tuple[str, int | None, str | None], error: type[Exception], words: str
) -> None:
    """The message says what there is instead, or why it is not ready."""
    loader.errors = {key: InvalidPackage("no good", path="p") for key in (("a", 2), ("b", 1))}
    source = Wish(("a", 1), ("a", 2), ("b", 1), labels={"a": {"stable": 1, "bad": 2}})
    async with managing(source, loader) as manager:
        await manager.start()
        with pytest.raises(error, match=words.replace("no good", "p: no good")):
            manager.acquire(*asked)


async def test_nothing_is_wanted(loader: Lives) -> None:
    """An empty repository is served too."""
    async with managing(Wish(), loader) as manager:
        await manager.start()
        assert manager.models() == ()
        with pytest.raises(ModelNotFound, match="none is loaded"):
            manager.acquire("a")


async def test_a_hot_swap_under_constant_traffic(loader: Lives) -> None:
    """No request fails, the old version is closed once, and not before its last lease is back."""
    source = Wish(("a", 1))
    async with managing(source, loader) as manager:
        await manager.start()
        served: list[int] = []
        stop = False

        async def traffic() -> None:
            while not stop:
                with manager.acquire("a") as servable:
                    assert isinstance(servable, Life)
                    for _ in range(3):
                        await asyncio.sleep(0)
                        assert not servable.closed
                    served.append(servable.package.version)

        clients = [asyncio.create_task(traffic()) for _ in range(8)]
        for version in range(2, 12):
            source.set(("a", version))
            await manager.refresh()
            await manager.settle()
            await until(lambda v=version: states(manager) == {("a", v): "ready"})  # type: ignore[misc]
        stop = True
        await asyncio.gather(*clients)
        assert served == sorted(served)
        assert set(served) >= {2, 11}
        for version in range(1, 11):
            assert loader.one("a", version).closed == 1


async def test_an_old_version_waits_for_its_last_lease(loader: Lives) -> None:
    """Meanwhile it drains: nobody new gets it, and the new one answers."""
    source = Wish(("a", 1))
    async with managing(source, loader) as manager:
        await manager.start()
        first, second = manager.acquire("a"), manager.acquire("a")
        source.set(("a", 2))
        await manager.refresh()
        await manager.settle()
        assert states(manager) == {("a", 1): "draining", ("a", 2): "ready"}
        with manager.acquire("a") as servable:
            assert servable.package.version == 2
        with pytest.raises(ModelNotReady, match="version 1 of model 'a' is draining"):
            manager.acquire("a", 1)
        first.__exit__(None, None, None)
        await manager.settle()
        assert loader.one("a", 1).closed == 0
        second.__exit__(None, None, None)
        await manager.settle()
        assert loader.one("a", 1).closed == 1
        assert states(manager) == {("a", 2): "ready"}


async def test_the_old_serves_while_the_new_loads(loader: Lives) -> None:
    """And the loop is not held up by the load."""
    source = Wish(("a", 1))
    loader.gates["a", 2] = threading.Event()
    async with managing(source, loader) as manager:
        await manager.start()
        source.set(("a", 2))
        await manager.refresh()
        await loader.loading("a", 2)
        assert states(manager) == {("a", 1): "ready", ("a", 2): "loading"}
        assert manager.default_version("a") == 1
        await manager.refresh()
        loader.open()
        await manager.settle()
        assert states(manager) == {("a", 2): "ready"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidPackage("no good", path="p", line=3), "p:3: no good"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
async def test_a_broken_newcomer_leaves_the_old_one_serving(
    loader: Lives, error: BaseException, reason: str
) -> None:
    """Its reason is seen; mended, it is tried again; unchanged, it is not."""
    source = Wish(("a", 1))
    async with managing(source, loader) as manager:
        await manager.start()
        loader.errors["a", 2] = error
        source.set(("a", 2), fingerprint="broken")
        await manager.refresh()
        await manager.settle()
        old, new = manager.versions()
        assert (old.state, new.state) == (State.READY, State.FAILED)
        assert new.reason == reason
        assert manager.default_version("a") == 1
        assert manager.unready() == []
        await manager.refresh()
        await manager.settle()
        assert loader.order == [("a", 1), ("a", 2)]

        del loader.errors["a", 2]
        source.set(("a", 2), fingerprint="mended")
        await manager.refresh()
        await manager.settle()
        assert states(manager) == {("a", 2): "ready"}


async def test_a_version_that_cannot_be_read_is_seen_as_failed(loader: Lives) -> None:
    """It is never loaded; once readable, it is."""
    source = Wish()
    source.set(("a", 1), faults={("a", 1): "a/model.toml:3: no"}, fingerprint="1")
    async with managing(source, loader) as manager:
        await manager.start()
        (harness,) = manager.versions()
        assert (harness.state, harness.reason) == (State.FAILED, "a/model.toml:3: no")
        assert list(manager.unready()) == [harness]
        assert loader.order == []
        source.set(("a", 1), fingerprint="2")
        await manager.refresh()
        await manager.settle()
        assert states(manager) == {("a", 1): "ready"}


async def test_a_broken_manifest_takes_nothing_away(loader: Lives) -> None:
    """While nobody can tell what is wanted, versions and labels stay as they were."""
    source = Wish(("a", 1), ("a", 2), ("b", 1), labels={"a": {"stable": 1}})
    async with managing(source, loader) as manager:
        await manager.start()
        source.set(("a", 2), faults={("a", 2): "broken"}, unclear=frozenset({"a"}))
        await manager.refresh()
        await manager.settle()
        assert states(manager) == {("a", 1): "ready", ("a", 2): "ready"}
        assert manager.labels("a") == {"stable": 1}
        source.set(("a", 2), ("a", 3), faults={("a", 3): "broken"}, unclear=frozenset({"a"}))
        await manager.refresh()
        await manager.settle()
        assert states(manager, "a") == {("a", 1): "ready", ("a", 2): "ready", ("a", 3): "failed"}
        source.set(("a", 3), fingerprint="mended")
        await manager.refresh()
        await manager.settle()
        assert states(manager) == {("a", 3): "ready"}
        assert manager.labels("a") == {}


async def test_a_model_that_is_wanted_no_more_is_removed(loader: Lives) -> None:
    """Ready and failed versions alike; the other models stay."""
    loader.errors["a", 2] = InvalidPackage("no good", path="p")
    source = Wish(("a", 1), ("a", 2), ("b", 1))
    async with managing(source, loader) as manager:
        await manager.start()
        source.set(("b", 1))
        await manager.refresh()
        await manager.settle()
        assert states(manager) == {("b", 1): "ready"}
        assert loader.one("a", 1).closed == 1
        with pytest.raises(ModelNotFound):
            manager.acquire("a")


async def test_a_version_wanted_again_while_it_drains_comes_back(loader: Lives) -> None:
    """Its old life ends, a new one begins, without another question to the source."""
    source = Wish(("a", 1))
    async with managing(source, loader) as manager:
        await manager.start()
        with manager.acquire("a"):
            source.set()
            await manager.refresh()
            assert states(manager) == {("a", 1): "draining"}
            source.set(("a", 1))
            await manager.refresh()
            await manager.settle()
            assert states(manager) == {("a", 1): "draining"}
        await manager.settle()
        assert states(manager) == {("a", 1): "ready"}
        first, second = loader.made["a", 1]
        assert (first.closed, second.closed) == (1, 0)
        assert first.generation != second.generation


async def test_a_version_dropped_while_it_loads_is_unloaded(loader: Lives) -> None:
    """It never serves."""
    source = Wish(("a", 1))
    loader.gates["a", 1] = threading.Event()
    async with managing(source, loader) as manager:
        starting = asyncio.create_task(manager.start())
        await loader.loading("a", 1)
        source.set()
        await manager.refresh()
        loader.open()
        await starting
        assert states(manager) == {}
        assert loader.one("a", 1).closed == 1


async def test_close_while_loads_are_under_way(loader: Lives) -> None:
    """The load that runs ends and is undone; those that wait their turn never begin."""
    keys = [("a", n) for n in range(1, 6)]
    source = Wish(*keys)
    loader.gates["a", 5] = threading.Event()
    metrics = Metrics()
    async with managing(source, loader, metrics=metrics) as manager:
        starting = asyncio.create_task(manager.start())
        await loader.loading("a", 5)
        closing = asyncio.create_task(manager.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        loader.open()
        await asyncio.wait_for(asyncio.gather(closing, starting), 60)
        assert loader.order == [("a", 5)]
        assert loader.one("a", 5).closed == 1
        assert states(manager) == {}
        assert "augury_model_state{" not in metrics.exposition()[0].decode()


async def test_a_start_that_is_cancelled_can_be_closed(loader: Lives) -> None:
    """Ctrl-C while a model loads."""
    loader.gates["a", 1] = threading.Event()
    async with managing(Wish(("a", 1)), loader) as manager:
        starting = asyncio.create_task(manager.start())
        await loader.loading("a", 1)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        closing = asyncio.create_task(manager.close())
        loader.open()
        await closing
        assert loader.one("a", 1).closed == 1


async def test_close_waits_for_leases(loader: Lives) -> None:
    """A request under way is finished first."""
    async with managing(Wish(("a", 1)), loader) as manager:
        await manager.start()
        with manager.acquire("a") as servable:
            closing = asyncio.create_task(manager.close())
            for _ in range(3):
                await asyncio.sleep(0.01)
            assert not closing.done()
            assert isinstance(servable, Life)
            assert not servable.closed
        await closing
        assert loader.one("a", 1).closed == 1


async def test_a_servable_that_cannot_start_is_closed(loader: Lives) -> None:
    """What was loaded is given back, and the reason is seen."""
    loader.faults["a", 1] = RuntimeError("can't start new thread")
    async with managing(Wish(("a", 1)), loader) as manager:
        await manager.start()
        (harness,) = manager.versions()
        assert harness.reason == "RuntimeError: can't start new thread"
        assert harness.servable is None
        assert loader.one("a", 1).closed == 1


async def test_a_servable_that_fails_to_close_is_gone_all_the_same(loader: Lives) -> None:
    """Its memory may be lost; the manager goes on."""
    source = Wish(("a", 1))
    async with managing(source, loader) as manager:
        await manager.start()
        loader.one("a", 1).fault = ValueError("no")
        source.set(("a", 2))
        await manager.refresh()
        await manager.settle()
        assert states(manager) == {("a", 2): "ready"}


async def test_every_state_is_seen_in_the_metrics(loader: Lives) -> None:
    """One of them is 1, the others 0; a version that has ended is forgotten."""
    metrics = Metrics()

    def shown(version: int) -> list[str]:
        return [
            state
            for state in MODEL_STATES
            if metrics.registry.get_sample_value(
                "augury_model_state", {"model": "a", "version": str(version), "state": state}
            )
        ]

    loader.gates = {("a", 1): threading.Event()}
    loader.errors["a", 2] = InvalidPackage("no good", path="p")
    source = Wish(("a", 1))
    async with managing(source, loader, metrics=metrics) as manager:
        starting = asyncio.create_task(manager.start())
        await loader.loading("a", 1)
        assert shown(1) == ["loading"]
        loader.open()
        await starting
        assert shown(1) == ["ready"]
        with manager.acquire("a"):
            source.set(("a", 2), ("a", 3))
            await manager.refresh()
            await manager.settle()
            assert (shown(1), shown(2), shown(3)) == (["draining"], ["failed"], ["ready"])
        await manager.settle()
        assert shown(1) == []
        assert 'version="1"' not in metrics.exposition()[0].decode()


async def test_the_revision_tells_of_changes(loader: Lives) -> None:
    """What is derived from the ready versions can be made anew."""
    source = Wish(("a", 1))
    async with managing(source, loader) as manager:
        await manager.start()
        before = manager.revision
        await manager.refresh()
        assert manager.revision == before
        source.set(("a", 2))
        await manager.refresh()
        await manager.settle()
        assert manager.revision > before


async def test_polling(loader: Lives) -> None:
    """The source is asked again and again; a failure of it takes nothing away."""
    source = Wish(("a", 1))
    async with managing(source, loader, poll_s=0.002) as manager:
        await manager.start()
        source.error = OSError("disk")
        asked = source.asked
        await until(lambda: source.asked > asked + 2)
        assert states(manager) == {("a", 1): "ready"}
        source.error = None
        source.set(("a", 2))
        await until(lambda: states(manager) == {("a", 2): "ready"})
    asked = source.asked
    await asyncio.sleep(0.02)
    assert source.asked == asked


async def test_a_slow_load_does_not_keep_the_source_from_being_asked(loader: Lives) -> None:
    """Labels may move meanwhile."""
    source = Wish(("a", 1), labels={"a": {"x": 1}})
    async with managing(source, loader) as manager:
        await manager.start()
        loader.gates["a", 2] = threading.Event()
        source.set(("a", 1), ("a", 2))
        await manager.refresh()
        await loader.loading("a", 2)
        source.set(("a", 1), ("a", 2), labels={"a": {"y": 1}})
        await asyncio.wait_for(manager.refresh(), 60)
        assert manager.labels("a") == {"y": 1}


async def test_a_warning_is_logged_once(loader: Lives, caplog: pytest.LogCaptureFixture) -> None:
    """Not at every poll, but again when it comes back."""
    source = Wish()
    async with managing(source, loader) as manager:
        for warnings in (("odd",), ("odd",), (), ("odd",)):
            source.set(warnings=warnings)
            await manager.refresh()
    assert caplog.text.count("'event': 'odd'") == 2


async def test_a_real_repository(tmp_path: Path, loader: Lives) -> None:
    """From folders to leases: a new version, a broken one, its mending, and its removal."""

    def write(version: int) -> Path:
        folder = tmp_path / "m" / str(version)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"weights")
        return folder

    write(1)
    async with managing(DirectorySource(tmp_path), loader) as manager:
        await manager.start()
        assert states(manager) == {("m", 1): "ready"}
        (write(2) / "model.toml").write_text("[cahce]\n")
        await manager.refresh()
        await manager.settle()
        assert states(manager) == {("m", 1): "ready", ("m", 2): "failed"}
        assert "unknown key" in manager.versions()[1].reason
        (tmp_path / "m" / "2" / "model.toml").write_text("[cache]\n")
        await manager.refresh()
        await manager.settle()
        assert states(manager) == {("m", 2): "ready"}
        (tmp_path / "m" / "2" / "model.toml").unlink()
        (tmp_path / "m" / "2").rename(tmp_path / "m" / ".2")
        await manager.refresh()
        await manager.settle()
        assert states(manager) == {("m", 1): "ready"}
