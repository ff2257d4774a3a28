"""Tests of ``augury.batching.queue``."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from augury.batching.queue import CHUNK, DEAD_WINDOW, Demand, RowQueue
from tests.batching.simulator import Piece


def filled(*pieces: Piece, max_rows: int = 10_000) -> RowQueue[Piece]:
    """In the order given."""
    queue: RowQueue[Piece] = RowQueue(max_rows)
    for number, piece in enumerate(pieces):
        queue.push(piece, float(number))
    return queue


def test_an_empty_queue_gives_nothing() -> None:
    """Asking it is no error."""
    queue = filled()
    assert not queue
    assert len(queue) == queue.rows == 0
    assert queue.first() is None
    assert queue.window(8) == queue.drop_dead(0.0) == queue.evict(1, 0) == queue.clear() == []
    assert queue.ahead(1.0) == Demand()
    queue.drop_abandoned()
    queue.remove([])


def test_the_most_urgent_is_first() -> None:
    """The lowest number goes first, and who came first where they are equal."""
    queue: RowQueue[Piece] = RowQueue(100)
    late, soon, also_soon, now = Piece(), Piece(), Piece(), Piece()
    for piece, urgency in ((late, 9.0), (soon, 5.0), (also_soon, 5.0), (now, 1.0)):
        queue.push(piece, urgency)
    assert queue.first() is now
    assert queue.window(3) == [now, soon, also_soon]
    assert queue.window(100) == [now, soon, also_soon, late]
    assert len(queue) == 4


def test_bound() -> None:
    """An empty queue takes anything; otherwise the bound holds."""
    queue = filled(max_rows=4)
    assert queue.fits(1000)
    queue.push(Piece(3), 0.0)
    assert queue.fits(1)
    assert not queue.fits(2)


def test_only_what_waits_can_be_removed() -> None:
    """A stranger is a mistake of the caller's, and the others are out all the same."""
    one, other, stranger = Piece(1), Piece(2), Piece(4)
    queue = filled(one, other)
    with pytest.raises(KeyError, match="1 of 2 pieces"):
        queue.remove([one, stranger])
    assert queue.clear() == [other]


def test_the_dead_are_dropped_at_the_front() -> None:
    """The abandoned silently, the expired told, also of those who left when their time was up; a deadline
    is over at its very moment.
    """
    gone, late, both = Piece(gone=True), Piece(deadline_s=5.0), Piece(deadline_s=1.0, gone=True)
    good, in_time, behind = Piece(), Piece(deadline_s=5.1), Piece(gone=True)
    queue = filled(gone, late, both, good, in_time, behind)
    assert queue.drop_dead(5.0) == [late, both]
    assert queue.clear() == [good, in_time]


def test_dropping_the_dead_looks_at_the_front_only() -> None:
    """The cost is bounded, but it goes on until the first one lives."""
    many = [Piece(gone=True) for _ in range(5 * DEAD_WINDOW)]
    good = Piece()
    hidden = [Piece() for _ in range(DEAD_WINDOW)]
    queue = filled(*many, good, *hidden, Piece(gone=True))
    assert queue.drop_dead(0.0) == []
    assert queue.first() is good
    assert len(queue) == 2 + DEAD_WINDOW


def test_the_abandoned_can_make_room() -> None:
    """They are forgotten wherever they are, the others keep their order."""
    stays, also = Piece(2), Piece(1)
    queue = filled(Piece(3, gone=True), stays, Piece(1, gone=True), also)
    assert len(queue.drop_abandoned()) == 2
    assert queue.rows == 3
    assert queue.clear() == [stays, also]


def test_less_important_work_makes_room() -> None:
    """The least urgent of a lower priority goes, never as much as is not needed."""
    high, normal = Piece(2, priority=0), Piece(2, priority=1)
    low, lower = Piece(2, priority=2), Piece(2, priority=2)
    queue = filled(high, low, normal, lower, max_rows=8)
    assert queue.evict(1, priority=2) == []
    assert queue.evict(1, priority=1) == [lower]
    assert queue.clear() == [high, low, normal]


def test_nobody_is_evicted_in_vain() -> None:
    """Where it would not make room enough, all stay."""
    low = Piece(2, priority=2)
    queue = filled(Piece(6, priority=0), low, max_rows=8)
    assert queue.evict(5, priority=1) == []
    assert queue.clear() != []


def test_larger_than_all_takes_the_whole_queue() -> None:
    """What an empty queue would take may empty it, if all that waits is less important."""
    low = [Piece(2, priority=2), Piece(2, priority=2)]
    queue = filled(*low, max_rows=8)
    assert queue.evict(20, priority=0) == list(reversed(low))
    assert queue.fits(20)


def test_what_is_ahead() -> None:
    """Rows, and the sums that the cost model wants; the equal ones are ahead."""
    queue: RowQueue[Piece] = RowQueue(100)
    queue.push(Piece(2, length=10), 1.0)
    queue.push(Piece(1, length=0), 2.0)
    queue.push(Piece(1, length=5), 3.0)
    assert queue.ahead(0.5) == Demand()
    assert queue.ahead(2.0) == Demand(pieces=2, rows=3, lengths=21, squares=201)
    assert queue.rows_ahead(99.0) == 4


class Sorted(RuleBasedStateMachine):
    """Whatever is done to it, the queue is the list sorted by urgency."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: RowQueue[Piece] = RowQueue(400)
        self.plain: list[tuple[float, int, Piece]] = []
        self.count = 0
        self.now_s = 0.0

    def works(self) -> list[Piece]:
        return [piece for _, _, piece in self.plain]

    @rule(
        urgencies=st.lists(st.integers(0, 30), min_size=1, max_size=40),
        rows=st.integers(1, 5),
        length=st.integers(0, 50),
        priority=st.integers(0, 2),
        life_s=st.none() | st.integers(0, 20),
    )
    def push(
        self, urgencies: list[int], rows: int, length: int, priority: int, life_s: int | None
    ) -> None:
        for urgency in urgencies:
            if not self.queue.fits(rows):
                return
            piece = Piece(rows, length=length, priority=priority)
            piece.deadline_s = None if life_s is None else self.now_s + life_s
            self.count += 1
            self.queue.push(piece, float(urgency))
            self.plain.append((float(urgency), self.count, piece))
            self.plain.sort(key=lambda entry: entry[:2])

    @precondition(lambda self: self.plain)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.works()), max_size=20, unique_by=id))
        self.queue.remove(chosen)
        self.plain = [entry for entry in self.plain if entry[2] not in chosen]

    @precondition(lambda self: self.plain)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        for piece in data.draw(st.lists(st.sampled_from(self.works()), max_size=20)):
            piece.gone = True

    @rule()
    def drop_abandoned(self) -> None:
        self.queue.drop_abandoned()
        self.plain = [entry for entry in self.plain if not entry[2].gone]

    @rule(passed_s=st.integers(0, 5))
    def drop_dead(self, passed_s: int) -> None:
        self.now_s += passed_s
        before = self.works()
        expired = self.queue.drop_dead(self.now_s)
        left = {id(piece) for piece in self.queue.window(10_000)}
        self.plain = [entry for entry in self.plain if id(entry[2]) in left]
        dropped = [piece for piece in before if id(piece) not in left]
        assert all(self.dead(piece) for piece in dropped)
        assert expired == [piece for piece in dropped if self.late(piece)]
        assert not any(self.dead(piece) for piece in self.works()[:1])

    def late(self, piece: Piece) -> bool:
        return piece.deadline_s is not None and piece.deadline_s <= self.now_s

    def dead(self, piece: Piece) -> bool:
        return piece.gone or self.late(piece)

    @rule(rows=st.integers(1, 450), priority=st.integers(0, 2))
    def evict(self, rows: int, priority: int) -> None:
        before = self.works()
        victims = self.queue.evict(rows, priority)
        assert all(piece.priority > priority for piece in victims)
        assert not victims or self.queue.fits(rows)
        self.plain = [entry for entry in self.plain if entry[2] not in victims]
        if not victims and before:
            movable = sum(piece.rows for piece in before if piece.priority > priority)
            total = sum(piece.rows for piece in before)
            enough = total - movable + rows <= 400 or movable == total
            assert total + rows <= 400 or not enough

    @rule(urgency=st.integers(-1, 31))
    def ahead(self, urgency: int) -> None:
        demand = Demand()
        for own, _, piece in self.plain:
            if own <= urgency:
                demand.add(piece.rows, piece.length)
        assert self.queue.ahead(float(urgency)) == demand

    @rule()
    def clear(self) -> None:
        if len(self.plain) > 2 * CHUNK:  # seldom, or the queue would never grow
            assert self.queue.clear() == self.works()
            self.plain = []

    @invariant()
    def same(self) -> None:
        assert self.queue.window(10_000) == self.works()
        assert len(self.queue) == len(self.plain)
        assert bool(self.queue) == bool(self.plain)
        assert self.queue.rows == sum(piece.rows for piece in self.works())
        assert self.queue.rows <= 400 or len(self.queue) == 1
        assert self.queue.first() is (self.works()[0] if self.plain else None)


Sorted.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestSorted = cast("type", Sorted.TestCase)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=300), st.integers(0, 300))
def test_a_window_is_the_front(urgencies: list[float], count: int) -> None:
    """Of any size, over any number of short lists."""
    queue: RowQueue[Piece] = RowQueue(10_000)
    pieces = [Piece() for _ in urgencies]
    for piece, urgency in zip(pieces, urgencies, strict=True):
        queue.push(piece, urgency)
    in_order = sorted(zip(urgencies, range(len(pieces)), strict=True))
    assert queue.window(count) == [pieces[number] for _, number in in_order[:count]]
