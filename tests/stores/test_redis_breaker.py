"""When a server that cannot be reached is tried again, and what is told meanwhile."""

from __future__ import annotations

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import Unavailable
from augury.stores.redis.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker


def test_it_opens_at_the_first_failure_and_closes_at_the_first_answer() -> None:
    """While it is open every check fails, and says which store and since when."""
    clock = ManualClock(now_s=1_700_000_000.0)
    breaker = Breaker("redis://cache:6379/0", clock)
    breaker.check()
    assert not breaker.answered()

    assert breaker.failed("refused")
    clock.advance(60)
    assert not breaker.failed("timed out")  # no news
    want = "store redis://cache:6379/0: cannot be reached since 2023-11-14T22:13:20Z (timed out)"
    with pytest.raises(Unavailable) as caught:
        breaker.check()
    assert caught.value.message == breaker.fault == want

    assert breaker.answered()
    breaker.check()
    assert breaker.failed("refused")  # a new outage has a beginning of its own
    assert "22:14:20Z" in (breaker.fault or "")


def test_pauses_grow_up_to_a_bound() -> None:
    """The first try comes soon; even after days the next comes within a second."""
    breaker = Breaker("redis://cache", ManualClock())
    breaker.failed("refused")
    pauses = [breaker.pause_s() for _ in range(2000)]

    assert 0.75 * FIRST_PAUSE_S <= pauses[0] <= FIRST_PAUSE_S
    assert all(0.75 * LONGEST_PAUSE_S <= pause <= LONGEST_PAUSE_S for pause in pauses[3:])
    assert len(set(pauses)) > 1000  # not all servers at once
    breaker.answered()
    breaker.failed("refused")
    assert breaker.pause_s() <= FIRST_PAUSE_S
