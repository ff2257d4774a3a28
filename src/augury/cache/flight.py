"""Answers that are under way, and who waits for them.

A row asked for a second time is a *hit* when its answer is remembered, and *shared* when it is being
found out just now, in a store or by computing: then both callers wait for the one answer (single
flight).  Errors are handed to all who wait and never remembered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Flight(Generic[T]):
    """A computation that is under way, and how many wait for it.

    Each who waits joins once and leaves once; when the last has left, an unfinished computation is
    cancelled, so that rows whose callers have all gone leave the queue.
    """

    __slots__ = ("future", "waiters")

    def __init__(self, future: asyncio.Future[T]) -> None:
        self.future = future
        self.waiters = 0

    def join(self) -> None:
        """One more waits."""
        self.waiters += 1

    def leave(self) -> None:
        """One who joined waits no longer, answered or not."""
        self.waiters -= 1
        if self.waiters == 0 and not self.future.done():
            self.future.cancel()


class Flights(Generic[T]):
    """The rows of one loaded version that are being answered."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, key: bytes) -> Flight[T] | None:
        """The flight of *key* that is under way, if one is."""
        flight = self._flights.get(key)
        # A cancelled flight is no use to a newcomer; its callback is about to remove it.
        return None if flight is None or flight.future.cancelled() else flight

    def lead(
        self, key: bytes, future: asyncio.Future[T], landed: Callable[[bytes, T], None]
    ) -> Flight[T]:
        """Announce that *future* answers *key*.

        Args:
            key: The row's key.
            future: Its answer to be.
            landed: Given the key and the result, once there is one; not told of failures.

        Returns:
            The flight that others who ask for *key* will find; nobody has joined it yet.
        """
        flight = Flight(future)
        self._flights[key] = flight

        def done(future: asyncio.Future[T]) -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]
            if not future.cancelled() and future.exception() is None:
                landed(key, future.result())

        future.add_done_callback(done)
        return flight


async def settled(futures: Sequence[asyncio.Future[T]]) -> None:
    """Return when all *futures* are done, failed ones included.

    Unlike awaiting them one by one, being cancelled here does not cancel them: others may wait too.
    """
    pending = [future for future in futures if not future.done()]
    if not pending:
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
