"""Tests of ``augury.core.clock``."""

from __future__ import annotations

import time

from augury.core.clock import ManualClock, SystemClock


def test_the_system_clock_is_the_systems() -> None:
    """Monotonic for durations, wall for dates."""
    clock = SystemClock()
    before_s, now_s, after_s = time.monotonic(), clock.monotonic(), time.monotonic()
    assert before_s <= now_s <= after_s
    assert abs(clock.time() - time.time()) < 60


def test_a_manual_clock_stands() -> None:
    """It moves when it is moved, both its faces alike."""
    clock = ManualClock(5.0)
    assert (clock.monotonic(), clock.time()) == (5.0, 5.0)
    clock.advance(0.5)
    assert (clock.monotonic(), clock.time()) == (5.5, 5.5)
