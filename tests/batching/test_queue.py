"""Tests of ``augury.batching.queue``."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from augury.batching.queue import MAX_PADDING, RowQueue


@dataclass(eq=False)
class Piece:
    """Some rows that wait."""

    rows: int = 1
    deadline_s: float | None = None
    gone: bool = False
    length: int = 0

    def abandoned(self) -> bool:
        return self.gone


PIECES = st.lists(
    st.builds(Piece, st.integers(1, 5), st.none() | st.floats(0, 10), st.booleans()), max_size=30
)


def filled(*pieces: Piece, max_rows: int = 100) -> RowQueue[Piece]:
    queue: RowQueue[Piece] = RowQueue(max_rows)
    for piece in pieces:
        queue.push(piece)
    return queue


def test_an_empty_queue_gives_nothing() -> None:
    """Taking from it is no error."""
    queue = filled()
    assert not queue
    taken = queue.take(8, 0.0)
    assert (taken.batch, taken.expired) == ([], [])


def test_first_in_first_out_up_to_the_limit() -> None:
    """A batch is as full as it can be without overtaking."""
    pieces = [Piece(3), Piece(4), Piece(2), Piece(1)]
    queue = filled(*pieces)
    assert queue.take(8, 0.0).batch == pieces[:2]
    assert queue.rows == 3
    assert queue.take(8, 0.0).batch == pieces[2:]
    assert not queue


def test_large_work_goes_alone() -> None:
    """More rows than a batch holds are taken all the same, together and alone."""
    small, large, last = Piece(1), Piece(20), Piece(1)
    queue = filled(small, large, last)
    assert [queue.take(8, 0.0).batch for _ in range(3)] == [[small], [large], [last]]


def test_the_abandoned_are_dropped_and_the_late_told() -> None:
    """Neither takes a place in the batch; a deadline is over at its very moment."""
    gone, late, both = Piece(gone=True), Piece(deadline_s=5.0), Piece(deadline_s=1.0, gone=True)
    good, in_time = Piece(), Piece(deadline_s=5.1)
    queue = filled(gone, late, both, good, in_time)
    taken = queue.take(2, 5.0)
    assert taken.batch == [good, in_time]
    assert taken.expired == [late]
    assert queue.rows == 0


def test_bound() -> None:
    """An empty queue takes anything; otherwise the bound holds."""
    queue = filled(max_rows=4)
    assert queue.fits(1000)
    queue.push(Piece(3))
    assert queue.fits(1)
    assert not queue.fits(2)


def test_the_abandoned_can_make_room() -> None:
    """They are forgotten, the others keep their order."""
    stays, also = Piece(2), Piece(1)
    queue = filled(Piece(3, gone=True), stays, Piece(1, gone=True), also)
    queue.drop_abandoned()
    assert queue.rows == 3
    assert queue.clear() == [stays, also]
    assert queue.rows == 0
    assert not queue


@given(PIECES, st.integers(1, 8), st.floats(0, 10))
def test_nothing_is_lost_and_nobody_overtakes(
    pieces: list[Piece], max_rows: int, now_s: float
) -> None:
    """Every piece is in one batch, or expired, or abandoned; in order; never too many rows."""
    queue = filled(*pieces)
    batches, expired = [], []
    while queue:
        taken = queue.take(max_rows, now_s)
        batches.append(taken.batch)
        expired += taken.expired
        assert queue.rows == sum(piece.rows for piece in queue._waiting)
    live = [piece for piece in pieces if not piece.gone]
    late = [p for p in live if p.deadline_s is not None and p.deadline_s <= now_s]
    assert expired == late
    assert [piece for batch in batches for piece in batch] == [p for p in live if p not in late]
    for batch in batches:
        assert len(batch) == 1 or sum(piece.rows for piece in batch) <= max_rows


@given(PIECES, st.integers(1, 20))
def test_the_bound_is_kept(pieces: list[Piece], max_rows: int) -> None:
    """Whoever asks first never makes more rows wait than may, but for one large piece alone."""
    queue = filled(max_rows=max_rows)
    for piece in pieces:
        if queue.fits(piece.rows):
            queue.push(piece)
        assert queue.rows <= max_rows or len(queue._waiting) == 1


def test_padded_work_goes_with_the_nearest_in_length() -> None:
    """The oldest goes first; those of nearly its length go with it, the others keep their order."""
    oldest, long, near, short, same = (Piece(length=n) for n in (20, 90, 21, 5, 20))
    queue = filled(oldest, long, near, short, same)

    assert queue.take(8, 0.0).batch == [oldest, same, near]
    assert queue.rows == 2
    assert queue.take(8, 0.0).batch == [long]
    assert queue.take(8, 0.0).batch == [short]
    assert not queue


LENGTHY = st.lists(
    st.builds(
        Piece,
        st.integers(1, 3),
        st.none() | st.floats(0, 10),
        st.booleans(),
        st.integers(0, 60),
    ),
    max_size=80,
)


@given(LENGTHY, st.integers(1, 12), st.floats(0, 10))
def test_padding_stays_small_and_nothing_is_lost(
    pieces: list[Piece], max_rows: int, now_s: float
) -> None:
    """Every piece leaves once; a padded batch is at most a tenth padding; the oldest never waits."""
    queue = filled(*pieces, max_rows=10_000)
    left: list[Piece] = []
    while queue:
        waiting = [piece for piece in queue._waiting if not piece.gone]
        taken = queue.take(max_rows, now_s)
        left += taken.batch + taken.expired
        alive = [p for p in waiting if p.deadline_s is None or p.deadline_s > now_s]
        assert taken.batch[:1] == alive[:1]
        rows = sum(piece.rows for piece in taken.batch)
        assert rows <= max_rows or len(taken.batch) == 1
        if taken.batch and taken.batch[0].length:
            longest = max(piece.length for piece in taken.batch)
            filled_up = sum(piece.rows * piece.length for piece in taken.batch)
            assert filled_up >= (1 - MAX_PADDING) * longest * rows
    assert queue.rows == 0
    assert sorted(map(id, left)) == sorted(id(piece) for piece in pieces if not piece.gone)
