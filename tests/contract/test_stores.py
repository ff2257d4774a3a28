"""One suite over every store: a backend is right when it passes, and not before."""

from __future__ import annotations

import asyncio
import string
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augury.core.errors import Unavailable
from augury.stores.registry import STORES
from tests.contract.stores import SCHEMES, Backend, Place, Store

_HOSTILE = ["*", "?", "[a]", "[^a]", "[a-", "\\*", "\\", "a\nb", "\r\n", "\x00", "\x00*", "'; DROP TABLE kv; --", "%s",
            "#été", "#тема", "#話題", "#وضوع", "#विषय", "#🐦‍🔥", "{a}", "\u202e"]  # fmt: skip


def test_every_store_of_the_registry_is_tested() -> None:
    """No backend of ours is registered without being in this suite."""
    tested = {getattr(scheme, "values", (scheme,))[0] for scheme in SCHEMES}
    # The same as redis, over TLS: tests/stores/test_redis_tls.py.
    assert set(STORES._entries) == tested | {"rediss"}


async def _scanned(store: Store, prefix: str, page_size: int = 500) -> dict[str, bytes]:
    items = [item async for item in store.scan(prefix, page_size=page_size)]
    assert len({key for key, _ in items}) == len(items), "a key was seen twice"
    return dict(items)


async def test_what_was_set_is_got(store: Store) -> None:
    """A value comes back as it was; a key never written has none."""
    await store.set("key", b"value")

    assert await store.get("key") == b"value"
    assert await store.get("other") is None


async def test_the_last_write_wins(store: Store) -> None:
    """A second write replaces the first."""
    await store.set("key", b"first")
    await store.set("key", b"second")

    assert await store.get("key") == b"second"
    assert await store.count() == 1


@pytest.mark.parametrize(
    "value",
    [b"", b"\x00", b"\x00a\x00", bytes(range(256)), "größer 🐦".encode(), b"x" * 1024 * 1024],
    ids=["empty", "nul", "inner nul", "all bytes", "utf-8", "1 MiB"],
)
async def test_any_bytes_are_a_value(store: Store, value: bytes) -> None:
    """Nothing is special about any byte; an empty value is no miss."""
    await store.set("key", value)

    assert await store.get("key") == value
    assert await _scanned(store, "key") == {"key": value}
    assert not await store.put_if_absent("key", b"other")


@pytest.mark.parametrize(
    "key",
    [
        "",
        " ",
        "a\nb",
        "a\x00b",
        "ключ",
        "🐦",
        "e\u0301",
        "\U0010ffff",
        "\ud7ff",
        "%_*?[]\\'\"",
        "k" * 1024,
    ],
    ids=ascii,
)
async def test_any_text_is_a_key(store: Store, key: str) -> None:
    """Nothing is special about any character, up to 1 KiB of them; keys are not normalised."""
    await store.set(key, b"1")

    assert await store.get(key) == b"1"
    assert await _scanned(store, key) == {key: b"1"}
    assert await store.count(key) == 1
    assert await store.get("\u00e9") is None
    assert await store.delete(key) == 1
    assert await store.get(key) is None


async def test_a_key_that_is_no_text_is_refused(store: Store) -> None:
    """Half a surrogate pair cannot be written as UTF-8, by no backend."""
    with pytest.raises(UnicodeEncodeError):
        await store.set("\ud800", b"")


async def test_an_expired_item_is_gone(backend: Backend) -> None:
    """After its time to live an item is as if it had never been written."""
    store = backend.store
    await store.set("short", b"1", ttl_s=10)
    await store.set("long", b"2", ttl_s=1000)
    await store.set("forever", b"3")

    await backend.pass_time(9)
    assert await store.get("short") == b"1"

    await backend.pass_time(1)
    assert await store.get("short") is None
    assert await store.get_many(["short", "long", "forever"]) == [None, b"2", b"3"]
    assert await _scanned(store, "") == {"long": b"2", "forever": b"3"}
    assert await store.count() == 2
    assert await store.delete("short") == 0


async def test_writing_again_sets_the_time_to_live_anew(backend: Backend) -> None:
    """Expiry belongs to the last write: without one the item stays, with one it starts again."""
    store = backend.store
    for key in ("kept", "renewed", "shortened"):
        await store.set(key, b"1", ttl_s=10)
    await store.set("kept", b"2")
    await backend.pass_time(5)
    await store.set("renewed", b"2", ttl_s=10)
    await store.set("shortened", b"2", ttl_s=1)

    await backend.pass_time(6)
    assert await store.get_many(["kept", "renewed", "shortened"]) == [b"2", b"2", None]

    await backend.pass_time(100)
    assert await store.get_many(["kept", "renewed"]) == [b"2", None]


async def test_many_values_come_in_the_order_asked(store: Store) -> None:
    """The answer has one place for each key asked, misses and repetitions included."""
    await store.set_many({"a": b"1", "b": b"2"})

    assert await store.get_many(["b", "no", "a", "b"]) == [b"2", None, b"1", b"2"]
    assert await store.get_many([]) == []
    many = [f"{i}" for i in range(2000)]
    assert await store.get_many(many) == [None] * 2000


async def test_many_items_are_written_at_once(backend: Backend) -> None:
    """set_many is as many sets, with one time to live."""
    store = backend.store
    await store.set("b", b"old", ttl_s=1)
    await store.set_many({f"{i}": b"%d" % i for i in range(3000)} | {"b": b"new"}, ttl_s=60)
    await store.set_many({})

    assert await store.count() == 3001
    assert await store.get_many(["0", "2999", "b"]) == [b"0", b"2999", b"new"]

    await backend.pass_time(60)
    assert await store.count() == 0


async def test_one_of_many_puts_wins(store: Store) -> None:
    """Of 50 tasks that put under one key, one writes, and its value stays."""
    wrote = await asyncio.gather(*(store.put_if_absent("key", b"%d" % i) for i in range(50)))

    assert wrote.count(True) == 1
    assert await store.get("key") == b"%d" % wrote.index(True)


async def test_an_expired_item_is_absent_to_a_put(backend: Backend) -> None:
    """put_if_absent does not see what has expired, and gives its own time to live."""
    store = backend.store
    assert await store.put_if_absent("key", b"1", ttl_s=10)
    assert not await store.put_if_absent("key", b"2", ttl_s=1000)

    await backend.pass_time(10)
    wrote = await asyncio.gather(
        *(store.put_if_absent("key", b"%d" % i, ttl_s=10) for i in range(50))
    )
    assert wrote.count(True) == 1
    assert await store.get("key") == b"%d" % wrote.index(True)

    await backend.pass_time(10)
    assert await store.get("key") is None


async def test_delete_counts_what_was_there(store: Store) -> None:
    """Misses and repetitions do not count."""
    await store.set_many({"a": b"", "b": b"2", "c": b"3"})

    assert await store.delete("a", "no", "b", "a") == 2
    assert await store.delete("a") == 0
    assert await store.delete() == 0
    assert await _scanned(store, "") == {"c": b"3"}


@pytest.mark.parametrize("wildcard", ["%", "_", "*", "?", "[a-z]", "[", "\\", "'", "^", "\x00"])
async def test_wildcards_are_plain_characters(store: Store, wildcard: str) -> None:
    """A prefix means itself, whatever a pattern language would make of it."""
    await store.set_many({"abc": b"0", "a": b"0", wildcard: b"1", f"{wildcard}x": b"2", "b%": b"0"})

    assert await _scanned(store, wildcard) == {wildcard: b"1", f"{wildcard}x": b"2"}
    assert await store.count(wildcard) == 2
    assert await store.count(f"a{wildcard}") == 0


@pytest.mark.parametrize(
    "prefix",
    ["a", "é", "\ud7ff", "\ue000", "\uffff", "🐦", "\U0010ffff", "a\U0010ffff", "A"],
    ids=ascii,
)
async def test_a_prefix_ends_where_it_ends(store: Store, prefix: str) -> None:
    """The neighbours of a prefix are not its own, in any plane and letter case."""
    inside = {prefix, prefix + "\x00", prefix + "\U0010ffff", prefix + "🐦", prefix * 3}
    near = {"", "a", "b", "é", "ê", "\ud7ff", "\ue000", "\ue001", "\uffff", "\U00010000", "🐦", "🐧",
            "\U0010ffff", "A", "B", "aa", "a\U0010fffe", prefix[:-1]}  # fmt: skip
    await store.set_many(dict.fromkeys(inside | near, b""))
    want = {key for key in inside | near if key.startswith(prefix)}

    assert set(await _scanned(store, prefix)) == want
    assert await store.count(prefix) == len(want)


async def test_a_large_scan_comes_in_pages(store: Store) -> None:
    """10,000 keys are all seen once, and other tasks have their turn meanwhile."""
    items = {f"user:{i}": b"%d" % i for i in range(10_000)}
    await store.set_many(items | {"other": b""})
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count_turns())
    assert await _scanned(store, "user:", page_size=500) == items
    other.cancel()

    assert turns >= 20
    assert await store.count("user:") == 10_000
    assert len(await _scanned(store, "")) == 10_001


@pytest.mark.parametrize("page_size", [1, 2, 7, 8, 9])
async def test_the_page_size_changes_nothing(store: Store, page_size: int) -> None:
    """Pages that end before, on and after the last item give the same items."""
    items = {f"k{i}": b"%d" % i for i in range(8)}
    await store.set_many(items)

    assert await _scanned(store, "k", page_size=page_size) == items


async def test_ten_thousand_keys_are_one_call(store: Store) -> None:
    """Many keys may be written, read, counted and removed in one call each."""
    items = {f"key:{i}": b"%d" % i for i in range(10_000)}
    await store.set_many(items, ttl_s=1000)

    assert await store.count("key:") == 10_000
    assert await store.get_many(list(items)) == list(items.values())
    assert await store.delete(*items) == 10_000
    assert await store.count() == 0


@pytest.mark.parametrize("key", _HOSTILE, ids=ascii)
async def test_a_hostile_prefix_finds_its_own(store: Store, key: str) -> None:
    """Control characters, patterns and other scripts lead to no other key, and to all their own."""
    own = {key, f"{key}*", f"{key}\n", f"{key}\x00x", f"{key}{key}"}
    others = {f"x{key}", "*", "x*", "a", "[a]", "\\", "\n", "#", "#ne"} - own
    await store.set_many(dict.fromkeys([*own, *others], b"1"))
    want = {other for other in own | others if other.startswith(key)}

    assert set(await _scanned(store, key)) == want
    assert await store.count(key) == len(want)
    assert await store.get(key) == b"1"
    assert await store.delete(key) == 1
    assert await store.count(key) == len(want) - 1


async def test_a_page_has_a_row(store: Store) -> None:
    """A page size of 0 is refused, not an endless or empty scan."""
    with pytest.raises(ValueError, match="page_size is 0"):
        await anext(aiter(store.scan("", page_size=0)))


async def test_a_scan_goes_on_while_items_change(store: Store) -> None:
    """What nobody touches during a scan is seen once, whatever happens to the rest."""
    stay = {f"k{i:04}": b"stay" for i in range(0, 1000, 2)}
    await store.set_many(stay | {f"k{i:04}": b"go" for i in range(1, 1000, 2)})

    seen: list[str] = []
    step = 0
    async for key, _ in store.scan("k", page_size=50):
        seen.append(key)
        step += 1
        await store.delete(f"k{999 - 2 * (step % 500):04}")
        await store.set(f"k{step:04}x", b"new")
        await store.set(f"a{step}", b"before")

    assert len(set(seen)) == len(seen)
    assert set(stay) <= set(seen)


async def test_a_scan_may_be_left(store: Store) -> None:
    """A scan broken off holds nothing: writes and other scans go on."""
    await store.set_many({f"k{i}": b"" for i in range(100)})
    async for _ in store.scan("", page_size=10):
        break

    await store.set("k", b"1")
    assert len(await _scanned(store, "k")) == 101


async def test_tasks_share_a_store(store: Store) -> None:
    """Many tasks at once each read what they wrote."""

    async def write_and_read(i: int) -> bool:
        await store.set(f"{i}", b"%d" % i)
        return await store.get(f"{i}") == b"%d" % i

    assert all(await asyncio.gather(*(write_and_read(i) for i in range(100))))


async def test_there_is_no_fault_while_all_is_well(store: Store) -> None:
    """An open store that can be reached has no fault; a closed one has."""
    await store.set("a", b"")
    before = store.fault
    await store.close()
    after = store.fault

    assert before is None
    assert "closed" in (after or "")


async def test_closing_twice_is_closing(store: Store) -> None:
    """close() may be called again, and at the same time."""
    await asyncio.gather(store.close(), store.close())
    await store.close()
    with pytest.raises(Unavailable):
        await store.get("a")


async def test_a_closed_store_is_unavailable(store: Store) -> None:
    """Every method of a closed store says so, also a scan that had begun."""
    await store.set_many({"a": b"", "b": b""})
    begun = aiter(store.scan("", page_size=1))
    await anext(begun)
    await store.close()

    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.get("a"),
        lambda: store.get_many(["a"]),
        lambda: store.set("a", b""),
        lambda: store.set_many({"a": b""}),
        lambda: store.put_if_absent("c", b""),
        lambda: store.delete("a"),
        store.count,
        lambda: anext(aiter(store.scan(""))),
        lambda: anext(begun),
    ]
    for call in calls:
        with pytest.raises(Unavailable, match="closed"):
            await call()


_KEYS = st.text(st.sampled_from("ab%_\U0010ffff🐦"), max_size=3)
_VALUES = st.binary(max_size=3)
_TTLS = st.none() | st.integers(1, 5)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.dictionaries(_KEYS, _VALUES, max_size=3), _TTLS),
        st.tuples(st.just("put"), _KEYS, _VALUES, _TTLS),
        st.tuples(st.just("delete"), st.lists(_KEYS, max_size=3)),
        st.tuples(st.just("wait"), st.integers(1, 4)),
        st.tuples(st.just("look"), _KEYS, st.integers(1, 3)),
    ),
    max_size=15,
)


class _Model:
    """What a store is: a dict whose items carry their last second."""

    def __init__(self) -> None:
        self.now = 0
        self.items: dict[str, tuple[bytes, float]] = {}

    def live(self, prefix: str = "") -> dict[str, bytes]:
        return {
            key: value
            for key, (value, end) in self.items.items()
            if end > self.now and key.startswith(prefix)
        }

    def set(self, key: str, value: bytes, ttl: int | None) -> None:
        self.items[key] = (value, float("inf") if ttl is None else self.now + ttl)


async def _check(backend: Backend, steps: list[tuple[object, ...]]) -> None:
    store, model = backend.store, _Model()
    for step in steps:
        match step:
            case ("set", dict() as items, ttl):
                await store.set_many(items, ttl_s=ttl)  # type: ignore[arg-type]
                for key, value in items.items():
                    model.set(key, value, ttl)  # type: ignore[arg-type]
            case ("put", str() as key, bytes() as value, ttl):
                absent = key not in model.live()
                assert await store.put_if_absent(key, value, ttl_s=ttl) is absent  # type: ignore[arg-type]
                if absent:
                    model.set(key, value, ttl)  # type: ignore[arg-type]
            case ("delete", list() as keys):
                assert await store.delete(*keys) == len(set(keys) & set(model.live()))
                for key in keys:
                    model.items.pop(key, None)
            case ("wait", int() as seconds):
                await backend.pass_time(seconds)
                model.now += seconds
            case ("look", str() as prefix, int() as page_size):
                assert await _scanned(store, prefix, page_size) == model.live(prefix)
                assert await store.count(prefix) == len(model.live(prefix))
    keys = [*model.items, "absent"]
    assert await store.get_many(keys) == [model.live().get(key) for key in keys]


@settings(
    max_examples=25,  # each opens a store; more are a matter of `--hypothesis-profile`
    deadline=None,  # the machine is shared
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # only a place, named anew below
)
@given(steps=_STEPS, name=st.text(string.ascii_lowercase, min_size=12, max_size=12))
def test_a_store_is_a_dict_with_expiry(
    place: Place, steps: list[tuple[object, ...]], name: str
) -> None:
    """Whatever is done in whatever order, a store answers as a dict would."""

    async def check() -> None:
        backend = await place.open(name)
        try:
            # A place that an earlier example has used holds its items.
            await backend.store.delete(*[key async for key, _ in backend.store.scan("")])
            await _check(backend, steps)
        finally:
            await backend.store.close()

    asyncio.run(check())
