"""Rows that wait, and which of them go next.

Pure: no clock, no loop, no lock; the scheduler passes the time in and carries decisions out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

# Part of a batch that may be padding.  Measured on tweets: more costs more than company gains.
MAX_PADDING: Final = 0.1
# Companions are looked for among so many that wait: ranking them takes 15 µs.
COMPANION_WINDOW: Final = 64


class Waiting(Protocol):
    """What the queue must know of a piece of work."""

    @property
    def rows(self) -> int:
        """Rows in it; they stay together."""

    @property
    def deadline_s(self) -> float | None:
        """Monotonic time after which nobody wants the answer."""

    @property
    def length(self) -> int:
        """Size along the axis that is padded in a batch; 0 when none is."""

    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Taken(Generic[W]):
    """What :meth:`RowQueue.take` took out.

    Args:
        batch: To be computed together, the oldest first; empty when nothing is left.
        expired: Their deadline has passed; to be refused, not computed.
    """

    batch: list[W]
    expired: list[W]


class RowQueue(Generic[W]):
    """The oldest goes next, in good company; bounded by rows."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self.rows = 0
        self._waiting: deque[W] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def fits(self, rows: int) -> bool:
        """Whether *rows* more may wait; an empty queue takes anything."""
        return not self._waiting or self.rows + rows <= self.max_rows

    def push(self, work: W) -> None:
        """Let *work* wait; the caller has asked :meth:`fits`."""
        self._waiting.append(work)
        self.rows += work.rows

    def take(self, max_rows: int, now_s: float) -> Taken[W]:
        """Take the next batch of at most *max_rows* rows.

        The oldest is always in it, so that nothing starves.  Work that is padded gets companions of
        nearly its own length, other work those that came next.  Abandoned work is dropped on the
        way.  Work larger than *max_rows* goes alone.
        """
        batch: list[W] = []
        expired: list[W] = []
        rows = 0
        while self._waiting:
            work = self._waiting[0]
            live = not work.abandoned()
            late = live and work.deadline_s is not None and work.deadline_s <= now_s
            if live and not late:
                if batch and rows + work.rows > max_rows:
                    break
                batch.append(work)
                rows += work.rows
            elif late:
                expired.append(work)
            self._waiting.popleft()
            self.rows -= work.rows
            if rows >= max_rows:
                break
            if batch and work.length:
                batch += self._companions(work, max_rows, now_s)
                break
        return Taken(batch, expired)

    def _companions(self, oldest: W, max_rows: int, now_s: float) -> list[W]:
        """Take out what goes with *oldest*: the nearest in length, while padding stays small."""
        window = list(islice(self._waiting, COMPANION_WINDOW))
        rows, longest, filled = oldest.rows, oldest.length, oldest.rows * oldest.length
        chosen: dict[int, W] = {}
        for work in sorted(window, key=lambda work: abs(work.length - oldest.length)):
            if work.abandoned() or (work.deadline_s is not None and work.deadline_s <= now_s):
                continue  # dropped when it is the oldest
            total = rows + work.rows
            longer = max(longest, work.length)
            fuller = filled + work.rows * work.length
            if total > max_rows or fuller < (1 - MAX_PADDING) * longer * total:
                break
            rows, longest, filled = total, longer, fuller
            chosen[id(work)] = work
        if chosen:
            for _ in window:
                self._waiting.popleft()
            self._waiting.extendleft(work for work in reversed(window) if id(work) not in chosen)
            self.rows -= rows - oldest.rows
        return list(chosen.values())

    def drop_abandoned(self) -> None:
        """Forget the work that nobody waits for any more; looks at all that waits."""
        self._waiting = deque(work for work in self._waiting if not work.abandoned())
        self.rows = sum(work.rows for work in self._waiting)

    def clear(self) -> list[W]:
        """Take out everything."""
        rest = list(self._waiting)
        self._waiting.clear()
        self.rows = 0
        return rest
