"""The search for the highest rate that holds, on servers of known capacity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.bench.sweep import search


class _Server:
    """Holds up to *capacity*."""

    def __init__(self, capacity: float) -> None:
        self.capacity = capacity
        self.asked: list[float] = []

    def __call__(self, rate_rps: float) -> bool:
        self.asked.append(rate_rps)
        return rate_rps <= self.capacity


@given(st.floats(5, 20_000), st.floats(1, 5_000))
def test_finds_the_capacity(capacity: float, first: float) -> None:
    """To 5 %, from below and from above."""
    server = _Server(capacity)
    found = search(server, first, max_levels=40)
    assert found is not None
    assert capacity / 1.05 <= found <= capacity


def test_doubles_then_divides() -> None:
    """Few levels: doubling up to the first that fails, then geometric means."""
    server = _Server(100)
    search(server, 25)
    assert server.asked[:3] == [25, 50, 100]
    assert server.asked[3] == 200
    assert server.asked[4] == pytest.approx(141.4, abs=0.1)
    assert len(server.asked) <= 9


def test_halves_when_the_first_fails() -> None:
    """A start that was too high is no dead end."""
    assert search(_Server(10), 1000) == pytest.approx(10, rel=0.06)


def test_none_holds() -> None:
    """It ends at the lowest rate."""
    server = _Server(0)
    assert search(server, 8, lowest_rps=1) is None
    assert server.asked == [8, 4, 2, 1]


def test_levels_are_bounded() -> None:
    """A server that never fails is not asked for ever."""
    server = _Server(float("inf"))
    assert search(server, 1, max_levels=5) == 16
    assert len(server.asked) == 5
