"""Finding the highest rate that holds, again."""

from __future__ import annotations

import pytest
from benchmarks.peers.search import STEP, follow, seconds


@pytest.mark.parametrize("last", [70.0, 90.0, 99.9, 101.0, 120.0])
def test_a_later_search_ends_within_a_step_below_the_truth(last: float) -> None:
    """From any place nearby, what is answered holds, and the next step would not."""
    found = follow(lambda rate: rate <= 100, last, most=8)

    assert found <= 100 < found * STEP


def test_a_later_search_measures_a_bounded_number_of_rates() -> None:
    """A server that never holds, or always does, costs no more than four runs."""
    for answer in (True, False):
        asked: list[float] = []

        def holds(rate: float, answer: bool = answer, asked: list[float] = asked) -> bool:
            asked.append(rate)
            return answer

        follow(holds, 100)

        assert len(asked) == 4


def test_slow_rates_are_asked_for_longer() -> None:
    """A rate is held so long that one request in a hundred can be told, within limits."""
    assert seconds(100, requests=600, shortest=4, longest=8) == 6
    assert seconds(1, requests=600, shortest=4, longest=8) == 8
    assert seconds(5000, requests=600, shortest=4, longest=8) == 4
