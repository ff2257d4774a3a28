"""Tests of ``augury.cache.stored``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from augury.cache.stored import LONGEST_TTL_S, MAX_KEYS, MAX_QUESTIONS, StoredRows
from augury.core.clock import SystemClock
from augury.core.errors import Unavailable
from augury.stores.memory import MemoryStore


class Watched(MemoryStore):
    """A store in memory that notes its questions, and waits or fails on demand."""

    def __init__(self) -> None:
        super().__init__(clock=SystemClock())
        self.asked: list[list[str]] = []
        self.written: list[tuple[dict[str, bytes], float | None]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None
        self.told_fault: str | None = None

    @property
    def fault(self) -> str | None:
        return self.told_fault

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked.append(list(keys))
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return await super().get_many(keys)

    async def set_many(self, items: Mapping[str, bytes], *, ttl_s: float | None = None) -> None:
        self.written.append((dict(items), ttl_s))
        await super().set_many(items, ttl_s=ttl_s)


class Asker:
    """Asks, and keeps the answers."""

    def __init__(self, rows: StoredRows) -> None:
        self.rows = rows
        self.told: list[Sequence[bytes | None] | None] = []

    def __call__(self, *names: str) -> None:
        self.rows.look_up(names, self.told.append)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.told) < count:  # noqa: ASYNC110 - a state of others, without an event
                await asyncio.sleep(0)


async def test_what_was_put_is_found() -> None:
    """By this process at the latest when the first is closed; what was not put is not."""
    store = Watched()
    async with StoredRows(store, SystemClock()) as rows:
        rows.put("a", b"1", 60)
        rows.put("b", b"", 1e300)
    assert await store.get("a") == b"1"
    assert LONGEST_TTL_S in [ttl_s for _, ttl_s in store.written]
    async with StoredRows(store, SystemClock()) as rows:
        ask = Asker(rows)
        ask("b", "z", "a")
        await ask.until(1)
        assert ask.told == [[b"", None, b"1"]]


async def test_what_is_put_together_is_written_together() -> None:
    """One write for each time to live, not one for each row."""
    store = Watched()
    async with StoredRows(store, SystemClock()) as rows:
        for number in range(200):
            rows.put(f"{number}", b"1", 60 + number % 2)
    assert len(store.written) == 2
    assert {ttl_s for _, ttl_s in store.written} == {60, 61}


async def test_lookups_of_one_turn_are_one_question() -> None:
    """A name that several ask for is asked for once, and each gets what is its own."""
    store = Watched()
    await store.set("a", b"1")
    async with StoredRows(store, SystemClock()) as rows:
        ask = Asker(rows)
        for number in range(100):
            ask("a", f"{number % 3}")
        await ask.until(100)
        assert ask.told == [[b"1", None]] * 100
        assert store.asked == [["a", "0", "1", "2"]]


async def test_a_slow_store_is_asked_by_few_at_once() -> None:
    """Meanwhile the others gather, and then ask together."""
    store = Watched()
    store.open.clear()
    async with StoredRows(store, SystemClock()) as rows:
        ask = Asker(rows)
        for number in range(50):
            ask(f"{number}")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert len(store.asked) == MAX_QUESTIONS
        store.open.set()
        await ask.until(50)
        assert len(store.asked) == MAX_QUESTIONS + 1


async def test_a_question_has_a_bound() -> None:
    """Very many names are asked for in parts."""
    store = Watched()
    async with StoredRows(store, SystemClock()) as rows:
        ask = Asker(rows)
        ask(*map(str, range(2 * MAX_KEYS + 1)))
        await ask.until(1)
        assert ask.told[0] == [None] * (2 * MAX_KEYS + 1)
        assert list(map(len, store.asked)) == [MAX_KEYS, MAX_KEYS, 1]


async def test_what_waits_is_asked_for_a_page_at_a_time() -> None:
    """Lookups that are more together are several questions, and none waits for another's."""
    store = Watched()
    async with StoredRows(store, SystemClock()) as rows:
        ask = Asker(rows)
        for number in range(5):
            ask(*(f"{number}:{i}" for i in range(MAX_KEYS // 2)))
        await ask.until(5)
        assert list(map(len, store.asked)) == [MAX_KEYS, MAX_KEYS, MAX_KEYS // 2]


async def test_small_lookups_go_before_the_parts_of_a_large_one() -> None:
    """However many names that has, a small one waits for one part of it at most."""
    store = Watched()
    async with StoredRows(store, SystemClock(), timeout_s=30) as rows:
        large, small = Asker(rows), Asker(rows)
        large(*map(str, range(20 * MAX_KEYS)))
        small("0", "a")
        await small.until(1)
        assert len(store.asked) <= 2
        for number in range(5):
            small(f"{number}")
            await small.until(2 + number)
        assert not large.told
        await large.until(1)
        assert large.told[0] == [None] * (20 * MAX_KEYS)
        assert max(map(len, store.asked)) <= MAX_KEYS


async def test_a_lookup_ends_with_its_own_timeout() -> None:
    """Measured from when it was asked for, in all its parts and its wait; others are not held up."""
    store = Watched()
    loop = asyncio.get_running_loop()
    async with StoredRows(store, SystemClock(), timeout_s=0.2) as rows:
        ask = Asker(rows)
        began_s = loop.time()

        async def slow(keys: Sequence[str]) -> list[bytes | None]:
            store.asked.append(list(keys))
            await asyncio.sleep(0.12)  # each part within its time
            return [None] * len(keys)

        store.get_many = slow  # type: ignore[method-assign]
        ask(*map(str, range(50 * MAX_KEYS)))
        await ask.until(1)
        assert ask.told == [None]
        assert 0.2 <= loop.time() - began_s < 0.6
        ask("small")
        await ask.until(2)
        assert ask.told[1] == [None], "found, and nothing there"
    assert len(store.asked) <= 4, "the rest of the large one was not asked for"


async def test_a_store_that_never_answers_costs_the_timeout() -> None:
    """Also those for whom no question is free, and they are not asked for later."""
    store = Watched()
    store.open.clear()
    async with StoredRows(store, SystemClock(), timeout_s=0.1) as rows:
        ask = Asker(rows)
        for number in range(50):
            ask(f"{number}")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await ask.until(50)
        assert ask.told == [None] * 50
        store.open.set()
    assert len(store.asked) == MAX_QUESTIONS


@pytest.mark.parametrize("error", [Unavailable("gone"), RuntimeError("a fault of ours")])
async def test_a_failing_store_is_no_failure(error: Exception) -> None:
    """Whoever asked is told that it could not be asked; so are those who came meanwhile."""
    store = Watched()
    store.open.clear()
    store.error = error
    async with StoredRows(store, SystemClock()) as rows:
        ask = Asker(rows)
        for number in range(10):
            ask(f"{number}")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        store.open.set()
        await ask.until(10)
        assert ask.told == [None] * 10
        assert len(store.asked) == MAX_QUESTIONS
        store.error = None
        ask("a")
        await ask.until(11)
        assert ask.told[-1] == [None]


async def test_a_store_that_is_known_to_be_down_is_not_asked() -> None:
    """The answer comes at once."""
    store = Watched()
    store.told_fault = "refused"
    async with StoredRows(store, SystemClock()) as rows:
        ask = Asker(rows)
        ask("a")
        assert ask.told == [None]
        assert store.asked == []


async def test_what_waits_to_be_written_is_bounded() -> None:
    """While the store is down rows are given up, the oldest first."""
    store = Watched()
    async with StoredRows(store, SystemClock(), max_bytes=50_000) as rows:
        for number in range(1000):
            rows.put(f"{number}", bytes(1000), 60)
        assert rows.unwritten <= 50
    assert await store.get("999") == bytes(1000)
    assert await store.get("0") is None
