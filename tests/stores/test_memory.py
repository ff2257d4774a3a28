"""What is the memory store's own: its bounds."""

from __future__ import annotations

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import TooLarge
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
