"""Tests of ``augury.batching.policies.company``."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from augury.batching.policies.company import by_length, in_order, take
from tests.batching.policies.making import make, queued
from tests.batching.simulator import Piece

PIECES = st.lists(
    st.builds(Piece, rows=st.integers(1, 5), length=st.integers(0, 60)), min_size=1, max_size=60
)


def test_the_nearest_in_length_go_with_the_first() -> None:
    """The first is always in; those of nearly its length go with it."""
    first, long, near, short, same = (Piece(length=n) for n in (20, 90, 21, 5, 20))
    assert by_length([first, long, near, short, same], 8, 0.1) == ([first, same, near], "padding")
    assert by_length([long, first], 8, 0.1) == ([long], "padding")


def test_without_lengths_it_is_the_order() -> None:
    """As many as fit, and no overtaking: a large one behind the first ends the batch."""
    first, second, large, small = Piece(3), Piece(4), Piece(2), Piece(1)
    waiting = [first, second, large, small]
    assert by_length(waiting, 8, 0.1) == ([first, second], "full")
    assert in_order(waiting, 10) == (waiting, True)
    assert in_order(waiting, 11) == (waiting, False)
    assert by_length(waiting, 11, 0.1) == (waiting, "idle")


def test_large_work_goes_alone() -> None:
    """More rows than a batch holds are taken all the same."""
    large = Piece(20)
    assert in_order([large, Piece()], 8) == ([large], True)
    long = Piece(20, length=9)
    assert by_length([long, Piece(length=9)], 8, 0.1) == ([long], "full")


@settings(deadline=None)
@given(PIECES, st.integers(1, 12), st.floats(0.0, 0.9))
def test_padding_and_rows_stay_bounded(
    pieces: list[Piece], max_rows: int, max_padding: float
) -> None:
    """Whatever waits, the batch keeps both limits, and the first piece is its first."""
    batch, reason = by_length(pieces, max_rows, max_padding)
    rows = sum(piece.rows for piece in batch)
    assert batch[0] is pieces[0]
    assert len({id(piece) for piece in batch}) == len(batch)
    assert rows <= max_rows or len(batch) == 1
    if pieces[0].length:
        filled = sum(piece.rows * piece.length for piece in batch)
        longest = max(piece.length for piece in batch)
        assert filled >= (1.0 - max_padding) * longest * rows - 1e-9
    assert (reason == "idle") == (len(batch) == len(pieces) and rows < max_rows)


def test_taking_takes_out() -> None:
    """What is released no longer waits."""
    stays, goes = Piece(), Piece()
    queue = queued(make("fixed"), stays, goes)
    choice = take(queue, [goes], "idle")
    assert (choice.batch, choice.reason) == ([goes], "idle")
    assert queue.clear() == [stays]
