"""Answers that are under way, and who waits for them.

A row asked for a second time is a *hit* when its answer is remembered, and *shared* when it is being
found out just now, in a store or by computing: then both callers wait for the one answer (single
flight).  Errors are handed to all who wait and never remembered.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Flight(Generic[T]):
    """A computation that is under way, and how many wait for it.

    Each who waits joins once and leaves once; when the last has left, an unfinished computation is
    cancelled, so that rows whose callers have all gone leave the queue.  The computation has as much
    time as the most patient of them.

    Args:
        future: The answer to be.
        deadline_s: Until when the one who begins it waits; ``None``: for ever.
        priority: Of the one who begins it; the lowest number goes first.
    """

    __slots__ = ("_put_off", "begun_for_s", "deadline_s", "future", "priority", "waiters")

    def __init__(
        self, future: asyncio.Future[T], deadline_s: float | None = None, priority: int = 0
    ) -> None:
        self.future = future
        self.waiters = 0
        self.priority = priority
        self.deadline_s = deadline_s
        self.begun_for_s = deadline_s
        self._put_off: Callable[[float | None], None] | None = None

    def join(self, deadline_s: float | None = None) -> None:
        """One more waits, until *deadline_s* at the most."""
        self.waiters += 1
        if later(deadline_s, self.deadline_s):
            self.deadline_s = deadline_s
            if self._put_off is not None:
                self._put_off(deadline_s)

    def carried_by(self, put_off: Callable[[float | None], None]) -> None:
        """It waits in a queue now, where *put_off* tells that somebody more patient has joined."""
        self._put_off = put_off

    def leave(self) -> None:
        """One who joined waits no longer, answered or not."""
        self.waiters -= 1
        if self.waiters == 0 and not self.future.done():
            self.future.cancel()


def later(one_s: float | None, other_s: float | None) -> bool:
    """Whether the deadline *one_s* is after *other_s*; ``None`` is never.

    >>> later(None, 5.0), later(5.0, None), later(None, None), later(6.0, 5.0)
    (True, False, False, True)
    """
    return (math.inf if one_s is None else one_s) > (math.inf if other_s is None else other_s)


class Flights(Generic[T]):
    """The rows of one loaded version that are being answered."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: bytes) -> bool:
        return key in self._flights

    def get(self, key: bytes, priority: int = 0) -> Flight[T] | None:
        """The flight of *key* that is under way, if one is that goes as early as *priority* wants."""
        flight = self._flights.get(key)
        # A cancelled flight is no use to a newcomer; its callback is about to remove it.
        if flight is None or flight.priority > priority or flight.future.cancelled():
            return None
        return flight

    def lead(
        self,
        key: bytes,
        future: asyncio.Future[T],
        landed: Callable[[bytes, T], None],
        *,
        deadline_s: float | None = None,
        priority: int = 0,
    ) -> Flight[T]:
        """Announce that *future* answers *key*.

        Args:
            key: The row's key.
            future: Its answer to be.
            landed: Given the key and the result, once there is one; not told of failures.
            deadline_s: Until when the one who begins it waits.
            priority: Theirs.

        Returns:
            The flight that others who ask for *key* will find; nobody has joined it yet.
        """
        flight = Flight(future, deadline_s, priority)
        self._flights[key] = flight

        def done(future: asyncio.Future[T]) -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]
            if not future.cancelled() and future.exception() is None:
                landed(key, future.result())

        future.add_done_callback(done)
        return flight


async def settled(futures: Sequence[asyncio.Future[T]]) -> None:
    """Return when all *futures* are done, failed ones included, and so are their callbacks.

    Unlike awaiting them one by one, being cancelled here does not cancel them: others may wait too.
    """
    pending = [future for future in futures if not future.done()]
    if not pending:
        await asyncio.sleep(0)
        return
    waiter = pending[0].get_loop().create_future()
    missing = len(pending)

    def one_done(_: asyncio.Future[T]) -> None:
        nonlocal missing
        missing -= 1
        if missing == 0 and not waiter.done():
            waiter.set_result(None)

    for future in pending:
        future.add_done_callback(one_done)
    await waiter
