"""Tests of ``augury.cache.flight``."""

from __future__ import annotations

import asyncio

import pytest

from augury.cache.flight import Flight, Flights, settled


class Ask:
    """Callers that share one computation, as the engine does."""

    def __init__(self) -> None:
        self.flights: Flights[bytes] = Flights()
        self.kept: dict[bytes, bytes] = {}
        self.computed: list[asyncio.Future[bytes]] = []

    async def __call__(self, key: bytes = b"k") -> bytes:
        if key in self.kept:
            return self.kept[key]
        flight = self.flights.get(key)
        if flight is None:
            future = asyncio.get_running_loop().create_future()
            self.computed.append(future)
            flight = self.flights.lead(key, future, self.kept.__setitem__)
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
    ask = Ask()
    callers = [asyncio.create_task(ask()) for _ in range(100)]
    await turns()
    assert len(ask.computed) == 1
    ask.computed[0].set_result(b"v")
    assert await asyncio.gather(*callers) == [b"v"] * 100
    assert await ask() == b"v"
    assert len(ask.computed) == 1
    assert ask.flights.get(b"k") is None


async def test_errors_are_shared_and_never_remembered() -> None:
    """All who wait are told; whoever comes later has it computed anew."""
    ask = Ask()
    callers = [asyncio.create_task(ask()) for _ in range(3)]
    await turns()
    ask.computed[0].set_exception(ValueError("no"))
    told = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(error) for error in told] == [ValueError] * 3
    assert ask.kept == {}
    again = asyncio.create_task(ask())
    await turns()
    ask.computed[1].set_result(b"v")
    assert await again == b"v"


@pytest.mark.parametrize("goer", [0, 1])
async def test_who_goes_takes_nobody_along(goer: int) -> None:
    """The one who asked first too: those who share the computation are answered."""
    ask = Ask()
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
    ask = Ask()
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
    flights: Flights[bytes] = Flights()
    landed: list[tuple[bytes, bytes]] = []
    first = asyncio.get_running_loop().create_future()
    flight = flights.lead(b"k", first, lambda *one: landed.append(one))
    flight.join()
    flight.leave()
    assert first.cancelled()
    assert flights.get(b"k") is None
    second = asyncio.get_running_loop().create_future()
    led = flights.lead(b"k", second, lambda *one: landed.append(one))
    await turns()
    assert flights.get(b"k") is led
    second.set_result(b"v")
    await turns()
    assert len(flights) == 0
    assert landed == [(b"k", b"v")]


async def test_a_failure_that_nobody_sees_is_no_fault() -> None:
    """When the last has left, an error is nobody's, and asyncio does not complain."""
    flights: Flights[bytes] = Flights()
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    landed: list[bytes] = []
    flights.lead(b"k", future, lambda _, result: landed.append(result))
    future.set_exception(ValueError("no"))
    await turns()
    assert flights.get(b"k") is None
    assert landed == []


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


async def test_a_flight_is_as_patient_as_the_most_patient_who_waits() -> None:
    """Who joins may put it off, before it is queued and after; nobody makes it due earlier."""
    flights: Flights[bytes] = Flights()
    future = asyncio.get_running_loop().create_future()
    flight = flights.lead(b"k", future, lambda *_: None, deadline_s=5.0)
    put_off: list[float | None] = []
    flight.join(5.0)
    flight.join(7.0)
    flight.carried_by(put_off.append)
    flight.join(6.0)
    assert put_off == []
    flight.join(8.0)
    flight.join(None)
    flight.join(9.0)
    assert flight.deadline_s is None
    assert put_off == [8.0, None]
    assert flight.begun_for_s == 5.0
    future.cancel()


async def test_the_urgent_do_not_join_the_patient() -> None:
    """A flight that goes later than one may go is not found; a new one takes its place for all."""
    flights: Flights[bytes] = Flights()
    loop = asyncio.get_running_loop()
    slow = flights.lead(b"k", loop.create_future(), lambda *_: None, priority=2)
    assert flights.get(b"k", 2) is slow
    assert flights.get(b"k", 1) is None
    quick = flights.lead(b"k", loop.create_future(), lambda *_: None, priority=1)
    assert flights.get(b"k", 1) is quick
    assert flights.get(b"k", 2) is quick
    slow.future.set_result(b"v")
    await turns()
    assert flights.get(b"k", 2) is quick
    quick.future.set_result(b"v")
    await turns()
    assert len(flights) == 0
