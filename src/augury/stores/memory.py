"""Keep items in this process, within bounds of bytes and entries.

The store of tests, of single processes that may forget on restart, and of whoever sets nothing
else.  Everything happens on the event loop between two awaits, so no operation can see half of
another.  It never writes to disk and never blocks.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl

from augury.core.clock import Clock
from augury.core.errors import TooLarge, Unavailable

DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024
DEFAULT_MAX_ENTRIES: Final = 1_000_000

# What CPython adds to the bytes of a key and its value: two object headers, the entry, its place
# in the dict and in the heap.  Measured with tracemalloc on 3.12, rounded up.
ENTRY_OVERHEAD_BYTES: Final = 300

# Expired entries dropped by one write: enough to outrun the writes, few enough to take well under
# a millisecond.
_DROPS_PER_WRITE: Final = 100

# Keys looked at before the loop gets its turn; about 2 ms.
_KEYS_PER_TURN: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Entry:
    value: bytes
    expires_s: float | None
    serial: int
    size_bytes: int


class MemoryStore:
    """A :class:`~augury.stores.base.KeyValueStore` in a dict.

    Over a bound, what has expired goes first, then what was written longest ago.

    Args:
        clock: Its monotonic time decides what has expired.
        max_bytes: Bound of keys, values and :data:`ENTRY_OVERHEAD_BYTES` for each entry.
        max_entries: Bound of the number of entries.

    Raises (methods that write):
        TooLarge: What is written cannot fit even into the empty store.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        max_bytes: int = DEFAULT_MAX_BYTES,
        max_entries: int = DEFAULT_MAX_ENTRIES,
    ) -> None:
        if max_bytes < 1 or max_entries < 1:
            raise ValueError(
                f"max_bytes ({max_bytes}) and max_entries ({max_entries}) must be 1 or more"
            )
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        # In the order of writing, the oldest first.
        self._entries: dict[str, _Entry] = {}
        # (expires_s, serial, key); an entry overwritten since leaves its old line behind.
        self._expiries: list[tuple[float, int, str]] = []
        self._used_bytes = 0
        self._serial = 0
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def used_bytes(self) -> int:
        """Bytes in use as *max_bytes* counts them, entries that expired unnoticed included."""
        return self._used_bytes

    async def get(self, key: str) -> bytes | None:
        self._check_open()
        return self._live_value(key)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self._check_open()
        return [self._live_value(key) for key in keys]

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        await self.set_many({key: value}, ttl_s=ttl_s)

    async def set_many(self, items: Mapping[str, bytes], *, ttl_s: float | None = None) -> None:
        self._check_open()
        sizes = [_size_bytes(key, value) for key, value in items.items()]
        # Checked before anything is written, so that a refused call changes nothing.
        if len(sizes) > self._max_entries:
            raise TooLarge(
                f"{len(sizes)} entries at once do not fit into the memory store's "
                f"max_entries={self._max_entries}",
                limit=self._max_entries,
            )
        if sum(sizes) > self._max_bytes:
            raise TooLarge(
                f"{sum(sizes)} bytes do not fit into the memory store's "
                f"max_bytes={self._max_bytes}",
                limit=self._max_bytes,
            )
        expires_s = None if ttl_s is None else self._clock.monotonic() + ttl_s
        for (key, value), size_bytes in zip(items.items(), sizes, strict=True):
            self._write(key, value, expires_s, size_bytes)
        self._drop_expired(_DROPS_PER_WRITE)
        self._evict()

    async def put_if_absent(self, key: str, value: bytes, *, ttl_s: float | None = None) -> bool:
        self._check_open()
        if self._live_value(key) is not None:
            return False
        await self.set(key, value, ttl_s=ttl_s)  # does not yield to other tasks
        return True

    async def delete(self, *keys: str) -> int:
        self._check_open()
        there = 0
        for key in keys:
            if self._live_value(key) is not None:
                self._remove(key)
                there += 1
        return there

    async def scan(self, prefix: str, *, page_size: int = 500) -> AsyncIterator[tuple[str, bytes]]:
        self._check_open()
        if page_size < 1:
            raise ValueError(f"page_size is {page_size}, it must be 1 or more")
        # References only: a million keys take 5 ms.
        keys = iter(list(self._entries))
        while page := list(islice(keys, page_size)):
            for key in page:
                if key.startswith(prefix):
                    self._check_open()
                    value = self._live_value(key)
                    if value is not None:
                        yield key, value
            await asyncio.sleep(0)

    async def count(self, prefix: str = "") -> int:
        self._check_open()
        keys = iter(list(self._entries))
        found = 0
        while page := list(islice(keys, _KEYS_PER_TURN)):
            found += sum(
                key.startswith(prefix) and self._live_value(key) is not None for key in page
            )
            if len(page) == _KEYS_PER_TURN:
                await asyncio.sleep(0)
        return found

    async def close(self) -> None:
        self._closed = True
        self._entries.clear()
        self._expiries.clear()
        self._used_bytes = 0

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the memory store is closed")

    def _live_value(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_s is not None and entry.expires_s <= self._clock.monotonic():
            self._remove(key)
            return None
        return entry.value

    def _write(self, key: str, value: bytes, expires_s: float | None, size_bytes: int) -> None:
        if key in self._entries:
            # Removed first, so that the key moves to the young end of the dict.
            self._remove(key)
        self._serial += 1
        self._entries[key] = _Entry(value, expires_s, self._serial, size_bytes)
        self._used_bytes += size_bytes
        if expires_s is not None:
            heapq.heappush(self._expiries, (expires_s, self._serial, key))

    def _remove(self, key: str) -> None:
        self._used_bytes -= self._entries.pop(key).size_bytes

    def _over_bound(self) -> bool:
        return self._used_bytes > self._max_bytes or len(self._entries) > self._max_entries

    def _evict(self) -> None:
        while self._over_bound():
            if not self._drop_expired(1):
                self._remove(next(iter(self._entries)))

    def _drop_expired(self, at_most: int) -> int:
        """Drop up to *at_most* expired entries; returns how many went."""
        now_s = self._clock.monotonic()
        dropped = 0
        while self._expiries and dropped < at_most and self._expiries[0][0] <= now_s:
            _, serial, key = heapq.heappop(self._expiries)
            entry = self._entries.get(key)
            if entry is not None and entry.serial == serial:
                self._remove(key)
                dropped += 1
        # Lines of overwritten entries would pile up until their time; rebuilding at twice the
        # size costs each write a constant.
        if len(self._expiries) > 2 * len(self._entries) + 1000:
            self._expiries = [
                (entry.expires_s, entry.serial, key)
                for key, entry in self._entries.items()
                if entry.expires_s is not None
            ]
            heapq.heapify(self._expiries)
        return dropped


def _size_bytes(key: str, value: bytes) -> int:
    return len(key.encode()) + len(value) + ENTRY_OVERHEAD_BYTES


async def open_url(
    url: SplitResult, *, clock: Clock, on_corrupt: Callable[[Path, str], None]
) -> MemoryStore:
    """Open ``memory://``, with ``?max_bytes=`` and ``?max_entries=`` where the defaults do not fit.

    Args:
        url: The URL, split.
        clock: Passed to the store.
        on_corrupt: Not used; there is no file.

    Raises:
        ValueError: The URL names a host, a path or an unknown parameter, or a bound below 1.
    """
    del on_corrupt
    if url.netloc or url.path or url.fragment:
        raise ValueError("nothing but parameters may follow memory://")
    bounds = {"max_bytes": DEFAULT_MAX_BYTES, "max_entries": DEFAULT_MAX_ENTRIES}
    for name, value in parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)):
        if name not in bounds:
            raise ValueError(f"unknown parameter {name!r}; there are: {', '.join(bounds)}")
        if not (value.isascii() and value.isdigit()) or int(value) < 1:
            raise ValueError(f"{name} is {value!r}, it must be a whole number of 1 or more")
        bounds[name] = int(value)
    return MemoryStore(clock=clock, **bounds)
