"""Rows that wait, the most urgent first.

Pure: no clock, no loop, no lock; the scheduler passes the time in, a policy says how urgent a piece of
work is (a number that is kept) and which pieces go next.

The pieces lie in a sorted list of short sorted lists, each with the sums of what is in it: coming and
going costs microseconds among thousands, and so does the question how much is more urgent than a
newcomer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic

from augury.batching.policies.base import W

# Pieces of a short list at most; a longer one is halved. Its sums are added up piece by piece at worst.
CHUNK: Final = 64
# Pieces at the front that drop_dead() looks at, at most.
DEAD_WINDOW: Final = 64


@dataclass(slots=True)
class Demand:
    """What some pieces of work ask for.

    Args:
        pieces: How many.
        rows: Their rows.
        lengths: Sum of the lengths of all rows; a row without a length counts as 1.
        squares: Sum of the squares of these lengths.
    """

    pieces: int = 0
    rows: int = 0
    lengths: int = 0
    squares: int = 0

    def add(self, rows: int, length: int, sign: int = 1) -> None:
        """One piece more, or less."""
        size = length or 1
        self.pieces += sign
        self.rows += sign * rows
        self.lengths += sign * rows * size
        self.squares += sign * rows * size * size

    def include(self, other: Demand, sign: int = 1) -> None:
        """All pieces of *other* more, or less."""
        self.pieces += sign * other.pieces
        self.rows += sign * other.rows
        self.lengths += sign * other.lengths
        self.squares += sign * other.squares


class _Chunk(Generic[W]):
    """Some neighbours of the queue."""

    __slots__ = ("demand", "urgencies", "works")

    def __init__(self) -> None:
        self.urgencies: list[float] = []
        self.works: list[W] = []
        self.demand = Demand()


class RowQueue(Generic[W]):
    """Work in the order of its urgency, of its coming where that is equal; bounded by rows."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        # Where remove() notes what it takes out, for somebody who wants to know.
        self.removed: list[W] | None = None
        self._chunks: list[_Chunk[W]] = []
        self._total = Demand()

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def __len__(self) -> int:
        """Pieces of work that wait."""
        return self._total.pieces

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return self._total.rows

    def fits(self, rows: int) -> bool:
        """Whether *rows* more may wait; an empty queue takes anything."""
        return not self._chunks or self._total.rows + rows <= self.max_rows

    def push(self, work: W, urgency: float) -> None:
        """Let *work* wait, the lowest *urgency* first; the caller has asked :meth:`fits`.

        Its ``rows`` and ``length`` must not change while it waits.
        """
        chunks = self._chunks
        if not chunks:
            chunks.append(_Chunk())
        number = len(chunks) - 1
        # Newcomers mostly are the least urgent: from behind.
        while number and urgency < chunks[number].urgencies[0]:
            number -= 1
        chunk = chunks[number]
        place = bisect_right(chunk.urgencies, urgency)
        chunk.urgencies.insert(place, urgency)
        chunk.works.insert(place, work)
        chunk.demand.add(work.rows, work.length)
        self._total.add(work.rows, work.length)
        if len(chunk.works) > CHUNK:
            self._halve(number)

    def first(self) -> W | None:
        """The most urgent."""
        return self._chunks[0].works[0] if self._chunks else None

    def window(self, count: int) -> list[W]:
        """The *count* most urgent, in order; they stay."""
        found: list[W] = []
        for chunk in self._chunks:
            found += chunk.works[: count - len(found)]
            if len(found) >= count:
                break
        return found

    def remove(self, works: Sequence[W]) -> None:
        """Take *works* out; the nearer they are to the front, the quicker.

        Raises:
            KeyError: Some do not wait here; the others are out.
        """
        wanted = {id(work) for work in works}
        taken = self.removed
        number = 0
        while wanted and number < len(self._chunks):
            chunk = self._chunks[number]
            places = []
            for place, work in enumerate(chunk.works):
                if id(work) in wanted:
                    wanted.discard(id(work))
                    places.append(place)
                    if taken is not None:
                        taken.append(work)
                    if not wanted:
                        break
            self._take_out(chunk, places)
            if chunk.works:
                number += 1
            else:
                del self._chunks[number]
        if wanted:
            raise KeyError(f"{len(wanted)} of {len(works)} pieces of work do not wait here")

    def drop_dead(self, now_s: float) -> list[W]:
        """Take out what is abandoned or expired among the :data:`DEAD_WINDOW` most urgent.

        As long as all of these are dead it goes on, so that the first one lives.

        Returns:
            What has expired; to be refused, where somebody still waits for it.
        """
        expired: list[W] = []
        while self._chunks:
            dead = []
            window = self.window(DEAD_WINDOW)
            for work in window:
                # The deadline first: whose time is up leaves at that very moment.
                if work.deadline_s is not None and work.deadline_s <= now_s:
                    dead.append(work)
                    expired.append(work)
                elif work.abandoned():
                    dead.append(work)
            if dead:
                self.remove(dead)
            if len(dead) < len(window):
                break
        return expired

    def drop_abandoned(self) -> list[W]:
        """Take out the work that nobody waits for any more; looks at all that waits."""
        dropped: list[W] = []
        for chunk in self._chunks:
            places = [place for place, work in enumerate(chunk.works) if work.abandoned()]
            dropped += [chunk.works[place] for place in places]
            self._take_out(chunk, places)
        self._chunks = [chunk for chunk in self._chunks if chunk.works]
        return dropped

    def evict(self, rows: int, priority: int) -> list[W]:
        """Make room for *rows* rows of *priority* at the cost of less important work.

        The least urgent goes first, and only what has a lower priority, that is a higher number.

        Returns:
            What was taken out, to be refused; nothing if that would not make room enough.
        """
        missing = self._total.rows + rows - self.max_rows
        if missing <= 0:
            return []
        victims: list[W] = []
        for work in self._backwards():
            if work.priority > priority:
                victims.append(work)
                missing -= work.rows
                if missing <= 0 or len(victims) == self._total.pieces:
                    self.remove(victims)
                    return victims
        return []

    def ahead(self, urgency: float) -> Demand:
        """What goes before a newcomer of that *urgency*."""
        behind = Demand()
        for chunk in reversed(self._chunks):
            if chunk.urgencies[0] > urgency:
                behind.include(chunk.demand)
                continue
            for place in range(bisect_right(chunk.urgencies, urgency), len(chunk.works)):
                work = chunk.works[place]
                behind.add(work.rows, work.length)
            break
        total = self._total
        return Demand(
            total.pieces - behind.pieces,
            total.rows - behind.rows,
            total.lengths - behind.lengths,
            total.squares - behind.squares,
        )

    def rows_ahead(self, urgency: float) -> int:
        """Rows that go before a newcomer of that *urgency*."""
        return self.ahead(urgency).rows

    def clear(self) -> list[W]:
        """Take out everything, the most urgent first."""
        rest = [work for chunk in self._chunks for work in chunk.works]
        self._chunks.clear()
        self._total = Demand()
        return rest

    def _backwards(self) -> Iterator[W]:
        for chunk in reversed(self._chunks):
            yield from reversed(chunk.works)

    def _take_out(self, chunk: _Chunk[W], places: list[int]) -> None:
        """Take the pieces at *places*, in rising order, out of *chunk*."""
        for place in reversed(places):
            work = chunk.works[place]
            chunk.demand.add(work.rows, work.length, -1)
            self._total.add(work.rows, work.length, -1)
            del chunk.works[place], chunk.urgencies[place]

    def _halve(self, number: int) -> None:
        chunk, later = self._chunks[number], _Chunk[W]()
        middle = len(chunk.works) // 2
        later.urgencies, later.works = chunk.urgencies[middle:], chunk.works[middle:]
        for work in later.works:
            later.demand.add(work.rows, work.length)
        del chunk.urgencies[middle:], chunk.works[middle:]
        chunk.demand.include(later.demand, -1)
        self._chunks.insert(number + 1, later)
