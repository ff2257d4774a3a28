"""What is the memory store's own: its bounds."""

from __future__ import annotations

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import TooLarge
from augury.stores.base import Change
from augury.stores.memory import ENTRY_OVERHEAD_BYTES, MemoryStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def _keys(store: MemoryStore) -> list[str]:
    return [key async for key, _ in store.scan("")]


async def test_the_oldest_write_goes_first(clock: ManualClock) -> None:
    """Over its number of entries, the store forgets what was written longest ago."""
    store = MemoryStore(clock=clock, max_entries=3)
    for key in ("a", "b", "c"):
        await store.set(key, b"")
    await store.get("a")  # reading makes nothing younger
    await store.set("b", b"again")
    await store.set("d", b"")

    assert await _keys(store) == ["c", "b", "d"]


async def test_the_expired_goes_before_the_living(clock: ManualClock) -> None:
    """What has expired makes room before anything alive must go."""
    store = MemoryStore(clock=clock, max_entries=3)
    await store.set("old", b"")
    await store.set("expired", b"", ttl_s=1)
    await store.set("young", b"")
    clock.advance(1)
    await store.set("new", b"")

    assert await _keys(store) == ["old", "young", "new"]


async def test_bytes_are_bounded(clock: ManualClock) -> None:
    """Keys, values and overhead together never pass max_bytes."""
    entry_bytes = 1 + 100 + ENTRY_OVERHEAD_BYTES
    store = MemoryStore(clock=clock, max_bytes=3 * entry_bytes)
    for key in "abcdef":
        await store.set(key, b"x" * 100)
        assert store.used_bytes <= 3 * entry_bytes

    assert await _keys(store) == ["d", "e", "f"]
    await store.set("f", b"x" * 200)  # an overwrite counts once
    assert await _keys(store) == ["e", "f"]
    await store.delete("e", "f")
    assert store.used_bytes == 0


async def test_what_can_never_fit_is_refused(clock: ManualClock) -> None:
    """A write over the whole bound is an error that names it, and changes nothing."""
    store = MemoryStore(clock=clock, max_bytes=10_000, max_entries=3)
    await store.set("a", b"1")

    with pytest.raises(TooLarge, match="max_bytes=10000"):
        await store.set("b", b"x" * 10_000)
    with pytest.raises(TooLarge, match="max_entries=3"):
        await store.set_many(dict.fromkeys("bcde", b""))
    with pytest.raises(TooLarge, match="max_bytes=10000"):
        await store.put_if_absent("b", b"x" * 10_000)
    assert await _keys(store) == ["a"]


async def test_overwriting_leaves_nothing_behind(clock: ManualClock) -> None:
    """One key written over and over with a time to live does not let the heap grow."""
    store = MemoryStore(clock=clock)
    for _ in range(5000):
        await store.set("key", b"", ttl_s=1000)

    assert len(store._expiries) <= 1100
    clock.advance(1000)
    assert await store.get("key") is None
    await store.set("other", b"")
    assert not store._expiries


async def test_expired_items_leave_without_being_asked_for(clock: ManualClock) -> None:
    """Writes drop what expired, so that an idle key does not hold its memory."""
    store = MemoryStore(clock=clock)
    await store.set_many({f"{i}": b"" for i in range(150)}, ttl_s=1)
    clock.advance(1)
    await store.set("a", b"")
    await store.set("b", b"")

    assert store.used_bytes == 2 * (1 + ENTRY_OVERHEAD_BYTES)


async def test_what_commits_wrote_is_not_forgotten(clock: ManualClock) -> None:
    """Values and members of tallies count as entries; what else there is makes room for them."""
    store = MemoryStore(clock=clock, max_entries=5)
    await store.set_many(dict.fromkeys("abcd", b""))
    change = Change(values={"kept": b""}, sums={"t": {"m": (1,)}}, ranks={"t": {"m": 1}})
    assert await store.commit([change]) == [True]
    assert await _keys(store) == ["c", "d", "kept"]

    await store.set("e", b"")
    await store.set("f", b"")
    assert await _keys(store) == ["e", "f", "kept"]
    await store.set("kept", b"plain")  # from now on like any other
    await store.set_many(dict.fromkeys("ghi", b""))
    assert await _keys(store) == ["g", "h", "i"]
    assert await store.sums("t") == {"m": (1,)}


async def test_a_commit_that_does_not_fit_is_refused(clock: ManualClock) -> None:
    """With an error that names the bound; nothing of it is done, and nothing forgotten for it."""
    store = MemoryStore(clock=clock, max_entries=3)
    await store.commit([Change(values={"k": b""}, sums={"t": {"m": (1,)}})])
    await store.set("plain", b"")
    used_bytes = store.used_bytes
    for change in (
        Change(sums={"t": {"m": (1,), "n": (1,), "o": (1,)}}),
        Change(ranks={"t": {"m": 1, "n": 1}}),
        Change(values={"k": None, "x": b"", "y": b"", "z": b""}),
    ):
        with pytest.raises(TooLarge, match="max_entries=3"):
            await store.commit([change])
        assert await _keys(store) == ["plain", "k"]
        assert await store.sums("t") == {"m": (1,)}
        assert await store.rank_count("t") == 0
        assert store.used_bytes == used_bytes
    with pytest.raises(TooLarge, match="max_entries=3"):
        await store.set_many({"a": b"", "b": b""})  # there is room for one that may be forgotten

    small = MemoryStore(clock=clock, max_bytes=2000)
    with pytest.raises(TooLarge, match="max_bytes=2000"):
        await small.commit([Change(sums={"t": {"m" * 2000: (1,)}})])
    assert small.used_bytes == 0


async def test_tallies_leave_no_bytes_behind(clock: ManualClock) -> None:
    """What is counted when members come is given back when they go, however they go."""
    store = MemoryStore(clock=clock)
    there = Change(
        values={"k": b"value"},
        sums={f"t{i}": {f"é{j}": (1, 2, 3) for j in range(20)} for i in range(5)},
        ranks={"r": {f"m{j}": j + 1 for j in range(300)}},
    )
    gone = Change(
        values={"k": None},
        sums={table: dict.fromkeys(members, (-1, -2, -3)) for table, members in there.sums.items()},
        ranks={"r": {m: -rank for m, rank in there.ranks["r"].items()}},
    )
    for _ in range(3):
        await store.commit([there])
        longer = Change(sums={"t0": {"é0": (0, 0, 0, 0, 9)}})
        shorter = Change(sums={"t0": {"é0": (0, 0, 0, 0, -9)}})
        used_bytes = store.used_bytes
        await store.commit([longer])
        assert store.used_bytes > used_bytes
        await store.commit([shorter])
        assert store.used_bytes == used_bytes
        await store.top("r", limit=1)
        await store.commit([gone])
        assert store.used_bytes == 0
    await store.commit([there])
    await store.drop_tables("")
    await store.delete("k")
    assert store.used_bytes == 0


async def test_members_that_come_and_go_leave_no_trace(clock: ManualClock) -> None:
    """A table whose order nobody asks for does not grow by members that are gone again."""
    store = MemoryStore(clock=clock)
    await store.commit([Change(ranks={"t": {"stays": 1}})])
    for i in range(2000):
        await store.commit([Change(ranks={"t": {f"m{i}": 1}}), Change(ranks={"t": {f"m{i}": -1}})])
    assert len(store._tallies._ranks["t"]._moved) == 1


@pytest.mark.parametrize("bounds", [{"max_bytes": 0}, {"max_entries": -1}])
def test_a_bound_is_positive(clock: ManualClock, bounds: dict[str, int]) -> None:
    """A store that could hold nothing is a mistake, told at once."""
    with pytest.raises(ValueError, match="must be 1 or more"):
        MemoryStore(clock=clock, **bounds)


async def test_leaving_the_context_closes(clock: ManualClock) -> None:
    """A store is an async context manager."""
    async with MemoryStore(clock=clock) as store:
        await store.set("a", b"1")

    assert store.used_bytes == 0
