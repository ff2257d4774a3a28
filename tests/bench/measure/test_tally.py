"""Each request of the window is counted once."""

from __future__ import annotations

from array import array

import pytest

from augury.bench.dialects.base import FAILED, GOOD, REFUSED, WRONG, Verdict
from augury.bench.measure.tally import MAX_KINDS, Tally


def _record(tally: Tally, at_s: float, done_s: float, verdict: Verdict = GOOD) -> list[float]:
    return [at_s, at_s + 0.001, at_s + 0.002, done_s, tally.number_of(verdict)]


def test_window_and_kinds() -> None:
    """Warm-up and what comes after are left out; each kind has its count, the late are not good."""
    tally = Tally(1.0, 2.0, 0.1, 0.5)
    records = array("d")
    for at_s, done_s, verdict in [
        (0.5, 1.2, GOOD),
        (1.0, 1.05, GOOD),
        (1.5, 1.7, GOOD),
        (2.0, 2.001, Verdict(REFUSED, "429 overloaded")),
        (2.5, 12.5, Verdict(FAILED, "timeout")),
        (2.9, 3.2, Verdict(WRONG, "not what was expected")),
        (3.0, 3.01, GOOD),
    ]:
        records.extend(_record(tally, at_s, done_s, verdict))
    tally.fold(records)
    assert not records
    assert tally.count == 5
    assert (tally.ok.count, tally.good, tally.refused.count) == (2, 1, 1)
    assert tally.count_of(FAILED) == tally.count_of(WRONG) == 1
    # Answers within the window, whenever they were asked: one of the warm-up, two, the refusal.
    assert tally.answered_inside == 4
    assert tally.ok.max_us == pytest.approx(200_000, abs=1)
    assert tally.ok_from_send.max_us == pytest.approx(198_000, abs=1)
    assert tally.lag.percentile_us(50) == pytest.approx(1000, abs=1)


def test_points() -> None:
    """Each point tells its interval, by the time at which requests were meant to go."""
    tally = Tally(0.0, 1.0, 0.1, 0.5)
    records = array("d", [*_record(tally, 0.1, 0.15), *_record(tally, 0.4, 0.9)])
    records.extend(_record(tally, 0.6, 0.601, Verdict(REFUSED, "429")))
    tally.fold(records)
    first, second = tally.points()
    assert (first.offered, first.ok, first.good, first.refused, first.failed) == (2, 2, 1, 0, 0)
    assert (second.from_s, second.offered, second.ok, second.refused) == (0.5, 1, 0, 1)
    assert first.p50_ms == pytest.approx(50, rel=0.04)
    assert first.p99_ms == pytest.approx(500, rel=0.04)


def test_kinds_are_bounded() -> None:
    """A server that makes up codes fills no memory."""
    tally = Tally(0.0, 1.0, None, 0.5)
    records = array("d")
    for number in range(1000):
        records.extend(_record(tally, 0.1, 0.2, Verdict(FAILED, f"code {number}")))
    tally.fold(records)
    assert tally.count == 1000
    assert len(tally.kinds) <= MAX_KINDS + 1
    assert tally.kinds[Verdict(FAILED, "others")] == 1000 - MAX_KINDS


def test_travels_and_merges() -> None:
    """What two workers measured adds up, after the way between processes."""
    tallies = []
    for shift in (0.0, 0.01):
        tally = Tally(0.0, 1.0, 0.1, 0.25)
        tally.fold(array("d", _record(tally, 0.1, 0.15 + shift)))
        tally.fold(array("d", _record(tally, 0.8, 0.9, Verdict(FAILED, "timeout"))))
        tally.waited, tally.cpu_share = 3, shift
        tallies.append(Tally.from_bytes(tally.to_bytes(), 1.0))
    total = tallies[0].merge(tallies[1])
    assert (total.count, total.good, total.waited, total.cpu_share) == (4, 2, 6, 0.01)
    assert total.kinds == {GOOD: 2, Verdict(FAILED, "timeout"): 2}
    assert [one.offered for one in total.points()] == [2, 0, 0, 2]
