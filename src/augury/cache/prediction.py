"""Rows that were answered: the first level of the prediction cache, in this process.

Each loaded version has a :class:`~augury.cache.shelf.Shelf` with a policy and bounds of its own, inside
the bounds of the whole.  **The rule of shares**: a version may use what others leave free; when the
whole is full, the one that holds the most gives first.  With *n* versions nobody who holds an *n*-th
or less loses a row to another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from augury.cache.policies.base import Policy
from augury.cache.policies.lru import LeastRecentlyUsed
from augury.cache.shelf import Shelf, Unwatched, Watch
from augury.core.clock import Clock

# Key, places in the shelf's dict and in its policy, entry, the value's own objects but its arrays; by
# tracemalloc, the most of the three policies.
ENTRY_OVERHEAD_BYTES: Final = 650

# Beside its rows, and on top of them, a shelf holds questions up to this part of its bound.
QUESTIONS_PART: Final = 16

T = TypeVar("T")


class PredictionCache(Generic[T]):
    """All shelves, and the bounds that they share.

    Args:
        max_bytes: Bound on all remembered rows together, overhead included.
        clock: Monotonic time for expiry.
        nbytes: Bytes that a value holds.
        max_entries: Bound on their number.
    """

    def __init__(
        self,
        max_bytes: int,
        clock: Clock,
        nbytes: Callable[[T], int],
        *,
        max_entries: int = 1 << 62,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self.bytes_held = 0
        self._entries = 0
        self._clock = clock
        self._nbytes = nbytes
        self._shelves: list[Shelf[T]] = []

    def __len__(self) -> int:
        return self._entries

    def open(
        self,
        policy: Policy | None = None,
        *,
        max_entries: int | None = None,
        max_bytes: int | None = None,
        watch: Watch | None = None,
    ) -> Shelf[T]:
        """A shelf for one version.

        Args:
            policy: Which of its rows goes first; ``None``: the least recently used.
            max_entries: Its rows at most; ``None``, or more than the whole: as many as the whole.
            max_bytes: Their bytes at most; as above.
            watch: Told what it holds.
        """
        shelf: Shelf[T] = Shelf(
            self,
            policy or LeastRecentlyUsed(),
            self._clock,
            lambda value: self._nbytes(value) + ENTRY_OVERHEAD_BYTES,
            max_entries=_least(max_entries, self.max_entries),
            max_bytes=_least(max_bytes, self.max_bytes),
            question_bytes=_least(max_bytes, self.max_bytes) // QUESTIONS_PART,
            watch=watch or Unwatched(),
        )
        self._shelves.append(shelf)
        return shelf

    def closed(self, shelf: Shelf[T]) -> None:
        """For a shelf: it is no more."""
        self._shelves.remove(shelf)

    def make_room(self, shelf: Shelf[T], nbytes: int) -> bool:
        """For *shelf*: evict until one more row of *nbytes* fits; ``False``: it does not.

        The row counts as its shelf's own already: where that makes it the largest, it gives itself,
        and where it holds nothing else, the row is not taken.
        """

        def bytes_then(one: Shelf[T]) -> int:
            return one.bytes_held + (nbytes if one is shelf else 0)

        def entries_then(one: Shelf[T]) -> int:
            return len(one) + (1 if one is shelf else 0)

        while self.bytes_held + nbytes > self.max_bytes:
            largest = max(self._shelves, key=bytes_then)
            if not len(largest):
                return False
            largest.evict("bytes")
        while self._entries >= self.max_entries:
            largest = max(self._shelves, key=entries_then)
            if not len(largest):
                return False
            largest.evict("entries")
        return True

    def taken(self, entries: int, nbytes: int) -> None:
        """For a shelf: it holds so much more."""
        self._entries += entries
        self.bytes_held += nbytes
        while self.bytes_held > self.max_bytes:
            max(self._shelves, key=lambda shelf: shelf.bytes_held).evict("bytes")


def _least(own: int | None, whole: int) -> int:
    return whole if own is None else min(own, whole)
