"""Tests of ``augury.batching.lag``."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.batching.lag import FADE_S, MOST_S, LoopLag


def test_nothing_seen_is_no_lag() -> None:
    """A server that has just begun is on time."""
    assert LoopLag().at(1e6) == 0.0


def test_it_believes_what_it_sees_again() -> None:
    """One late turn of the loop counts half, four in a row nearly all."""
    lag = LoopLag()
    lag.seen(0.1, 5.0)
    assert lag.at(5.0) == pytest.approx(0.05)
    for _ in range(3):
        lag.seen(0.1, 5.0)
    assert lag.at(5.0) == pytest.approx(0.1, rel=0.1)


def test_it_forgets_in_a_moment() -> None:
    """Whether the loop tells that it is on time, or nothing is handed over at all."""
    quiet, told = LoopLag(), LoopLag()
    for lag in (quiet, told):
        for _ in range(10):
            lag.seen(0.2, 1.0)
    for number in range(100):
        told.seen(0.0001, 1.0 + number * FADE_S / 100)
    for lag in (quiet, told):
        assert lag.at(1.0 + FADE_S) == pytest.approx(0.2 / math.e, rel=0.05)
        assert lag.at(1.0 + 20 * FADE_S) < 1e-6


def test_what_cannot_be_is_no_lag() -> None:
    """A clock that went back, or none."""
    lag = LoopLag()
    for nonsense in (-1.0, math.nan):
        lag.seen(nonsense, 1.0)
    assert lag.at(1.0) == 0.0


@given(st.lists(st.tuples(st.floats(), st.floats(0.0, 1e6)), max_size=30), st.floats(0.0, 1e6))
def test_it_stays_sane(seen: list[tuple[float, float]], now_s: float) -> None:
    """Between none and the most that is believed, whatever it is told."""
    lag = LoopLag()
    for lag_s, at_s in seen:
        lag.seen(lag_s, at_s)
    assert 0.0 <= lag.at(now_s) <= MOST_S
