"""Tests of ``augury.pipeline.recall``: the two levels of the prediction cache together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from augury.cache.key import RowKeys
from augury.cache.packing import pack
from augury.core.clock import SystemClock
from augury.core.errors import InvalidInput, RuntimeFailed, Unavailable
from augury.core.request import InferRequest
from augury.pipeline.servable import ModelServable
from augury.stores.memory import MemoryStore
from augury.stores.redis.url import open_url
from tests import models
from tests.pipeline.serving import Gate, Serving, ask, serving, turns
from tests.pipeline.test_engine import texts, write_tokens
from tests.redis_server import RedisServer


class Watched(MemoryStore):
    """A store in memory that counts its reads, and waits or fails on demand."""

    def __init__(self) -> None:
        super().__init__(clock=SystemClock())
        self.reads: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.down = False

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self.reads += keys
        await self.open.wait()
        if self.down:
            raise Unavailable("the store is down")
        return await super().get_many(keys)

    async def set_many(self, items: Mapping[str, bytes], *, ttl_s: float | None = None) -> None:
        if self.down:
            raise Unavailable("the store is down")
        await super().set_many(items, ttl_s=ttl_s)

    async def answers(self) -> dict[str, bytes]:
        """All answers that it holds."""
        return {key: value async for key, value in self.scan("answer:")}


def store_counts(served: Serving, model: str) -> dict[str, float]:
    return served.looked_up(model, "store")


async def fill(repository: Path, store: MemoryStore, *requests: InferRequest) -> None:
    """Let a process answer *requests* and end."""
    async with serving(repository, store=store) as served:
        for request in requests:
            await served.engine.infer(request)


async def test_what_one_process_computed_another_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a run, and from then on without the store; the answer is the same."""
    models.write_identity(tmp_path)
    store = Watched()
    await fill(tmp_path, store, ask("identity", [1, 2], [3, 4]))
    async with serving(tmp_path, store=store) as served:
        with monkeypatch.context() as patch:
            patch.setattr(ModelServable, "preprocess", None)
            response = await served.engine.infer(ask("identity", [3, 4], [1, 2]))
            assert response.outputs["y"].tolist() == [[3, 4], [1, 2]]
            assert response.cached == {0, 1}
            assert (response.timing.runtime_s, response.timing.queue_s) == (0, 0)
            store.reads.clear()
            again = await served.engine.infer(ask("identity", [1, 2]))
            assert again.outputs["y"].tolist() == [[1, 2]]
        assert store.reads == []
        assert store_counts(served, "identity") == {"hit": 2, "unavailable": 0, "miss": 0}
        assert served.looked_up("identity") == {"hit": 1, "shared": 0, "miss": 2}


async def test_a_request_may_be_answered_from_every_level(tmp_path: Path) -> None:
    """Process, store, another's computation and its own: rows come back in order."""
    models.write_identity(tmp_path)
    store = Watched()
    await fill(tmp_path, store, ask("identity", [1, 1]))
    async with serving(tmp_path, store=store) as served:
        await served.engine.infer(ask("identity", [2, 2]))
        response = await served.engine.infer(
            ask("identity", [3, 3], [2, 2], [3, 3], [1, 1], [4, 4])
        )
        assert response.outputs["y"][:, 0].tolist() == [3, 2, 3, 1, 4]
        assert response.cached == {1, 3}
        assert store_counts(served, "identity") == {"hit": 1, "unavailable": 0, "miss": 3}


@pytest.mark.parametrize("known", [True, False])
async def test_many_askers_one_read_and_one_computation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """A hundred at once: the store is asked once, and the model once if it has to be."""
    models.write_identity(tmp_path)
    store = Watched()
    if known:
        await fill(tmp_path, store, ask("identity", [1, 1]))
        store.reads.clear()
    async with serving(tmp_path, store=store) as served:
        gate = Gate(monkeypatch)
        gate.open.set()
        store.open.clear()
        asking = [
            asyncio.create_task(served.engine.infer(ask("identity", [1, 1]))) for _ in range(100)
        ]
        await turns()
        store.open.set()
        for response in await asyncio.gather(*asking):
            assert response.outputs["y"].tolist() == [[1, 1]]
        assert len(store.reads) == 1
        assert len(gate.rows) == (0 if known else 1)
        assert served.looked_up("identity") == {"hit": 0, "shared": 99, "miss": 1}
        assert served.under_way == 0


@pytest.mark.parametrize("goer", ["leader", "all"])
async def test_who_goes_while_the_store_is_asked_takes_nobody_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goer: str
) -> None:
    """Those who share the row are answered; when all have gone, nothing is computed."""
    models.write_identity(tmp_path)
    store = Watched()
    async with serving(tmp_path, store=store) as served:
        gate = Gate(monkeypatch)
        gate.open.set()
        store.open.clear()
        asking = [
            asyncio.create_task(served.engine.infer(ask("identity", [1, 1]))) for _ in range(3)
        ]
        await turns()
        for task in asking[: 1 if goer == "leader" else 3]:
            task.cancel()
        await turns()
        store.open.set()
        told = await asyncio.gather(*asking, return_exceptions=True)
        gone = sum(isinstance(one, asyncio.CancelledError) for one in told)
        assert gone == (1 if goer == "leader" else 3)
        assert len(gate.rows) == (1 if goer == "leader" else 0)
        assert served.under_way == 0


async def test_errors_are_remembered_nowhere(tmp_path: Path) -> None:
    """Refusals before the model and its failures: the store holds none, however often asked."""
    models.write_fails_on_negative(tmp_path)
    write_tokens(tmp_path)
    store = Watched()
    for _ in range(2):
        async with serving(tmp_path, store=store) as served:
            refused = texts(b"\xff")
            failed = ask("picky", [-1, -1], [2, 2])
            assert isinstance((await served.engine.infer(refused)).errors[0], InvalidInput)
            assert isinstance((await served.engine.infer(failed)).errors[0], RuntimeFailed)
    assert len(await store.answers()) == 1


async def test_a_store_that_is_down_is_counted_and_costs_nothing_else(tmp_path: Path) -> None:
    """Answers go on, rows wait to be written, and are when it is back."""
    models.write_identity(tmp_path)
    store = Watched()
    store.down = True
    async with serving(tmp_path, store=store) as served:
        for value in (1.0, 2.0):
            response = await served.engine.infer(ask("identity", [value, 1]))
            assert response.outputs["y"].tolist() == [[value, 1]]
            assert response.cached == frozenset()
        assert store_counts(served, "identity") == {"hit": 0, "unavailable": 2, "miss": 0}
        store.down = False
    assert len(await store.answers()) == 2


@pytest.mark.parametrize("damage", ["cut", "foreign", "of another row"])
async def test_a_damaged_answer_is_computed_anew(tmp_path: Path, damage: str) -> None:
    """And replaced by the right one; it is no error, and never an answer."""
    models.write_identity(tmp_path)
    store = Watched()
    await fill(tmp_path, store, ask("identity", [1, 1]), ask("identity", [2, 2]))
    first, second = await store.answers()
    whole = await store.answers()
    damaged = {"cut": whole[first][:-1], "foreign": b"{}", "of another row": whole[second]}
    await store.set(first, damaged[damage])
    async with serving(tmp_path, store=store) as served:
        response = await served.engine.infer(ask("identity", [1, 1], [2, 2]))
        assert response.outputs["y"].tolist() == [[1, 1], [2, 2]]
        assert store_counts(served, "identity") == {"hit": 1, "unavailable": 0, "miss": 1}
    async with serving(tmp_path, store=store) as served:
        response = await served.engine.infer(ask("identity", [1, 1], [2, 2]))
        assert response.cached == {0, 1}


async def test_an_answer_lives_no_longer_than_its_writer_meant(tmp_path: Path) -> None:
    """Neither in the store nor, once it was read from there, in the process."""
    models.write_identity(tmp_path)
    store = Watched()
    await fill(tmp_path, store, ask("identity", [1, 1]))
    (name,) = await store.answers()
    key = bytes.fromhex(name.rpartition(":")[2])
    outputs = {"y": np.array([[7, 7]], "f4")}  # told apart from what the model answers
    await store.set(name, pack(key, outputs, time.time() + 0.5))
    async with serving(tmp_path, store=store) as served:
        for _ in range(2):
            response = await served.engine.infer(ask("identity", [1, 1]))
            assert response.outputs["y"].tolist() == [[7, 7]]
        await asyncio.sleep(0.6)
        response = await served.engine.infer(ask("identity", [1, 1]))
        assert response.outputs["y"].tolist() == [[1, 1]]
        assert served.looked_up("identity") == {"hit": 1, "shared": 0, "miss": 2}
        assert store_counts(served, "identity") == {"hit": 1, "unavailable": 0, "miss": 1}


async def test_models_are_never_mixed(tmp_path: Path) -> None:
    """Another model under the same name and version, on the same store, answers for itself."""
    models.write_identity(tmp_path / "one", "m")
    models.write_fails_on_negative(tmp_path / "other", "m")
    store = Watched()
    await fill(tmp_path / "one", store, ask("m", [5, 5]))
    async with serving(tmp_path / "other", store=store) as served:
        response = await served.engine.infer(ask("m", [5, 5]))
        assert response.outputs["y"].tolist() == [[1, 1]]
        assert response.cached == frozenset()
    assert len(await store.answers()) == 2


async def test_a_reload_asks_the_store_and_not_the_process(tmp_path: Path) -> None:
    """What the process remembers belongs to one load; the content decides in the store."""
    models.write_identity(tmp_path)
    store = Watched()
    async with serving(tmp_path, store=store) as served:
        await served.engine.infer(ask("identity", [1, 1]))
        before = served.shelf("identity")
        (tmp_path / "identity").rename(tmp_path / ".away")
        await served.manager.refresh()
        await served.manager.settle()
        assert (len(before), len(served.cache)) == (0, 0)
        (tmp_path / ".away").rename(tmp_path / "identity")
        await served.manager.refresh()
        await served.manager.settle()
        async with asyncio.timeout(30):
            while not await store.answers():  # noqa: ASYNC110 - the store's state, without an event
                await asyncio.sleep(0.01)
        response = await served.engine.infer(ask("identity", [1, 1]))
        assert response.cached == {0}
        assert store_counts(served, "identity") == {"hit": 1, "unavailable": 0, "miss": 1}


async def test_refresh_computes_anew_and_is_remembered(tmp_path: Path) -> None:
    """At both levels, though neither is asked; without use_cache neither is told."""
    models.write_identity(tmp_path)
    store = Watched()
    async with serving(tmp_path, store=store) as served:
        straight = ask("identity", [1, 1], [2, 2], use_cache=False, refresh=True)
        assert (await served.engine.infer(straight)).cached == frozenset()
        assert len(served.cache) == 0
        for _ in range(2):
            response = await served.engine.infer(ask("identity", [1, 1], [2, 2], refresh=True))
            assert response.outputs["y"].tolist() == [[1, 1], [2, 2]]
            assert response.cached == frozenset()
        assert store.reads == []
        assert served.looked_up("identity") == {"hit": 0, "shared": 0, "miss": 0}
        assert (await served.engine.infer(ask("identity", [2, 2], [1, 1]))).cached == {0, 1}
    assert len(await store.answers()) == 2


async def test_refresh_remembers_no_errors(tmp_path: Path) -> None:
    """Only the rows that have an answer."""
    models.write_fails_on_negative(tmp_path)
    store = Watched()
    async with serving(tmp_path, store=store) as served:
        request = ask("picky", [-1, 1], [1, 1], [-2, 1], refresh=True)
        assert set((await served.engine.infer(request)).errors) == {0, 2}
        assert len(served.cache) == 1
    assert len(await store.answers()) == 1


async def test_the_manifest_can_keep_answers_out_of_the_store(tmp_path: Path) -> None:
    """And bounds what they take in the process, by a policy of its own."""
    folder = models.write_identity(tmp_path)
    (folder / "model.toml").write_text('[cache]\nstore = false\npolicy = "lfu"\nmax_entries = 3\n')
    store = Watched()
    async with serving(tmp_path, store=store) as served:
        for value in (1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0):
            await served.engine.infer(ask("identity", [value, 0]))
        assert len(served.cache) == 3
        response = await served.engine.infer(ask("identity", [1, 0], [2, 0]))
        assert response.cached == {0}
        labels = {"model": "identity", "reason": "entries"}
        counted = served.metrics.registry.get_sample_value
        assert counted("augury_cache_evictions_total", labels) == 3
        version = {"model": "identity", "version": "1"}
        assert counted("augury_cache_entries", version) == 3
        assert counted("augury_cache_bytes", version) == served.cache.bytes_held
    assert (store.reads, await store.answers()) == ([], {})


@pytest.mark.parametrize("how", ["process", "rows", "bytes", "manifest"])
async def test_without_room_the_model_is_asked_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Even for what it is computing just then; no key is made, and nothing counted as looked up."""
    table = {"rows": "max_entries = 0", "bytes": "max_bytes = 0", "manifest": "enabled = false"}
    folder = models.write_identity(tmp_path)
    (folder / "model.toml").write_text(f"[cache]\n{table.get(how, '')}\n", encoding="utf-8")
    monkeypatch.setattr(RowKeys, "keys", None)
    async with serving(tmp_path, cache_bytes=0 if how == "process" else 1 << 20) as served:
        gate = Gate(monkeypatch)
        asked = [
            asyncio.create_task(served.engine.infer(ask("identity", [1, 2]))) for _ in range(3)
        ]
        await gate.running()
        await turns()
        assert served.under_way == 0
        gate.open.set()
        for one in asked:
            assert (await one).outputs["y"].tolist() == [[1, 2]]
        assert sum(gate.rows) == 3
        assert served.looked_up("identity") == {"hit": 0, "shared": 0, "miss": 0}


async def test_a_store_alone_is_room_enough(tmp_path: Path) -> None:
    """For a process that remembers nothing itself."""
    models.write_identity(tmp_path)
    async with serving(tmp_path, store=Watched(), cache_bytes=0) as served:
        for cached in (False, True):
            response = await served.engine.infer(ask("identity", [1, 2]))
            assert bool(response.cached) == cached


@pytest.mark.redis
async def test_redis_is_killed_and_comes_back(tmp_path: Path, redis_server: RedisServer) -> None:
    """Every request is answered, and rightly; those without the store are counted as such."""
    models.write_identity(tmp_path)

    async def one(served: Serving, value: float) -> bool:
        response = await served.engine.infer(ask("identity", [value, 1]))
        assert response.outputs["y"].tolist() == [[value, 1]]
        return bool(response.cached)

    store = await open_url(
        urlsplit(redis_server.url),
        clock=SystemClock(),
        on_corrupt=lambda *_: None,
        timeout_s=0.5,
    )
    try:
        async with serving(tmp_path, store=store, cache_bytes=0) as served:
            assert not await one(served, 1)
            async with asyncio.timeout(30):
                while not await one(served, 1):  # noqa: ASYNC110 - the store's state, without an event
                    await asyncio.sleep(0.01)
            redis_server.kill()
            for value in range(20):
                started_s = time.monotonic()
                assert not await one(served, value)
                assert time.monotonic() - started_s < 5
            assert store_counts(served, "identity")["unavailable"] == 20
            redis_server.start()
            async with asyncio.timeout(30):
                while not await one(served, 1):  # noqa: ASYNC110 - the store's state, without an event
                    await asyncio.sleep(0.05)
        async with serving(tmp_path, store=store) as served:  # a later process
            hits = [await one(served, value) for value in range(20)]
            assert all(hits)
            assert store_counts(served, "identity") == {"hit": 20, "unavailable": 0, "miss": 0}
    finally:
        await store.close()


@pytest.mark.redis
async def test_no_request_waits_longer_than_the_store_s_timeout(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """A Redis that takes connections and never answers holds up nobody for long."""
    models.write_identity(tmp_path)
    timeout_s = 0.5
    store = await open_url(
        urlsplit(redis_server.url),
        clock=SystemClock(),
        on_corrupt=lambda *_: None,
        timeout_s=timeout_s,
    )
    try:
        async with serving(tmp_path, store=store) as served:
            await served.engine.infer(ask("identity", [0, 0]))
            redis_server.pause()

            async def timed(value: float) -> float:
                await asyncio.sleep(value / 100)
                started_s = time.monotonic()
                response = await served.engine.infer(ask("identity", [value, 1]))
                assert response.outputs["y"].tolist() == [[value, 1]]
                return time.monotonic() - started_s

            took_s = await asyncio.gather(*(timed(float(value)) for value in range(1, 60)))
            redis_server.resume()
            # The computation itself, on a busy machine, has the rest.
            assert max(took_s) < timeout_s + 0.4
    finally:
        await store.close()
