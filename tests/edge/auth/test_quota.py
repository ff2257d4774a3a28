"""Rows per minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.core.clock import ManualClock
from augury.core.errors import Overloaded, TooLarge
from augury.edge.auth.quota import RowQuota


def test_a_minute_at_once_then_no_more() -> None:
    """The bucket is full at first."""
    clock = ManualClock(1000.0)
    quota = RowQuota(600, clock)
    quota.charge(600)
    with pytest.raises(Overloaded) as refused:
        quota.charge(1)
    assert refused.value.retry_after_s == pytest.approx(0.1)
    assert "600 rows a minute" in refused.value.message


def test_it_fills_continuously() -> None:
    """Half a second is five rows of 600 a minute, not the next minute's beginning."""
    clock = ManualClock()
    quota = RowQuota(600, clock)
    quota.charge(600)
    clock.advance(0.5)
    quota.charge(5)
    with pytest.raises(Overloaded):
        quota.charge(1)


def test_a_refusal_takes_nothing() -> None:
    """However often one asks in vain."""
    clock = ManualClock()
    quota = RowQuota(60, clock)
    quota.charge(50)
    for _ in range(100):
        with pytest.raises(Overloaded):
            quota.charge(11)
    quota.charge(10)


def test_more_than_a_minute_is_too_large() -> None:
    """Waiting would not help, so it is 413 and not 429."""
    quota = RowQuota(60, ManualClock())
    with pytest.raises(TooLarge, match="61 rows in one request, the key's quota is 60"):
        quota.charge(61)
    quota.charge(60)


@pytest.mark.parametrize("rows", [0, -5])
def test_no_rows_cost_nothing(rows: int) -> None:
    """Nor do they give anything back."""
    quota = RowQuota(1, ManualClock())
    quota.charge(1)
    quota.charge(rows)
    with pytest.raises(Overloaded):
        quota.charge(1)


def test_an_idle_quota_is_full_and_no_fuller() -> None:
    """Ten quiet minutes are worth one."""
    clock = ManualClock()
    quota = RowQuota(60, clock)
    clock.advance(600)
    assert quota.full
    quota.charge(60)
    with pytest.raises(Overloaded):
        quota.charge(1)


STEPS = st.lists(
    st.tuples(st.floats(0, 100, allow_nan=False), st.integers(1, 120)), min_size=1, max_size=60
)


@given(rows_per_minute=st.integers(1, 100), steps=STEPS, start_s=st.floats(0, 1e9))
def test_never_more_than_capacity_and_refill(
    rows_per_minute: int, steps: list[tuple[float, int]], start_s: float
) -> None:
    """In every stretch of time t, at most capacity + rate × t rows pass."""
    clock = ManualClock(start_s)
    quota = RowQuota(rows_per_minute, clock)
    passed: list[tuple[float, int]] = []
    for wait_s, rows in steps:
        clock.advance(wait_s)
        try:
            quota.charge(rows)
        except (Overloaded, TooLarge):
            continue
        passed.append((clock.monotonic(), rows))
    for first in range(len(passed)):
        total = 0
        for at_s, rows in passed[first:]:
            total += rows
            most = rows_per_minute + (at_s - passed[first][0]) * rows_per_minute / 60
            assert total <= most + 1e-3


@given(
    rows_per_minute=st.integers(1, 10_000), rows=st.integers(1, 10_000), start_s=st.floats(0, 1e7)
)
def test_whoever_waits_as_told_is_let_through(
    rows_per_minute: int, rows: int, start_s: float
) -> None:
    """The time that is told is enough."""
    clock = ManualClock(start_s)
    quota = RowQuota(rows_per_minute, clock)
    quota.charge(rows_per_minute)
    rows = min(rows, rows_per_minute)
    with pytest.raises(Overloaded) as refused:
        quota.charge(rows)
    assert refused.value.retry_after_s is not None
    clock.advance(refused.value.retry_after_s)
    quota.charge(rows)
