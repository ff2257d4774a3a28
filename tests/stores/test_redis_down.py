"""A Redis that is killed, held up or late: nobody waits long, nobody gets another's answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from augury.core.clock import SystemClock
from augury.core.errors import Unavailable
from augury.stores.base import Change
from augury.stores.redis.store import RedisStore
from augury.stores.registry import open_store
from augury.stores.write_behind import WriteBehind
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

TIMEOUT_S = 0.3
# Beyond the timeout, and beyond what the event loop itself was held up by others on this machine.
SLACK_S = 0.1
BACK_S = 10.0


@asynccontextmanager
async def _store(url: str, **parameters: str) -> AsyncIterator[RedisStore]:
    given = {"timeout_s": str(TIMEOUT_S), **parameters}
    query = "&".join(f"{name}={value}" for name, value in given.items())
    store = await open_store(f"{url}?{query}", clock=SystemClock(), on_corrupt=lambda *_: None)
    assert isinstance(store, RedisStore)
    async with store:
        yield store


async def _until_back(store: RedisStore) -> float:
    """Seconds until the store has no fault."""
    began_s = time.monotonic()
    while store.fault is not None:
        assert time.monotonic() - began_s < BACK_S, store.fault
        await asyncio.sleep(0.005)
    return time.monotonic() - began_s


@dataclass
class Load:
    """Tasks that use a store until they are stopped, and what they saw."""

    store: RedisStore
    longest_s: float = 0.0
    held_up_s: float = 0.0
    done: int = 0
    failed: int = 0
    wrong: list[str] = field(default_factory=list)
    _running: bool = True

    async def _timed(self, operation: Awaitable[object]) -> object:
        began_s = time.monotonic()
        try:
            answer = await operation
        except Unavailable:
            self.failed += 1
            await asyncio.sleep(0.002)  # as a server would do other things meanwhile
            return None
        finally:
            self.longest_s = max(self.longest_s, time.monotonic() - began_s)
        self.done += 1
        return answer

    async def _work(self, worker: int) -> None:
        """Every value names its key: an answer to another's question is seen at once."""
        store = self.store
        for i in range(10**9):
            if not self._running:
                return
            keys = [f"{worker}:{i % 20}:{j}" for j in range(3)]
            match random.randrange(5):
                case 0:
                    await self._timed(store.set_many({key: key.encode() for key in keys}))
                case 1:
                    await self._timed(store.set(keys[0], keys[0].encode()))
                case 2:
                    answers = await self._timed(store.get_many(keys))
                    self._compare(keys, answers)
                case 3:
                    count = Change(sums={keys[0]: {keys[0]: (worker + 1,)}})
                    await self._timed(store.commit([count]))
                    sums = await self._timed(store.sums(keys[0]))
                    if isinstance(sums, dict) and any(
                        key != keys[0] or vector[0] % (worker + 1) for key, vector in sums.items()
                    ):
                        self.wrong.append(f"{keys[0]}: {sums}")
                case _:
                    self._compare(keys[:1], [await self._timed(store.get(keys[0]))])

    def _compare(self, keys: list[str], answers: object) -> None:
        if isinstance(answers, list):
            for key, answer in zip(keys, answers, strict=True):
                if answer not in (None, key.encode()):
                    self.wrong.append(f"{key}: {answer!r}")

    async def _watch(self) -> None:
        while self._running:
            began_s = time.monotonic()
            await asyncio.sleep(0.01)
            self.held_up_s = max(self.held_up_s, time.monotonic() - began_s - 0.01)

    @asynccontextmanager
    async def running(self, workers: int = 32) -> AsyncIterator[None]:
        """Run them; an error of one that is not Unavailable is the test's."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            for worker in range(workers):
                tasks.create_task(self._work(worker))
            try:
                yield
            finally:
                self._running = False

    def check(self) -> None:
        """No answer was wrong, and nobody waited longer than they may."""
        assert self.wrong == []
        assert self.longest_s < TIMEOUT_S + SLACK_S + 2 * self.held_up_s


async def test_a_server_that_is_not_there_is_no_error(redis_server: RedisServer) -> None:
    """The store opens with a fault, fails at once, and comes back by itself."""
    redis_server.kill()
    began_s = time.monotonic()
    async with _store(redis_server.url) as store:
        assert time.monotonic() - began_s < TIMEOUT_S + 1
        assert redis_server.address in (store.fault or "")
        began_s = time.monotonic()
        for _ in range(100):
            with pytest.raises(Unavailable, match="cannot be reached since 20"):
                await store.get("key")
        assert time.monotonic() - began_s < TIMEOUT_S  # all hundred together
        redis_server.start()
        assert await _until_back(store) < 3
        await store.set("key", b"1")
        assert await store.get("key") == b"1"


async def test_a_server_that_nobody_asks_is_watched(redis_server: RedisServer) -> None:
    """The fault tells of a kill and of a return without any operation on the store."""
    async with _store(redis_server.url) as store:
        redis_server.kill()
        for _ in range(50):
            if store.fault is not None:
                break
            await asyncio.sleep(0.1)
        assert "cannot be reached" in (store.fault or "")
        redis_server.start()
        assert await _until_back(store) < 3


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_a_restart_under_load(redis_server: RedisServer, end: str) -> None:
    """Nobody waits longer than the timeout, nothing wrong is read, and all goes on afterwards."""
    async with _store(redis_server.url) as store:
        load = Load(store)
        async with load.running():
            for _ in range(2):
                await asyncio.sleep(0.3)
                await asyncio.to_thread(redis_server.kill if end == "kill" else redis_server.stop)
                await asyncio.sleep(0.5)
                failed = load.failed
                assert store.fault is not None
                await asyncio.to_thread(redis_server.start)
                await _until_back(store)
                done = load.done
                await asyncio.sleep(0.3)
                assert failed > 100  # at once, so many times
                assert load.done - done > 100
    load.check()


async def test_a_server_that_is_held_up_under_load(redis_server: RedisServer) -> None:
    """After SIGSTOP and SIGCONT no connection gives anybody the answer to another's question."""
    async with _store(redis_server.url) as store:
        load = Load(store)
        async with load.running():
            for pause_s in (0.1, 0.6, 0.35, 1.0):
                await asyncio.sleep(0.2)
                redis_server.pause()
                await asyncio.sleep(pause_s)
                redis_server.resume()
                await _until_back(store)
            done = load.done
            await asyncio.sleep(0.3)
            assert load.done - done > 100
        assert load.failed > 0
    load.check()


async def test_a_cancelled_caller_leaves_no_answer_behind(redis_server: RedisServer) -> None:
    """Whoever is cancelled while the server is at it spoils no connection for who comes next."""
    async with _store(redis_server.url, pool="2") as store:
        await store.set_many({f"{i}": b"%d" % i for i in range(50)})
        for round_ in range(30):
            tasks: list[asyncio.Task[object]] = [
                asyncio.create_task(store.get_many([f"{i}"])) for i in range(10)
            ]
            tasks += [asyncio.create_task(store.set(f"other{i}", b"")) for i in range(10)]
            for _ in range(round_ % 6):
                await asyncio.sleep(0)
            for task in random.sample(tasks, 10):
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            for i, answer in enumerate(answers[:10]):
                assert isinstance(answer, asyncio.CancelledError) or answer == [b"%d" % i]
        assert store.fault is None


async def test_a_pool_that_is_exhausted_is_bounded(redis_server: RedisServer) -> None:
    """Who waits for a connection of a server that is held up waits no longer than the others."""
    async with _store(redis_server.url, pool="1") as store:
        await store.set("key", b"1")
        redis_server.pause()
        began_s = time.monotonic()
        answers = await asyncio.gather(
            *(store.set(f"{i}", b"") for i in range(20)),
            *(store.get(f"{i}") for i in range(20)),
            return_exceptions=True,
        )
        took_s = time.monotonic() - began_s
        redis_server.resume()

        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert took_s < TIMEOUT_S + 0.3
        await _until_back(store)
        assert await store.get("key") == b"1"


async def test_a_slow_queue_is_no_outage(redis_server: RedisServer) -> None:
    """Where the server is well but the connections are busy, that is what is told."""
    async with _store(redis_server.url, pool="1", timeout_s="0.5") as store:
        big = {f"{i}": b"x" * 100_000 for i in range(10)}
        answers: list[object] = await asyncio.gather(
            *(store.set_many(big) for _ in range(1000)), return_exceptions=True
        )
        told = {str(answer) for answer in answers if isinstance(answer, Unavailable)}
        assert any("all its 1 connections were busy" in line for line in told)
        assert store.fault is None
        assert await store.get("0") == b"x" * 100_000


async def test_a_server_that_loads_its_data(tmp_path: Path) -> None:
    """While it does, it counts as unreachable and the reason is told; then it is back."""
    with RedisServer(tmp_path, appendonly=False) as server:
        async with _store(server.url, timeout_s="5") as store:
            await store.set_many({f"k{i}": random.randbytes(500) for i in range(400)})
        assert server.ask("SAVE") == "+OK"
        server.kill()
        slow = RedisServer(
            tmp_path,
            appendonly=False,
            key_load_delay="3000",
            loading_process_events_interval_bytes="1024",
        )
        slow.start(wait=False)
        try:
            faults: set[str] = set()
            async with _store(slow.url) as store:
                until_s = time.monotonic() + BACK_S
                while store.fault is not None and time.monotonic() < until_s:
                    faults.add(store.fault)
                    await asyncio.sleep(0.01)
                assert any("loading its data" in fault for fault in faults)
                assert await store.count() == 400
        finally:
            slow.kill()


async def test_writes_wait_for_the_server_and_happen_once(redis_server: RedisServer) -> None:
    """Through two kills, everything put is written, and no sum counts anything twice.

    A commit whose answer is lost may have happened.  It is tried again all the same: each change
    expects that it has not.
    """

    async def write(items: list[int]) -> None:
        await store.commit(
            [
                Change(
                    expected={f"item:{i}": None},
                    values={f"item:{i}": b"1"},
                    sums={"sums": {"all": (1, i), f"m{i % 7}": (1,)}},
                    ranks={"ranks": {f"m{i % 7}": 1}},
                )
                for i in items
            ]
        )

    total = 3000
    async with (
        _store(redis_server.url) as store,
        WriteBehind(
            write,
            nbytes=lambda _: 100,
            max_items=total,
            max_bytes=10**9,
            batch_items=64,
            retry_s=0.05,
            clock=SystemClock(),
        ) as buffer,
    ):

        async def put() -> None:
            for i in range(total):
                buffer.put(f"{i}", i)
                if i % 20 == 0:
                    await asyncio.sleep(0.02)  # longer than both ends of the server, on any machine

        putting = asyncio.create_task(put())
        for _ in range(2):
            await asyncio.sleep(0.2)
            await asyncio.to_thread(redis_server.kill)
            await asyncio.sleep(0.3)
            assert buffer.items > 0
            await asyncio.to_thread(redis_server.start)
            await _until_back(store)
        await putting
        assert await buffer.flush(20) == 0
        assert buffer.dropped == 0
        assert await store.count("item:") == total
        sums = await store.sums("sums")
        assert sums["all"] == (total, sum(range(total)))
        assert dict(await store.top("ranks", limit=9)) == {
            f"m{k}": len(range(k, total, 7)) for k in range(7)
        }


async def test_a_commit_without_an_answer_is_made_once(redis_server: RedisServer) -> None:
    """It happens after its caller has given up; expecting what was there makes the second try harmless."""
    claim = Change(
        expected={"tweet": None}, values={"tweet": b"1"}, sums={"author": {"day": (1, 500)}}
    )
    async with _store(redis_server.url) as store:
        assert await store.commit([Change(sums={"author": {"day": (1, 100)}})]) == [True]
        redis_server.pause()
        with pytest.raises(Unavailable):
            await store.commit([claim])
        redis_server.resume()
        await _until_back(store)
        for _ in range(200):
            with suppress(Unavailable):
                if await store.get("tweet") is not None:
                    break
            await asyncio.sleep(0.01)

        # Carried out while nobody listened any more; tried again, it sees that it was.
        assert await store.commit([claim]) == [False]
        assert await store.sums("author") == {"day": (2, 600)}


async def test_a_store_can_be_closed_while_it_is_down(redis_server: RedisServer) -> None:
    """Closing waits for no server."""
    async with _store(redis_server.url) as store:
        redis_server.pause()
        reading: list[Callable[[], Awaitable[object]]] = [
            lambda: store.get("key"),
            lambda: store.get_many(["key"]),
        ]
        tasks = [asyncio.ensure_future(read()) for read in reading]
        await asyncio.sleep(0.05)
        began_s = time.monotonic()
        await store.close()
        assert time.monotonic() - began_s < TIMEOUT_S + 0.3
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    redis_server.resume()
    assert all(isinstance(answer, Unavailable) for answer in answers)


async def test_a_read_of_many_keys_has_one_timeout(redis_server: RedisServer) -> None:
    """Not one for each thousand; nobody takes the server for dead that answers each in time."""
    keys = [f"k{i}" for i in range(20_000)]
    async with _store(redis_server.url) as store:
        await store.set_many(dict.fromkeys(keys[:5], b"1"))
        stop = asyncio.Event()

        async def hold_up() -> None:
            while not stop.is_set():
                redis_server.pause()
                await asyncio.sleep(0.08)
                redis_server.resume()
                await asyncio.sleep(0.002)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hold_up())
            began_s = time.monotonic()
            try:
                with pytest.raises(Unavailable):
                    await store.get_many(keys)
                took_s = time.monotonic() - began_s
            finally:
                stop.set()
        assert took_s < TIMEOUT_S + 3 * SLACK_S
        await _until_back(store)
        assert (await store.get_many(keys))[:6] == [b"1"] * 5 + [None]
