from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from augury.core.clock import ManualClock, SystemClock
from augury.core.errors import Overloaded, Unavailable
from augury.services.ui.readings import Reading
from augury.services.ui.sampler import MAX_BEHIND, Sampler, Subscription, Tier, running


def reading(at_s: float, ok: float = 0.0) -> Reading:
    return Reading(at_s=at_s, monotonic_s=at_s, requests={"ok": ok})


def sampler(
    clock: ManualClock, *, ending: Callable[[], bool] = lambda: False, places: int = 2
) -> Sampler:
    return Sampler(
        lambda: reading(clock.monotonic(), clock.monotonic()),
        lambda: b"[]",
        ending,
        clock,
        fine=Tier(5.0, 3),
        coarse=Tier(20.0, 2),
        max_subscribers=places,
    )


def test_a_tier_is_bounded_and_in_order() -> None:
    """It keeps the last samples only, the oldest first."""
    tier = Tier(5.0, 3)
    for at_s in range(0, 40, 5):
        tier.offer(reading(float(at_s), at_s**2))
    rates = [json.loads(sample)["requests_per_s"]["ok"] for sample in tier.samples()]
    assert rates == [45.0, 55.0, 65.0]


def test_a_coarse_sample_covers_its_whole_stretch() -> None:
    """It is made of readings that far apart, not of fine samples."""
    tier = Tier(20.0, 2)
    made = [tier.offer(reading(float(at_s), at_s)) for at_s in range(0, 45, 5)]
    assert [place for place, sample in enumerate(made) if sample is not None] == [4, 8]
    assert json.loads(made[4] or b"")["seconds"] == 20.0


def test_a_pause_makes_one_long_sample() -> None:
    """A machine that slept has one sample of that length, and no invented ones."""
    tier = Tier(5.0, 3)
    tier.offer(reading(0.0))
    tier.offer(reading(3600.0, 7200.0))
    (sample,) = tier.samples()
    assert json.loads(sample)["seconds"] == 3600.0
    assert json.loads(sample)["requests_per_s"]["ok"] == 2.0


async def test_all_who_listen_are_told() -> None:
    """Each gets the same bytes, numbered, and the models when they change."""
    clock = ManualClock()
    samples = sampler(clock)
    with samples.subscribed() as one, samples.subscribed() as other:
        for _ in range(3):
            samples.tick()
            clock.advance(5.0)
        told = [await one.next() or b"" for _ in range(3)]
        assert [await other.next() for _ in range(3)] == told
    assert told[0].startswith(b"event: models\n")
    assert told[1].startswith(b"id: 1\nevent: sample\ndata: {")
    assert told[2].startswith(b"id: 2\n")
    assert all(event.endswith(b"\n\n") for event in told)


def test_places_are_bounded() -> None:
    """Beyond the limit: 429 with its number; a place that is given back can be taken."""
    samples = sampler(ManualClock(), places=1)
    with samples.subscribed():
        with pytest.raises(Overloaded, match="1 dashboards") as refused, samples.subscribed():
            pass
        assert refused.value.retry_after_s == 30
    with samples.subscribed():
        assert samples.subscribers == 1
    assert samples.subscribers == 0


async def test_who_does_not_read_is_let_go() -> None:
    """What waits for one reader is bounded; then the stream ends, and the place is free."""
    clock = ManualClock()
    samples = sampler(clock)
    with samples.subscribed() as slow:
        for _ in range(MAX_BEHIND + 2):
            samples.tick()
            clock.advance(5.0)
        assert samples.subscribers == 0
        assert await slow.next() is None


async def test_a_reader_that_waits_hears_the_end() -> None:
    """Also one whose queue is empty."""
    subscription = Subscription()
    waiting = asyncio.create_task(subscription.next())
    await asyncio.sleep(0)
    subscription.end()
    assert await waiting is None


async def test_a_drain_ends_all_streams() -> None:
    """Within a second after the server begins to go away, and nobody is taken in any more."""
    draining = False
    clock = SystemClock()
    samples = Sampler(lambda: reading(clock.monotonic()), lambda: b"[]", lambda: draining, clock)
    async with running(samples):
        with samples.subscribed() as one:
            assert (await one.next() or b"").startswith(b"event: models")
            draining = True
            async with asyncio.timeout(1.0):
                assert await one.next() is None
        with pytest.raises(Unavailable, match="draining"), samples.subscribed():
            pass


async def test_a_failing_reading_does_not_end_the_samples() -> None:
    """It is logged; the next one counts."""
    clock = SystemClock()
    enough = asyncio.Event()
    calls = 0

    def read() -> Reading:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("no /proc today")
        if calls == 4:
            enough.set()
        return reading(clock.monotonic())

    samples = Sampler(read, lambda: b"[]", lambda: False, clock, fine=Tier(0.1, 3))
    async with running(samples), asyncio.timeout(10):
        await enough.wait()
    assert len(samples.fine.samples()) == 2
