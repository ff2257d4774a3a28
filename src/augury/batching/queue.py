"""Rows that wait, and which of them go next.

Pure: no clock, no loop, no lock; the scheduler passes the time in and carries decisions out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What the queue must know of a piece of work."""

    @property
    def rows(self) -> int:
        """Rows in it; they stay together."""

    @property
    def deadline_s(self) -> float | None:
        """Monotonic time after which nobody wants the answer."""

    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Taken(Generic[W]):
    """What :meth:`RowQueue.take` took out.

    Args:
        batch: To be computed together, in the order of arrival; empty when nothing is left.
        expired: Their deadline has passed; to be refused, not computed.
    """

    batch: list[W]
    expired: list[W]


class RowQueue(Generic[W]):
    """First in, first out, bounded by rows."""

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

        Abandoned work is dropped on the way.  Work larger than *max_rows* goes alone.
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
        return Taken(batch, expired)

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
