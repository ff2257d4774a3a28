"""Finding the highest rate that holds, for long."""

from __future__ import annotations

import pytest
from benchmarks.peers.search import STEP, highest, seconds, settle_on


@pytest.mark.parametrize("first", [50.0, 70.0, 90.0, 99.9, 101.0, 120.0, 180.0])
def test_it_ends_within_a_step_below_the_truth(first: float) -> None:
    """From any place nearby, what is answered holds, was measured, and the next step would not."""
    asked: list[float] = []

    def holds(rate: float) -> bool:
        asked.append(rate)
        return rate <= 100

    found = settle_on(holds, first, most=12)

    assert found in asked
    assert found is not None
    assert found <= 100 < found * STEP * 1.001


def test_only_what_was_measured_is_told() -> None:
    """When nothing held there is no rate, not the next lower one; and the number of runs is bounded."""
    for answer, wanted in ((True, 100 * STEP**3), (False, None)):
        asked: list[float] = []

        def holds(rate: float, answer: bool = answer, asked: list[float] = asked) -> bool:
            asked.append(rate)
            return answer

        assert settle_on(holds, 100) == (None if wanted is None else pytest.approx(wanted))
        assert len(asked) == 4


def test_slow_rates_are_asked_for_longer() -> None:
    """A rate is held so long that one request in a hundred can be told, within limits."""
    assert seconds(100, requests=600, shortest=4, longest=8) == 6
    assert seconds(1, requests=600, shortest=4, longest=8) == 8
    assert seconds(5000, requests=600, shortest=4, longest=8) == 4


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_highest_step_is_found_from_anywhere(steps: int) -> None:
    """Whatever holds up to a point, that point is found, and nothing is asked twice."""
    for last in range(-1, steps):
        for first in range(-2, steps + 2):
            asked: list[int] = []

            def holds(step: int, last: int = last, asked: list[int] = asked) -> bool:
                asked.append(step)
                return step <= last

            assert highest(holds, steps, first) == (None if last < 0 else last)
            assert len(asked) == len(set(asked))
            assert set(asked) <= set(range(steps))
