"""Items wait within bounds, are written once the store takes them, and none blocks the others."""

from __future__ import annotations

import asyncio
import logging

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import TooLarge, Unavailable
from augury.stores.write_behind import WriteBehind


class Sink:
    """Where batches go; down, slow or picky as the test wants."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.attempts = 0
        self.down = False
        self.poison: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()

    async def write(self, items: list[str]) -> None:
        self.attempts += 1
        self.entered.set()
        await self.gate.wait()
        if self.down:
            raise Unavailable("the sink is down")
        if bad := self.poison & set(items):
            raise TooLarge(f"{bad} is too large")
        self.batches.append(items)

    @property
    def written(self) -> list[str]:
        return [item for batch in self.batches for item in batch]


@pytest.fixture
def sink() -> Sink:
    return Sink()


def _buffer(
    sink: Sink,
    *,
    max_items: int = 100,
    max_bytes: int = 10_000,
    batch_items: int = 256,
    clock: ManualClock | None = None,
    told: list[tuple[int, int]] | None = None,
    close_timeout_s: float = 5.0,
) -> WriteBehind[str]:
    seen = [] if told is None else told
    return WriteBehind(
        sink.write,
        nbytes=len,
        max_items=max_items,
        max_bytes=max_bytes,
        batch_items=batch_items,
        retry_s=0.01,
        clock=clock or ManualClock(),
        on_change=lambda items, dropped: seen.append((items, dropped)),
        close_timeout_s=close_timeout_s,
    )


async def test_the_latest_under_a_key_wins(sink: Sink) -> None:
    """Before it is written an item may be replaced, and is read back as it is then."""
    buffer = _buffer(sink)
    buffer.put("a", "old")
    buffer.put("b", "other")
    buffer.put("a", "new")

    assert (buffer.get("a"), buffer.get("b"), buffer.get("c")) == ("new", "other", None)
    assert buffer.items == 2
    async with buffer:
        assert await buffer.flush(5) == 0
    assert sorted(sink.written) == ["new", "other"]


async def test_items_are_bounded(sink: Sink) -> None:
    """Over the number of items, the one that has waited longest goes, and is counted."""
    told: list[tuple[int, int]] = []
    buffer = _buffer(sink, max_items=2, told=told)
    for key in "abcd":
        buffer.put(key, key)

    assert [buffer.get(key) for key in "abcd"] == [None, None, "c", "d"]
    assert (buffer.items, buffer.dropped) == (2, 2)
    assert told == [(1, 0), (2, 0), (2, 1), (2, 2)]


async def test_bytes_are_bounded(sink: Sink) -> None:
    """Over the bytes the oldest go; what could never fit goes by itself."""
    buffer = _buffer(sink, max_bytes=10)
    buffer.put("a", "x" * 4)
    buffer.put("b", "x" * 4)
    buffer.put("b", "y" * 5)  # replaced: its first size does not count any more
    assert (buffer.items, buffer.dropped) == (2, 0)

    buffer.put("c", "z" * 5)
    assert [buffer.get(key) for key in "abc"] == [None, "y" * 5, "z" * 5]
    buffer.put("d", "x" * 11)
    assert (buffer.items, buffer.dropped) == (0, 4)


async def test_what_is_being_written_counts(sink: Sink) -> None:
    """Neither bound is passed by what a slow store holds up; what is under way is not dropped."""
    sink.gate.clear()
    async with _buffer(sink, max_items=3) as buffer:
        buffer.put("a", "a")
        buffer.put("b", "b")
        await sink.entered.wait()
        for key in "cdef":
            buffer.put(key, key)

        assert buffer.items == 3
        assert [buffer.get(key) for key in "abcdef"] == ["a", "b", None, None, None, "f"]
        sink.gate.set()
        assert await buffer.flush(5) == 0
    assert sink.batches == [["a", "b"], ["f"]]
    assert buffer.dropped == 3


@pytest.mark.parametrize("bounds", [{"max_items": 0}, {"max_bytes": 0}, {"batch_items": 0}])
def test_bounds_are_positive(sink: Sink, bounds: dict[str, int]) -> None:
    """A buffer that could hold nothing is a mistake, told at once."""
    with pytest.raises(ValueError, match="must be 1 or more"):
        _buffer(sink, **bounds)  # type: ignore[arg-type]


async def test_drops_are_logged_now_and_then(sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    """A thousand drops in ten seconds are two lines, with the number of all and no item."""
    clock = ManualClock()
    buffer = _buffer(sink, max_items=1, clock=clock)
    with caplog.at_level(logging.ERROR):
        for i in range(1001):
            buffer.put(f"key{i}", "secret")
        assert len(caplog.records) == 1
        clock.advance(10)
        buffer.put("last", "secret")

    assert len(caplog.records) == 2
    assert "1001" in caplog.text
    assert "secret" not in caplog.text
    assert "key" not in caplog.text


async def test_batches_are_bounded(sink: Sink) -> None:
    """Items go out in the order in which they came, so many at a time."""
    buffer = _buffer(sink, batch_items=3)
    for key in "abcdefgh":
        buffer.put(key, key)
    async with buffer:
        assert await buffer.flush(5) == 0

    assert sink.batches == [["a", "b", "c"], ["d", "e", "f"], ["g", "h"]]


async def test_a_store_that_is_down_loses_nothing(sink: Sink) -> None:
    """While it is down items stay and are read back; when it is up all are written, in order."""
    sink.down = True
    async with _buffer(sink) as buffer:
        buffer.put("a", "1")
        buffer.put("b", "1")
        await sink.entered.wait()
        buffer.put("a", "2")
        assert await buffer.flush(0.05) == 2
        assert sink.attempts >= 2
        assert (buffer.get("a"), buffer.get("b")) == ("2", "1")

        sink.down = False
        assert await buffer.flush(5) == 0
    assert sink.batches == [["1", "2"]]
    assert buffer.dropped == 0


async def test_a_pause_ends_when_somebody_knows_better(sink: Sink) -> None:
    """hurry() tries again at once."""
    sink.down = True
    buffer = WriteBehind(
        sink.write, nbytes=len, max_items=9, max_bytes=9, retry_s=60, clock=ManualClock()
    )
    async with buffer:
        buffer.put("a", "1")
        await sink.entered.wait()
        sink.down = False
        await asyncio.sleep(0)
        buffer.hurry()
        assert await buffer.flush(5) == 0
    assert sink.attempts == 2


async def test_pauses_grow(sink: Sink) -> None:
    """A store that stays down is asked less and less often."""
    sink.down = True
    async with _buffer(sink, close_timeout_s=0) as buffer:
        buffer.put("a", "1")
        await asyncio.sleep(0.5)
        # 0.01 s, 0.02 s, then 0.04 s each: 14 tries, were nothing else on this machine.
        assert 2 <= sink.attempts <= 16


async def test_a_poisoned_item_goes_alone(sink: Sink) -> None:
    """Of a batch that the store refuses, only the guilty item is dropped."""
    sink.poison = {"k13"}
    async with _buffer(sink) as buffer:
        for i in range(50):
            buffer.put(f"{i}", f"k{i}")
        assert await buffer.flush(5) == 0

    assert sorted(sink.written) == sorted(f"k{i}" for i in range(50) if i != 13)
    assert buffer.dropped == 1


async def test_down_in_the_middle_of_halving(sink: Sink) -> None:
    """What was written before the store went down is not written again."""
    sink.poison = {"d"}
    written: list[str] = []

    async def write(items: list[str]) -> None:
        await sink.write(items)
        written.extend(items)
        if items == ["a", "b"]:
            sink.down = True

    async with WriteBehind(
        write, nbytes=len, max_items=9, max_bytes=9, retry_s=0.01, clock=ManualClock()
    ) as buffer:
        for key in "abcd":
            buffer.put(key, key)
        await asyncio.sleep(0.05)
        assert written == ["a", "b"]
        assert buffer.items == 2
        sink.down = False
        assert await buffer.flush(5) == 0

    assert written == ["a", "b", "c"]
    assert buffer.dropped == 1


async def test_what_waits_can_be_discarded(sink: Sink) -> None:
    """A discarded item is not written; those that are not there do not count."""
    buffer = _buffer(sink)
    for key in "abc":
        buffer.put(key, key)

    assert await buffer.discard("a", "c", "x", "a") == 2
    assert buffer.items == 1
    async with buffer:
        await buffer.flush(5)
    assert sink.written == ["b"]


async def test_a_discard_waits_for_the_batch_under_way(sink: Sink) -> None:
    """It returns when the batch has ended, so that what follows it comes after the write."""
    sink.gate.clear()
    async with _buffer(sink) as buffer:
        buffer.put("a", "a")
        await sink.entered.wait()
        discard = asyncio.create_task(buffer.discard("a"))
        await asyncio.sleep(0.02)
        assert not discard.done()
        assert await buffer.discard("b") == 0  # of no concern to that batch

        sink.gate.set()
        assert await discard == 0
        assert sink.written == ["a"]


async def test_a_discard_of_a_failed_batch_forgets(sink: Sink) -> None:
    """An item whose write fails while it is being discarded is not tried again."""
    sink.gate.clear()
    sink.down = True
    async with _buffer(sink) as buffer:
        buffer.put("a", "a")
        await sink.entered.wait()
        discard = asyncio.create_task(buffer.discard("a"))
        buffer.hurry()  # not even at once
        await asyncio.sleep(0)
        sink.gate.set()

        assert await discard == 1
        assert buffer.items == 0
        sink.down = False
        buffer.put("b", "b")
        await buffer.flush(5)
    assert sink.written == ["b"]


async def test_the_end_writes_what_it_can(sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
    """Leaving the context flushes for a bounded time and tells how many are lost."""
    async with _buffer(sink) as buffer:
        buffer.put("a", "a")
    assert sink.written == ["a"]

    sink.down = True
    async with _buffer(sink, close_timeout_s=0.05) as buffer:
        buffer.put("a", "secret")
        buffer.put("b", "secret")
    lost = [record for record in caplog.records if "lost" in record.getMessage()]
    assert len(lost) == 1
    assert "secret" not in caplog.text
    buffer.put("c", "late")
    assert buffer.dropped == 1


async def test_many_writers_and_an_outage(sink: Sink) -> None:
    """Whatever is put while the store comes and goes is written, the latest of each key."""

    async def toggle() -> None:
        for _ in range(20):
            sink.down = not sink.down
            await asyncio.sleep(0.005)
        sink.down = False

    async def put(worker: int, buffer: WriteBehind[str]) -> None:
        for i in range(100):
            buffer.put(f"{worker}:{i % 50}", f"{worker}:{i % 50}={i}")
            await asyncio.sleep(0.001)

    async with _buffer(sink, max_items=1000, max_bytes=10**6, batch_items=7) as buffer:
        await asyncio.gather(toggle(), *(put(worker, buffer) for worker in range(8)))
        assert await buffer.flush(10) == 0

    last = dict(item.split("=") for item in sink.written)
    assert last == {f"{w}:{i}": str(50 + i) for w in range(8) for i in range(50)}
    assert buffer.dropped == 0
