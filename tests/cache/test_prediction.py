"""Tests of ``augury.cache.prediction``."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.cache.prediction import ENTRY_OVERHEAD_BYTES, Flight, PredictionCache, settled
from augury.core.clock import ManualClock

Cache = PredictionCache[bytes]


def make(entries: int = 3, *, clock: ManualClock | None = None, size: int = 100) -> Cache:
    """A cache with room for *entries* values of *size* bytes."""
    return PredictionCache(entries * (size + ENTRY_OVERHEAD_BYTES), clock or ManualClock(), len)


def value(letter: str, size: int = 100) -> bytes:
    return letter.encode() * size


def test_what_was_put_is_there() -> None:
    """Until somebody puts another."""
    cache = make()
    assert cache.get(b"a") is None
    cache.put(b"a", value("1"), 60)
    cache.put(b"a", value("2"), 60)
    assert cache.get(b"a") == value("2")
    assert len(cache) == 1
    assert cache.bytes_held == 100 + ENTRY_OVERHEAD_BYTES


def test_the_least_recently_used_goes_first() -> None:
    """Having been asked for counts as use."""
    cache = make(3)
    for key in (b"a", b"b", b"c"):
        cache.put(key, value("x"), 60)
    cache.get(b"a")
    cache.put(b"d", value("x"), 60)
    assert [key for key in (b"a", b"b", b"c", b"d") if cache.get(key)] == [b"a", b"c", b"d"]


def test_a_value_over_the_whole_bound_is_not_kept() -> None:
    """Nor does it drive the others out; what it replaces is gone."""
    cache = make(1)
    cache.put(b"a", value("x"), 60)
    cache.put(b"b", value("x", 10_000), 60)
    assert cache.get(b"a") == value("x")
    cache.put(b"a", value("x", 10_000), 60)
    assert cache.get(b"a") is None
    assert (len(cache), cache.bytes_held) == (0, 0)


def test_no_room_at_all() -> None:
    """A bound of zero turns the cache off."""
    cache: Cache = PredictionCache(0, ManualClock(), len)
    cache.put(b"a", b"", 60)
    assert cache.get(b"a") is None


def test_time_is_up_at_its_very_moment() -> None:
    """Each value for its own time; what has expired frees its bytes."""
    clock = ManualClock(100.0)
    cache = make(clock=clock)
    cache.put(b"a", value("x"), 5.0)
    cache.put(b"b", value("x"), float("inf"))
    clock.advance(4.99)
    assert cache.get(b"a")
    clock.advance(0.01)
    assert cache.get(b"a") is None
    assert cache.get(b"b")
    assert cache.bytes_held == 100 + ENTRY_OVERHEAD_BYTES


def test_every_change_of_the_bytes_is_told() -> None:
    """For the gauge."""
    told: list[int] = []
    clock = ManualClock()
    cache = PredictionCache(2000, clock, len, told.append)
    cache.put(b"a", value("x"), 5)
    cache.get(b"a")
    clock.advance(5)
    cache.get(b"a")
    cache.get(b"a")
    assert told == [100 + ENTRY_OVERHEAD_BYTES, 0]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "get", "wait"]),
        st.integers(0, 5),
        st.integers(0, 3000),
        st.sampled_from([1.0, 10.0]),
    ),
    max_size=60,
)


@given(STEPS)
def test_as_a_plain_model_of_it(steps: list[tuple[str, int, int, float]]) -> None:
    """Bound, expiry and order are those of the obvious, slow implementation."""
    clock = ManualClock()
    cache: Cache = PredictionCache(5000, clock, len)
    plain: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
    for kind, number, size, seconds in steps:
        key = bytes([number])
        if kind == "wait":
            clock.advance(seconds)
        elif kind == "put":
            plain.pop(key, None)
            plain[key] = (bytes(size), clock.now_s + seconds)
            if size + ENTRY_OVERHEAD_BYTES > 5000:
                del plain[key]
            while sum(len(v) + ENTRY_OVERHEAD_BYTES for v, _ in plain.values()) > 5000:
                plain.popitem(last=False)
            cache.put(key, bytes(size), seconds)
        else:
            want = plain.get(key)
            if want is not None and want[1] <= clock.now_s:
                del plain[key]
                want = None
            elif want is not None:
                plain.move_to_end(key)
            assert cache.get(key) == (want[0] if want else None)
        assert cache.bytes_held == sum(len(v) + ENTRY_OVERHEAD_BYTES for v, _ in plain.values())
        assert cache.bytes_held <= cache.max_bytes
        assert len(cache) == len(plain)


class Ask:
    """Callers that share one computation through a cache, as the engine does."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.computed: list[asyncio.Future[bytes]] = []

    async def __call__(self, key: bytes = b"k") -> bytes:
        known = self.cache.get(key)
        if known is not None:
            return known
        flight = self.cache.flight(key)
        if flight is None:
            future = asyncio.get_running_loop().create_future()
            self.computed.append(future)
            flight = self.cache.lead(key, future, lambda result: (result, 60.0))
        flight.join()
        try:
            await settled([flight.future])
        finally:
            flight.leave()
        return flight.future.result()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_many_callers_one_computation() -> None:
    """A hundred ask, one computes, all get it, and so does whoever comes later."""
    ask = Ask(make())
    callers = [asyncio.create_task(ask()) for _ in range(100)]
    await turns()
    assert len(ask.computed) == 1
    ask.computed[0].set_result(b"v")
    assert await asyncio.gather(*callers) == [b"v"] * 100
    assert await ask() == b"v"
    assert len(ask.computed) == 1
    assert ask.cache.flight(b"k") is None


async def test_errors_are_shared_and_never_remembered() -> None:
    """All who wait are told; whoever comes later has it computed anew."""
    ask = Ask(make())
    callers = [asyncio.create_task(ask()) for _ in range(3)]
    await turns()
    ask.computed[0].set_exception(ValueError("no"))
    told = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(error) for error in told] == [ValueError] * 3
    assert len(ask.cache) == 0
    again = asyncio.create_task(ask())
    await turns()
    ask.computed[1].set_result(b"v")
    assert await again == b"v"


@pytest.mark.parametrize("goer", [0, 1])
async def test_who_goes_takes_nobody_along(goer: int) -> None:
    """The one who asked first too: those who share the computation are answered."""
    ask = Ask(make())
    callers = [asyncio.create_task(ask()) for _ in range(3)]
    await turns()
    callers[goer].cancel()
    await turns()
    assert not ask.computed[0].cancelled()
    ask.computed[0].set_result(b"v")
    told = await asyncio.gather(*callers, return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in told] == [
        n == goer for n in range(3)
    ]
    assert [one for one in told if one == b"v"] == [b"v", b"v"]


async def test_when_all_have_gone_the_computation_is_given_up() -> None:
    """Its future is cancelled, so that the work leaves the queue; a newcomer starts another."""
    ask = Ask(make())
    callers = [asyncio.create_task(ask()) for _ in range(3)]
    await turns()
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert ask.computed[0].cancelled()
    newcomer = asyncio.create_task(ask())
    await turns()
    ask.computed[1].set_result(b"v")
    assert await newcomer == b"v"


async def test_a_newcomer_never_joins_a_cancelled_computation() -> None:
    """Not even in the moment before its end is noticed; and its own is not forgotten then."""
    cache = make()
    first = asyncio.get_running_loop().create_future()
    flight = cache.lead(b"k", first, lambda result: None)
    flight.join()
    flight.leave()
    assert first.cancelled()
    assert cache.flight(b"k") is None
    second = asyncio.get_running_loop().create_future()
    led = cache.lead(b"k", second, lambda result: None)
    await turns()
    assert cache.flight(b"k") is led
    second.set_result(b"v")
    await turns()
    assert cache.flight(b"k") is None
    assert cache.get(b"k") is None


async def test_a_failure_that_nobody_sees_is_no_fault() -> None:
    """When the last has left, an error is nobody's, and asyncio does not complain."""
    cache = make()
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    cache.lead(b"k", future, lambda result: (result, 60.0))
    future.set_exception(ValueError("no"))
    await turns()
    assert cache.flight(b"k") is None
    assert cache.get(b"k") is None


async def test_only_what_is_to_be_kept_is_kept() -> None:
    """The leader says what, and for how long."""
    clock = ManualClock()
    cache = make(clock=clock)
    for key, seconds in ((b"a", None), (b"b", 5.0)):
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        cache.lead(key, future, lambda result, s=seconds: s and (result + b"!", s))  # type: ignore[misc]
        future.set_result(b"v")
    await turns()
    assert (cache.get(b"a"), cache.get(b"b")) == (None, b"v!")
    clock.advance(5.0)
    assert cache.get(b"b") is None


async def test_settled_waits_for_all_and_cancels_none() -> None:
    """Done, failed and cancelled ones alike; being cancelled itself harms no future."""
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[None]] = [loop.create_future() for _ in range(4)]
    futures[0].set_result(None)
    waiting, given_up = (asyncio.create_task(settled(futures)) for _ in range(2))
    await turns()
    given_up.cancel()
    await turns()
    assert given_up.cancelled()
    futures[1].set_exception(ValueError("no"))
    futures[2].cancel()
    await turns()
    assert not waiting.done()
    futures[3].set_result(None)
    await asyncio.wait_for(waiting, 60)
    await settled(futures)
    await settled([])
    assert isinstance(futures[1].exception(), ValueError)


async def test_a_flight_that_has_landed_is_not_cancelled() -> None:
    """Leaving after the answer is the ordinary case."""
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    flight = Flight(future)
    flight.join()
    future.set_result(b"v")
    flight.leave()
    assert future.result() == b"v"
