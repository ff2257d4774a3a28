from __future__ import annotations

import asyncio
from typing import cast

from structlog.testing import capture_logs

from augury.core.clock import ManualClock
from augury.services.tweets.ledger import Ledger, LedgerStore
from augury.services.tweets.records import RETENTION_S
from augury.services.tweets.sweeper import DISTRUST_S, MAX_DRIFT_S, Sweeper, TrustedWall
from augury.stores.memory import MemoryStore
from tests.services.tweets.conftest import NOW_S, DownStore
from tests.services.tweets.ledger.conftest import predicted


class JumpingClock(ManualClock):
    """A clock whose wall time somebody sets."""

    def __init__(self, now_s: float) -> None:
        super().__init__(now_s)
        self.set_by_s = 0.0

    def time(self) -> float:
        return self.now_s + self.set_by_s


async def test_it_erases_what_is_old(store: MemoryStore) -> None:
    """What is past its retention, and nothing else."""
    clock = JumpingClock(NOW_S)
    ledger = Ledger(store, clock=clock)
    await ledger.write([predicted(1), predicted(2, at_s=NOW_S + 100)])
    sweeper = Sweeper(ledger, clock=clock)
    assert await sweeper.sweep() == 0
    clock.advance(RETENTION_S + 1)
    assert await sweeper.sweep() == 1
    assert await ledger.record(2) is not None


async def test_a_clock_that_is_set_ahead_erases_nothing(store: MemoryStore) -> None:
    """Ten years ahead by mistake, and back: all is still there, and the log has told of it."""
    clock = JumpingClock(NOW_S)
    ledger = Ledger(store, clock=clock)
    await ledger.write([predicted(1)])
    sweeper = Sweeper(ledger, clock=clock)
    with capture_logs() as events:
        clock.set_by_s = 10 * 365 * 86_400
        for _ in range(10):
            clock.advance(300)
            assert await sweeper.sweep() == 0
        clock.set_by_s = 0
        assert await sweeper.sweep() == 0
    assert [event["log_level"] for event in events] == ["warning"]
    assert await ledger.record(1) == predicted(1)
    clock.advance(RETENTION_S + 1)
    assert await sweeper.sweep() == 1


def test_when_the_wall_clock_is_trusted() -> None:
    """While it moves as the other one does; a day after it has jumped it is again."""
    clock = JumpingClock(NOW_S)
    wall = TrustedWall(clock)
    assert wall.is_trusted()
    clock.set_by_s = MAX_DRIFT_S - 1
    assert wall.is_trusted()
    for jump_s in (2 * MAX_DRIFT_S, -86_400.0):
        clock.set_by_s += jump_s
        assert not wall.is_trusted()
        clock.advance(DISTRUST_S - 1)
        assert not wall.is_trusted()
        clock.advance(2)
        assert wall.is_trusted()


async def test_a_store_that_is_down_is_no_news() -> None:
    """Others tell of it; the sweep goes on when it is back."""
    clock = ManualClock(NOW_S)
    ledger = Ledger(cast(LedgerStore, DownStore()), clock=clock)
    with capture_logs() as events:
        assert await Sweeper(ledger, clock=clock).sweep() == 0
    assert [event for event in events if event["log_level"] != "debug"] == []


async def test_it_runs_by_itself(store: MemoryStore) -> None:
    """Again and again, until it is cancelled."""
    clock = ManualClock(NOW_S)
    ledger = Ledger(store, clock=clock)
    await ledger.write([predicted(1)])
    clock.advance(RETENTION_S + 1)
    running = asyncio.create_task(Sweeper(ledger, clock=clock, every_s=0.001).run())
    async with asyncio.timeout(20):
        while await store.count("tweets:record:"):  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
