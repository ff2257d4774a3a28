"""Errors as RFC 9457 has them."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from augury.core.errors import AuguryError, Overloaded, ShapeMismatch, Unavailable
from augury.protocols.native.errors import (
    problem,
    problem_body,
    problem_headers,
    row_problem,
    unexpected,
)


def test_a_problem_has_the_members_of_the_rfc() -> None:
    """type, title, status and detail, and the facts of the error beside them."""
    error = ShapeMismatch(input="pixels", got=(1, 3), want=(-1, 4))
    assert problem(error) == {
        "type": "urn:augury:error:shape_mismatch",
        "title": "Shape mismatch",
        "status": 400,
        "detail": error.message,
        "code": "shape_mismatch",
        "retryable": False,
        "input": "pixels",
        "got": [1, 3],
        "want": [-1, 4],
    }


def test_details_cannot_take_the_place_of_a_member() -> None:
    """A detail called "status" or "detail" is left out."""
    told = problem(Unavailable("later", status=200, detail="x", more=1))
    assert (told["status"], told["detail"], told["more"]) == (503, "later", 1)


def test_a_row_is_told_without_the_type() -> None:
    """In a row the type would only repeat the code."""
    assert "type" not in row_problem(Unavailable("later"))


def test_retry_after_is_in_whole_seconds_and_never_too_early() -> None:
    """The header is rounded up, to one at least; without a time there is none."""
    waits = {0.0: b"1", 0.2: b"1", 1.0: b"1", 1.01: b"2", 7.5: b"8"}
    for wait_s, told in waits.items():
        error = Overloaded("full", retry_after_s=wait_s)
        assert problem_headers(error) == [(b"retry-after", told)]
    assert problem_headers(Overloaded("full")) == []


def test_an_unexpected_fault_tells_nothing() -> None:
    """The client learns that it was our fault, and no more."""
    assert json.loads(problem_body(unexpected()))["code"] == "internal"


@example("half of an emoji: \ud83d")
@given(st.text(st.characters(exclude_categories=())))
def test_any_message_can_be_sent(message: str) -> None:
    """A message that quotes a lone surrogate is JSON all the same."""
    document = json.loads(problem_body(AuguryError(message, quoted=message)))
    assert document["detail"] == message
