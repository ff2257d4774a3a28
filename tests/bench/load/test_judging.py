"""What counts as the right answer."""

from __future__ import annotations

from typing import Any

import pytest

from augury.bench.dialects.base import FAILED, OK, WRONG
from augury.bench.dialects.native import NATIVE
from augury.bench.load.judging import make_judge, matches


@pytest.mark.parametrize(
    ("expected", "got", "right"),
    [
        (1, 1.0005, True),
        (1, 1.01, False),
        (0, 0.0005, True),
        (1, True, False),
        (True, True, True),
        ("a", "a", True),
        ("a", "b", False),
        (None, None, True),
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": "x", "c": 1}], "d": 2}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, [1], False),
        ([1, 2], [2, 1], False),
    ],
)
def test_matches(expected: Any, got: Any, right: bool) -> None:
    """Numbers nearly, objects in what is expected, lists in order."""
    assert matches(expected, got) is right


def test_each_request_has_its_own_expectation() -> None:
    """The right answer to another request is a wrong one."""
    judge = make_judge(NATIVE, 1, "rows", [b'[{"y": 1}]', b'[{"y": 2}]'])
    body = b'{"rows":[{"y":2}]}'
    assert judge(200, body, 0).outcome == WRONG
    assert judge(200, body, 1).outcome == OK
    assert judge(500, body, 1).outcome == FAILED


def test_status_only() -> None:
    """Then the body is not looked at."""
    judge = make_judge(NATIVE, 1, "status", [])
    assert judge(200, b"whatever", 0).outcome == OK
    assert judge(404, b"", 0) == (FAILED, "404")
