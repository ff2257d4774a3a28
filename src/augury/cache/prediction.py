"""Rows that were answered, and rows that are being answered.

A row asked for a second time is a *hit* when its answer is remembered, and *shared* when it is
being computed just now: then both callers wait for the one computation (single flight).  Errors are
handed to all who wait and never remembered.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from augury.core.clock import Clock

# Key, node of the ordered dict, entry, the value's own objects but its arrays; by tracemalloc.
ENTRY_OVERHEAD_BYTES: Final = 530

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


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    value: T
    expires_s: float
    nbytes: int


class PredictionCache(Generic[T]):
    """Least recently used rows go first when the bytes are over the bound.

    Args:
        max_bytes: Bound on all remembered rows together, overhead included.
        clock: Monotonic time for expiry.
        nbytes: Bytes that a value holds.
        on_change: Called with the bytes held, whenever they change.
    """

    def __init__(
        self,
        max_bytes: int,
        clock: Clock,
        nbytes: Callable[[T], int],
        on_change: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.max_bytes = max_bytes
        self.bytes_held = 0
        self._clock = clock
        self._nbytes = nbytes
        self._on_change = on_change
        self._entries: OrderedDict[bytes, _Entry[T]] = OrderedDict()
        self._flights: dict[bytes, Flight[T]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> T | None:
        """The remembered row, or ``None``."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_s <= self._clock.monotonic():
            self._drop(key)
            self._on_change(self.bytes_held)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: bytes, value: T, ttl_s: float) -> None:
        """Remember *value* for *ttl_s* seconds; a value larger than the whole bound is not kept."""
        nbytes = self._nbytes(value) + ENTRY_OVERHEAD_BYTES
        self._drop(key)
        if nbytes <= self.max_bytes:
            self._entries[key] = _Entry(value, self._clock.monotonic() + ttl_s, nbytes)
            self.bytes_held += nbytes
        while self.bytes_held > self.max_bytes:
            self._drop(next(iter(self._entries)))
        self._on_change(self.bytes_held)

    def flight(self, key: bytes) -> Flight[T] | None:
        """The computation of *key* that is under way, if one is."""
        flight = self._flights.get(key)
        # A cancelled flight is no use to a newcomer; its callback is about to remove it.
        return None if flight is None or flight.future.cancelled() else flight

    def lead(
        self,
        key: bytes,
        future: asyncio.Future[T],
        keep: Callable[[T], tuple[T, float] | None],
    ) -> Flight[T]:
        """Announce that *future* computes *key*.

        Args:
            key: The row's key.
            future: Its computation.
            keep: From the result, the value to remember and for how many seconds; ``None``: not.

        Returns:
            The flight that others who ask for *key* will find; nobody has joined it yet.
        """
        flight = Flight(future)
        self._flights[key] = flight

        def landed(done: asyncio.Future[T]) -> None:
            if self._flights.get(key) is flight:
                del self._flights[key]
            if done.cancelled() or done.exception() is not None:
                return
            kept = keep(done.result())
            if kept is not None:
                self.put(key, *kept)

        future.add_done_callback(landed)
        return flight

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes_held -= entry.nbytes
