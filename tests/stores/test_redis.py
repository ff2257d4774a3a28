"""What is the Redis store's own: its server, and what may happen to it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import redis

from augury.core.clock import SystemClock
from augury.core.errors import Conflict, InvalidSetting, OperatorError, TooLarge, Unavailable
from augury.stores.base import Change
from augury.stores.redis import store as redis_store
from augury.stores.redis.store import RedisStore
from augury.stores.registry import open_store
from tests.redis_server import RedisServer, free_port

pytestmark = pytest.mark.redis

PASSWORD = "hunter2-very-secret"
Opener = Callable[..., Awaitable[RedisStore]]


@pytest.fixture
async def open_it() -> AsyncIterator[Opener]:
    """Opens stores, and closes them in the end."""
    opened: list[RedisStore] = []

    async def opener(url: str) -> RedisStore:
        store = await open_store(url, clock=SystemClock(), on_corrupt=lambda *_: None)
        assert isinstance(store, RedisStore)
        opened.append(store)
        return store

    yield opener
    for store in opened:
        await store.close()


@pytest.fixture
def server(shared_redis: RedisServer) -> RedisServer:
    """The shared one, empty."""
    shared_redis.ask("FLUSHALL")
    return shared_redis


def _commands(server: RedisServer) -> dict[str, int]:
    with redis.Redis(port=server.port) as client:
        stats = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}


async def test_the_server_lets_items_expire(open_it: Opener, server: RedisServer) -> None:
    """By its own time, to the millisecond; a time to live of nothing is over at once."""
    store = await open_it(server.url)
    await store.set("short", b"1", ttl_s=0.05)
    await store.set("none", b"1", ttl_s=0)
    await store.set("past", b"1", ttl_s=-5)
    await store.set("ages", b"1", ttl_s=1e300)
    await store.set_many({"m": b"1", "n": b"1"}, ttl_s=0.05)
    assert await store.put_if_absent("put", b"1", ttl_s=0.05)
    await asyncio.sleep(0.1)

    assert await store.get_many(["short", "none", "past", "m", "n", "put"]) == [None] * 6
    assert await store.get("ages") == b"1"
    assert await store.put_if_absent("short", b"2")


async def test_stores_of_two_prefixes_share_a_database(
    open_it: Opener, server: RedisServer
) -> None:
    """Neither sees, counts or removes what is the other's, whatever characters the prefix has."""
    one = await open_it(f"{server.url}?prefix=a*%5B")
    other = await open_it(f"{server.url}?prefix=a")
    for store, value in ((one, b"1"), (other, b"2")):
        await store.set("key", value)
        await store.commit([Change(sums={"t": {"m": (1,)}}, ranks={"t": {"m": 1}})])

    assert await one.get("key") == b"1"
    assert await one.count() == await other.count() == 1
    assert await one.drop_tables("") == 2
    assert await other.sums("t") == {"m": (1,)}
    assert await other.rank_count("t") == 1


async def test_keys_of_others_under_our_prefix_do_no_harm(
    open_it: Opener, server: RedisServer
) -> None:
    """Keys that are no text are passed over, values of another kind are told."""
    store = await open_it(server.url)
    await store.set("key", b"1")
    with redis.Redis(port=server.port) as client:
        client.set(b"augury:k:\xff\xfe", b"x")
        client.lpush("augury:k:list", "x")
        client.set("augury:s:t", "x")

    assert [key async for key, _ in store.scan("")] == ["key"]
    assert await store.get("list") is None
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.sums("t"),
        lambda: store.commit([Change(values={"a": b""}, sums={"t": {"m": (1,)}})]),
        lambda: store.commit([Change(values={"a": b""}, expected={"list": None})]),
    ]
    for call in calls:
        with pytest.raises(Conflict, match="another kind of value"):
            await call()
    assert await store.get("a") is None
    assert store.fault is None


async def test_gets_go_together(open_it: Opener, server: RedisServer) -> None:
    """Five hundred reads at once cost the server and us a few commands."""
    store = await open_it(server.url)
    await store.set_many({f"k{i}": b"%d" % i for i in range(500)})
    before = _commands(server).get("mget", 0)
    values = await asyncio.gather(*(store.get(f"k{i}") for i in range(500)))

    assert values == [b"%d" % i for i in range(500)]
    assert _commands(server)["mget"] - before <= 5


async def test_many_keys_go_in_pages(open_it: Opener, server: RedisServer) -> None:
    """No command to the server has more than a thousand keys."""
    store = await open_it(server.url)
    keys = [f"k{i}" for i in range(10_000)]
    before = _commands(server)
    await store.set_many(dict.fromkeys(keys, b"1"))
    await store.get_many(keys)
    await store.delete(*keys)
    after = _commands(server)

    rounds = {name: after.get(name, 0) - before.get(name, 0) for name in ("exec", "mget", "unlink")}
    assert rounds == {"exec": 10, "mget": 10, "unlink": 10}


async def test_large_values_go_in_pages(open_it: Opener, server: RedisServer) -> None:
    """A hundred megabyte values are written and read, some at a time."""
    store = await open_it(f"{server.url}?timeout_s=10")
    items = {f"k{i}": bytes([i]) * 1024 * 1024 for i in range(100)}
    before = _commands(server).get("exec", 0)
    await store.set_many(items)

    assert _commands(server)["exec"] - before >= 25
    assert {key: value async for key, value in store.scan("k")} == items


async def test_a_scan_does_not_hold_up_the_server(open_it: Opener, server: RedisServer) -> None:
    """Neither scan, count nor drop_tables uses a command that walks over all keys at once."""
    store = await open_it(server.url)
    await store.set_many({f"k{i}": b"1" for i in range(20_000)})
    with redis.Redis(port=server.port) as client:
        client.config_set("slowlog-log-slower-than", 20_000)
        client.slowlog_reset()
        client.config_resetstat()  # the tests before have used the server too
        assert await store.count("k1") == 11_111
        assert len([key async for key, _ in store.scan("k19")]) == 1_111
        await store.drop_tables("k")
        slow = [entry["command"] for entry in client.slowlog_get()]
    used = _commands(server)

    assert slow == []
    assert used["scan"] >= 40
    assert "keys" not in used


async def test_a_scan_tells_each_key_once(
    open_it: Opener, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the server makes its table smaller, which tells keys twice; and is bounded."""
    store = await open_it(server.url)
    await store.set_many({f"k{i}": b"1" for i in range(30_000)})
    seen: list[str] = []
    async for key, _ in store.scan(""):
        seen.append(key)
        if len(seen) == 2000:
            known = set(seen)
            gone = [f"k{i}" for i in range(29_000) if f"k{i}" not in known]
            await store.delete(*gone)
    assert len(seen) == len(set(seen))
    assert {f"k{i}" for i in range(29_000, 30_000)} <= set(seen)

    monkeypatch.setattr(redis_store, "SCAN_REMEMBERED", 10)
    assert await store.count() >= 1000


async def test_a_commit_outlives_a_forgotten_script(open_it: Opener, server: RedisServer) -> None:
    """A server that does not know the script is sent it."""
    store = await open_it(server.url)
    for _ in range(2):
        assert await store.commit([Change(ranks={"t": {"m": 1}})]) == [True]
        server.ask("SCRIPT", "FLUSH")
    assert await store.commit([Change(ranks={"t": {"m": 1}})]) == [True]
    assert await store.top("t", limit=1) == [("m", 3)]


async def test_calls_of_the_script_are_short(open_it: Opener, server: RedisServer) -> None:
    """A large commit is cut into calls, between changes, of a few hundred numbers each."""
    store = await open_it(server.url)
    before = sum(_commands(server).get(name, 0) for name in ("eval", "evalsha"))
    changes = [
        Change(sums={f"t{i % 50}": {f"m{j}": (1, 2, 3) for j in range(60)}}) for i in range(256)
    ]
    assert await store.commit(changes) == [True] * 256
    calls = sum(_commands(server).get(name, 0) for name in ("eval", "evalsha")) - before

    assert 256 * 60 / 300 <= calls <= 70
    assert await store.sums_of(["t0", "t49"], "m59") == [(6, 12, 18), (5, 10, 15)]


async def test_a_value_that_redis_would_hang_up_on_is_refused(
    open_it: Opener, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is sent: the server would close the connection, and nobody knew why."""
    monkeypatch.setattr(redis_store, "MAX_VALUE_BYTES", 1000)
    store = await open_it(server.url)
    big = b"x" * 1001
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.set("key", big),
        lambda: store.set_many({"a": b"", "key": big}),
        lambda: store.put_if_absent("key", big),
        lambda: store.commit([Change(values={"a": b"", "key": big})]),
    ]
    for call in calls:
        with pytest.raises(TooLarge, match="'key' has 1001 bytes"):
            await call()
    assert await store.count() == 0


@pytest.mark.parametrize("given", ["", f":wrong-{PASSWORD}@", f"nobody:{PASSWORD}@"])
async def test_a_wrong_password_is_told_at_once(
    tmp_path: Path, open_it: Opener, given: str
) -> None:
    """The operator reads what is wrong and where to set it; no password is shown."""
    with RedisServer(tmp_path, appendonly=False, requirepass=PASSWORD) as server:
        with pytest.raises(OperatorError) as caught:
            await open_it(f"redis://{given}{server.address}/0")
        store = await open_it(server.url)
        await store.set("key", b"1")

        assert "password" in caught.value.message
        assert "AUGURY_REDIS_PASSWORD" in caught.value.message
        assert server.address in caught.value.message
        assert PASSWORD not in repr((caught.value.message, caught.value.details))
        assert store.fault is None
        server.kill()
        with pytest.raises(Unavailable) as down:
            await store.get("key")
        assert PASSWORD not in repr((down.value.message, down.value.details, store.fault))


async def test_a_user_may_be_named(tmp_path: Path, open_it: Opener) -> None:
    """With escapes in name and password; what the user may not do is told."""
    with RedisServer(tmp_path, appendonly=False) as server:
        server.ask("ACL", "SETUSER", "a/b", "on", ">p@s:s", "~augury:*", "+@all", "-unlink")
        store = await open_it(f"redis://a%2Fb:p%40s%3As@{server.address}/0")
        await store.set("key", b"1")
        assert await store.get("key") == b"1"
        with pytest.raises(Unavailable, match="its user may not do this"):
            await store.delete("key")


async def test_a_database_that_is_not_there_is_told(open_it: Opener, server: RedisServer) -> None:
    """Redis has 16 of them unless told otherwise."""
    with pytest.raises(OperatorError, match=r"cannot be used: .*DB index"):
        await open_it(f"redis://{server.address}/99")
    store = await open_it(f"redis://{server.address}/3")
    await store.set("key", b"1")
    other = await open_it(f"redis://{server.address}/4")
    assert await other.get("key") is None


async def test_a_server_that_is_full_says_so(tmp_path: Path, open_it: Opener) -> None:
    """Writes are refused, nothing is half done, reads go on; the fault ends with the next write."""
    with RedisServer(tmp_path, appendonly=False) as server:
        store = await open_it(server.url)
        await store.set("key", b"1")
        server.ask("CONFIG", "SET", "maxmemory", "1")
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.set("a", b""),
            lambda: store.set_many({"a": b"", "b": b""}),
            lambda: store.commit([Change(values={"a": b""}, sums={"t": {"m": (1,)}})]),
        ]
        for call in calls:
            with pytest.raises(Unavailable, match="maxmemory"):
                await call()
        assert "maxmemory" in (store.fault or "")
        assert await store.get("key") == b"1"
        server.ask("CONFIG", "SET", "maxmemory", "0")
        assert await store.get_many(["a", "b"]) == [None, None]
        assert await store.sums("t") == {}
        await store.set("a", b"")
        assert store.fault is None


async def test_a_replica_takes_no_writes(tmp_path: Path, open_it: Opener) -> None:
    """It says that it is one, and reads go on."""
    with RedisServer(tmp_path, appendonly=False) as server:
        store = await open_it(server.url)
        await store.set("key", b"1")
        server.ask("REPLICAOF", "127.0.0.1", str(free_port()))
        with pytest.raises(Unavailable, match="read-only replica"):
            await store.set("key", b"2")
        assert await store.get("key") == b"1"
        server.ask("REPLICAOF", "NO", "ONE")
        await store.set("key", b"2")
        assert store.fault is None


async def test_a_store_closes_behind_itself(open_it: Opener, server: RedisServer) -> None:
    """No task, no connection is left; what was under way ends."""
    with redis.Redis(port=server.port) as client:
        before = len(client.client_list())
        store = await open_it(server.url)
        await asyncio.gather(*(store.set(f"{i}", b"") for i in range(50)))
        assert len(client.client_list()) > before
        reading = asyncio.gather(*(store.get(f"{i}") for i in range(50)), return_exceptions=True)
        await asyncio.sleep(0)
        await store.close()
        answers = await reading
        await asyncio.sleep(0.05)

        assert all(answer == b"" or isinstance(answer, Unavailable) for answer in answers)
        assert len(client.client_list()) == before
        assert [t.get_name() for t in asyncio.all_tasks() if t.get_name().startswith("redis")] == []


async def test_connections_are_bounded(open_it: Opener, server: RedisServer) -> None:
    """A thousand writes at once use as many connections as the pool has."""
    store = await open_it(f"{server.url}?pool=3&timeout_s=10")
    with redis.Redis(port=server.port) as client:
        before = len(client.client_list())
        await asyncio.gather(*(store.set(f"{i}", b"") for i in range(1000)))
        assert len(client.client_list()) - before <= 3


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://", "redis://host:port/db"),
        ("redis:///0", "redis://host:port/db"),
        ("redis://host/first", "database 'first'"),
        ("redis://host/0/1", "database '0/1'"),
        ("redis://host:port/0", "port"),
        ("redis://host:99999/0", "port"),
        ("redis://host/0?timeout=1", "unknown parameter 'timeout'"),
        ("redis://host/0?timeout_s=soon", "timeout_s is 'soon'"),
        ("redis://host/0?timeout_s=0", "timeout_s is '0'"),
        ("redis://host/0?timeout_s=nan", "timeout_s is 'nan'"),
        ("redis://host/0?pool=0", "pool is '0'"),
        ("redis://host/0?pool=1e3", "pool is '1e3'"),
        ("redis://host/0?tls_ca=x.pem", "tls_ca is for rediss://"),
        ("redis://host/0#1", "%23"),
    ],
)
async def test_a_wrong_url_is_told(open_it: Opener, url: str, why: str) -> None:
    """The message says what is wrong and what is known."""
    with pytest.raises(InvalidSetting) as caught:
        await open_it(url)
    assert why in caught.value.message


def test_a_missing_package_is_told() -> None:
    """Without redis-py the message names the extra; nothing else of ours needs it."""
    code = """
import asyncio, sys
sys.modules["redis"] = None
from augury.core.clock import SystemClock
from augury.core.errors import InvalidSetting
from augury.stores.registry import open_store
async def main():
    await (await open_store("memory://", clock=SystemClock(), on_corrupt=print)).close()
    try:
        await open_store("redis://ada:hunter2@cache/0", clock=SystemClock(), on_corrupt=print)
    except InvalidSetting as error:
        print(error.message)
asyncio.run(main())
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'augury[redis]'" in told.stdout
    assert "hunter2" not in told.stdout


def test_the_package_is_loaded_only_when_it_is_used() -> None:
    """Importing the registry does not import redis-py."""
    code = "import sys, augury.stores.registry; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
