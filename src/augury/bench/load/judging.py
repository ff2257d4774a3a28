"""Whether an answer is one, and whether it is the right one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec

from augury.bench.dialects.base import (
    FAILED,
    GOOD,
    OK,
    UNREADABLE,
    WRONG,
    Dialect,
    Verdict,
    judge_status,
)

# Models on other runtimes, threads and batch sizes differ in the last digits of FP32, int8 ones in more.
TOLERANCE: Final = 1e-3

NOT_EXPECTED: Final = Verdict(WRONG, "not what was expected")
# status, body, number of the request
Judge = Callable[[int, bytes, int], Verdict]


def make_judge(
    dialect: Dialect, rows: int, check: Literal["rows", "status"], expects: Sequence[bytes]
) -> Judge:
    """How answers to requests of *rows* rows are judged.

    Args:
        dialect: Reads them.
        rows: Of each request.
        check: ``status`` looks at nothing but the status.
        expects: Of each request the rows that must be answered, as JSON; empty: any.
    """

    def judge_rows(status: int, body: bytes, which: int) -> Verdict:
        try:
            return dialect.judge(status, body, rows)
        except RecursionError:  # brackets without end
            return UNREADABLE

    if check == "status" and not expects:
        return lambda status, body, which: (
            GOOD if 200 <= status < 300 else judge_status(status, body)
        )
    if not expects:
        return judge_rows

    def judge(status: int, body: bytes, which: int) -> Verdict:
        verdict = judge_rows(status, body, which)
        if verdict.outcome != OK:
            return verdict
        try:
            answered = dialect.rows_of(body)
        except (ValueError, TypeError, IndexError, RecursionError, msgspec.MsgspecError):
            return UNREADABLE
        return GOOD if matches(msgspec.json.decode(expects[which]), answered) else NOT_EXPECTED

    return judge


def matches(expected: Any, got: Any) -> bool:
    """Whether *got* is what was *expected*: numbers to 0.1 %, objects in the members that are expected.

    >>> matches({"label": "good"}, {"label": "good", "scores": {"good": 0.7}})
    True
    >>> matches([1.0, 2], [1.0001, 2]), matches([1.0], [1.1]), matches([1], [1, 2])
    (True, False, False)
    """
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(
            name in got and matches(value, got[name]) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(got, list) and len(got) == len(expected) and all(map(matches, expected, got))
        )
    if isinstance(expected, bool) or not isinstance(expected, (int, float)):
        return bool(expected == got)
    if isinstance(got, bool) or not isinstance(got, (int, float)):
        return False
    return math.isclose(expected, got, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def failure(what: str) -> Verdict:
    """A request that no answer came to."""
    return Verdict(FAILED, what)
