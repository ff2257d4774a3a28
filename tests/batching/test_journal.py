"""Tests of ``augury.batching.journal``."""

from __future__ import annotations

import math

from augury.batching.journal import KEPT, Dispatch, Journal


def dispatch(at_s: float, reason: str = "idle", *, rows: int = 2, outcome: str = "ok") -> Dispatch:
    return Dispatch(at_s, reason, rows, 1, 1, 0.0, math.nan, math.nan, 0.01, 0.0, outcome)


def test_the_newest_first() -> None:
    """As many as asked for, those computed inline in their place."""
    journal = Journal()
    for at_s in range(5):
        journal.add(dispatch(float(at_s)))
    journal.add_inline(2.5, 3, 1e-5)
    assert [one.at_s for one in journal.last(4)] == [4, 3, 2.5, 2]
    assert journal.last(3)[2] == Dispatch(
        2.5, "inline", 3, 1, 1, 0.0, journal.last(3)[2].predicted_s, journal.last(3)[2].tail_s,
        1e-5, 0.0, "ok",
    )  # fmt: skip
    assert journal.last(0) == []


def test_a_thousand_are_kept_and_all_are_counted() -> None:
    """However many there were."""
    journal = Journal()
    for number in range(3 * KEPT + 10):
        journal.add(dispatch(float(number), "full" if number % 2 else "idle"))
    journal.add(dispatch(1e9, "retry", outcome="failed"))
    for _ in range(2 * KEPT):
        journal.add_inline(0.0, 4, 1e-5)
    journal.shed("expired", 3)
    assert len(journal.last()) == KEPT
    totals = journal.totals()
    assert totals.dispatches == {"idle": 1505, "full": 1505, "retry": 1, "inline": 2000}
    assert totals.rows == {"idle": 3010, "full": 3010, "retry": 2, "inline": 8000}
    assert totals.outcomes == {"ok": 5010, "failed": 1}
    assert totals.shed == {"expired": 3}
    assert journal.totals() == totals
