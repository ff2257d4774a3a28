"""Sweeps that end before their end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from dataclasses import replace

import pytest

from augury.bench.dialects.base import GOOD
from augury.bench.measure.tally import Tally
from augury.bench.results import Level, Sweep, level_of
from augury.bench.run import Load, prepare, sweep
from augury.core.errors import OperatorError
from tests.bench.servers import echo, serving

LOAD = Load(duration_s=0.5, warm_up_s=0.1, slo_s=0.5, timeout_s=2, pids=None)


def _level(rate: float, good: int, of: int, *, interrupted: bool = False) -> Level:
    tally = Tally(0, 1, 0.1, 0.25)
    tally.kinds, tally.good = {GOOD: of}, good
    return level_of(
        tally, loop="open", rate_rps=rate, connections=9, server=None, interrupted=interrupted
    )


def test_an_interrupted_level_tells_nothing_of_its_rate() -> None:
    """It neither holds nor is it the peak or what lies beyond."""
    cut = _level(400, 400, 400, interrupted=True)
    assert not cut.holds
    found = Sweep((_level(100, 100, 100), cut), 0.1, 100, True)
    assert (found.peak, found.beyond) == (found.levels[0], found.levels[0])
    assert Sweep((cut,), 0.1, None, True).peak is None


def test_ctrl_c_in_an_overload_is_no_success() -> None:
    """A server that answers none of the second level in time: that rate is not sustainable for being cut."""

    async def slower(number: int, path: str, body: bytes) -> bytes | None:
        if number == 90:
            threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT)).start()
        if number >= 90:
            await asyncio.sleep(20)
        return await echo(number, path, body)

    load = replace(LOAD, duration_s=20, slo_s=1.0, warm_up_s=0)
    with serving(slower) as server:
        workload = prepare(server.url)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            found = sweep(workload, load, rates=[200])
        finally:
            signal.signal(signal.SIGINT, before)
    assert found.interrupted
    assert found.sustainable_rps is None
    (level,) = found.levels
    assert any(one.label == "interrupted" for one in level.kinds)
    assert level.good_share < 0.9


def test_a_server_that_has_gone_leaves_what_was_measured() -> None:
    """The levels that were over, and why there are no more."""
    levels: list[Level] = []
    with serving() as server:

        def over(level: Level) -> None:
            levels.append(level)
            server.stop()

        found = sweep(prepare(server.url), LOAD, rates=[50, 100, 200], on_level=over)
    assert found.levels == tuple(levels)
    assert found.sustainable_rps == pytest.approx(levels[0].offered_rps)
    assert "no answer from 127.0.0.1" in found.failure
    assert not found.interrupted


def test_a_server_that_was_never_there_is_an_error() -> None:
    """Without any level there is nothing to show."""
    with serving() as server:
        workload = prepare(server.url)
    with pytest.raises(OperatorError, match="no answer from"):
        sweep(workload, LOAD, rates=[50])


def test_low_rates_are_asked_for_long_enough() -> None:
    """A search sends enough requests for 99 % of them to say something, and the last rate beyond lasts longer."""
    levels: list[Level] = []
    lock = asyncio.Lock()

    async def thirty_a_second(number: int, path: str, body: bytes) -> bytes | None:
        async with lock:
            await asyncio.sleep(0.03 if body else 0)
        return await echo(number, path, body)

    load = replace(LOAD, duration_s=0.3, slo_s=0.3, least_requests=12)
    with serving(thirty_a_second) as server:
        found = sweep(
            prepare(server.url),
            load,
            arrivals="constant",
            beyond=(1.0, 1.5),
            precision=2,
            on_level=levels.append,
        )
    assert found.sustainable_rps is not None
    searched, (once, longest) = levels[:-2], levels[-2:]
    assert all(one.requests >= 11 for one in searched)
    assert max(one.duration_s for one in searched) > 0.3
    assert longest.duration_s == pytest.approx(3 * once.duration_s)
