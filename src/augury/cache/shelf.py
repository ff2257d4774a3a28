"""The remembered rows of one loaded version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from augury.cache.policies.base import Policy
from augury.cache.questions import Questions
from augury.core.clock import Clock

T = TypeVar("T")

# Why a row went: a bound was reached, or its time was up.
Reason = Literal["entries", "bytes", "expired"]


class Room(Protocol):
    """What all shelves share: the bounds of the whole cache."""

    def make_room(self, shelf: Shelf[Any], nbytes: int) -> bool:
        """Evict until *shelf* can take one more row of *nbytes*; ``False``: it cannot."""

    def taken(self, entries: int, nbytes: int) -> None:
        """So many more entries and bytes are held; may evict from any shelf."""

    def closed(self, shelf: Shelf[Any]) -> None:
        """*shelf*, which is empty now, holds nothing any more."""


class Watch(Protocol):
    """Who is told what a shelf holds."""

    def cache_held(self, entries: int, nbytes: int) -> None:
        """The shelf holds so much now."""

    def cache_evicted(self, reason: Reason) -> None:
        """A row went."""


class Unwatched:
    """Nobody is told."""

    def cache_held(self, entries: int, nbytes: int) -> None:
        pass

    def cache_evicted(self, reason: Reason) -> None:
        pass


@dataclass(slots=True)
class _Entry(Generic[T]):
    value: T
    expires_s: float
    nbytes: int


class Shelf(Generic[T]):
    """Rows by key, within bounds of their own.

    Args:
        room: Told of every change, so that the bounds of all shelves together hold.
        policy: Which row goes first.
        clock: Monotonic time for expiry.
        nbytes: Bytes that a key and its value take, overhead included.
        max_entries: Rows at most.
        max_bytes: Bytes of all rows together at most.
        question_bytes: Bytes of the questions that are kept beside them, at most.
        watch: Told what is held.
    """

    def __init__(
        self,
        room: Room,
        policy: Policy,
        clock: Clock,
        nbytes: Callable[[T], int],
        *,
        max_entries: int,
        max_bytes: int,
        question_bytes: int,
        watch: Watch,
    ) -> None:
        self.bytes_held = 0
        self.questions = Questions(question_bytes)
        self._room = room
        self._policy = policy
        self._use = policy.use
        self._now = clock.monotonic
        self._nbytes = nbytes
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._watch = watch
        self._entries: dict[bytes, _Entry[T]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> T | None:
        """The remembered row, or ``None``."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_s <= self._now():
            self._drop(key)
            self._watch.cache_evicted("expired")
            self._tell()
            return None
        self._use(key)
        return entry.value

    def get_all(self, keys: Sequence[bytes]) -> list[T] | None:
        """The remembered rows, or ``None`` when not all are; then none counts as used."""
        for key in keys:
            if key not in self._entries:
                return None
        rows = []
        for key in keys:
            row = self.get(key)
            if row is None:
                return None
            rows.append(row)
        return rows

    def put(self, key: bytes, value: T, ttl_s: float) -> None:
        """Remember *value* for *ttl_s* seconds; one that is larger than a whole bound is not kept."""
        if self._closed or not self._max_bytes:
            return
        nbytes = self._nbytes(value)
        before = self._entries.get(key)
        if nbytes > self._max_bytes or not self._max_entries:
            if before is not None:
                self._drop(key)
                self._tell()
            return
        if before is None:
            # Before it is added: no policy should have to choose between it and what it displaces.
            while self.bytes_held + nbytes > self._max_bytes:
                self.evict("bytes")
            while len(self._entries) >= self._max_entries:
                self.evict("entries")
            if not self._room.make_room(self, nbytes):
                return
        entry = _Entry(value, self._now() + ttl_s, nbytes)
        self._entries[key] = entry
        self._policy.add(key, entry.expires_s)
        more = nbytes - (0 if before is None else before.nbytes)
        self.bytes_held += more
        self._room.taken(1 if before is None else 0, more)
        self._fit()

    def grow(self, key: bytes, nbytes: int) -> None:
        """The value under *key*, if it is still there, takes *nbytes* more than when it was put."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.nbytes += nbytes
            self.bytes_held += nbytes
            self._room.taken(0, nbytes)
            self._fit()

    def evict(self, reason: Reason) -> None:
        """Give up the row that goes first; there is at least one."""
        key = self._policy.evict()
        nbytes = self._entries.pop(key).nbytes
        self.bytes_held -= nbytes
        self._room.taken(-1, -nbytes)
        self._watch.cache_evicted(reason)
        self._tell()

    def close(self) -> None:
        """Forget everything, and remember nothing more: the version is unloaded."""
        self._closed = True
        for key in list(self._entries):
            self._drop(key)
        self.questions.clear()
        self._tell()
        self._room.closed(self)

    def _fit(self) -> None:
        """Keep the shelf's own bound, when what is there has grown."""
        while self.bytes_held > self._max_bytes:
            self.evict("bytes")
        self._tell()

    def _drop(self, key: bytes) -> None:
        self._policy.discard(key)
        nbytes = self._entries.pop(key).nbytes
        self.bytes_held -= nbytes
        self._room.taken(-1, -nbytes)

    def _tell(self) -> None:
        self._watch.cache_held(len(self._entries), self.bytes_held)
