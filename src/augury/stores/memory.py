"""Keep items in this process, within bounds of bytes and entries.

The store of tests, and of single processes that may forget on restart.  Everything happens on the event loop between two awaits, so no operation can see half of
another.  It never writes to disk and never blocks.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl

from augury.core.clock import Clock
from augury.core.errors import TooLarge, Unavailable
from augury.stores.base import Change, Vector
from augury.stores.memory_tallies import MemoryTallies
from augury.stores.tally import check_changes, check_page

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

# Numbers added by commits before the loop gets its turn; about 2 ms.
_NUMBERS_PER_TURN: Final = 1000


@dataclass(frozen=True, slots=True)
class _Entry:
    value: bytes
    expires_s: float | None
    serial: int
    size_bytes: int


class MemoryStore:
    """A :class:`~augury.stores.base.KeyValueStore` and ``TallyStore`` in dicts.

    Over a bound, what has expired goes first, then what was written longest ago.  What commits have
    written, values and tallies, does not go: sums would no longer be those of the values.

    Args:
        clock: Its monotonic time decides what has expired.
        max_bytes: Bound of keys, values, tallies and the overhead of each entry.
        max_entries: Bound of the number of entries; each member of a tally is one.

    Raises (methods that write):
        TooLarge: What is written cannot fit beside what commits have written.
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
        # Written by commits, never forgotten; a key is here or there.
        self._kept: dict[str, _Entry] = {}
        self._kept_bytes = 0
        self._tallies = MemoryTallies()
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
        return self._used_bytes + self._kept_bytes + self._tallies.used_bytes

    @property
    def fault(self) -> str | None:
        return "the memory store is closed" if self._closed else None

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
        replaced = [self._kept[key] for key in items if key in self._kept]
        self._check_room(len(sizes) - len(replaced), sum(sizes) - _total_bytes(replaced))
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
        keys = iter([*self._entries, *self._kept])
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
        keys = iter([*self._entries, *self._kept])
        found = 0
        while page := list(islice(keys, _KEYS_PER_TURN)):
            found += sum(
                key.startswith(prefix) and self._live_value(key) is not None for key in page
            )
            if len(page) == _KEYS_PER_TURN:
                await asyncio.sleep(0)
        return found

    async def commit(self, changes: Sequence[Change]) -> list[bool]:
        self._check_open()
        changes = list(changes)
        check_changes(changes)
        done: list[bool] = []
        numbers = 0
        for change in changes:
            done.append(self._carry_out(change))
            numbers += sum(map(len, change.sums.values())) + sum(map(len, change.ranks.values()))
            if numbers >= _NUMBERS_PER_TURN:
                numbers = 0
                await asyncio.sleep(0)
                self._check_open()
        return done

    async def sums(self, table: str) -> dict[str, Vector]:
        self._check_open()
        return self._tallies.sums(table)

    async def sums_of(self, tables: Sequence[str], member: str) -> list[Vector]:
        self._check_open()
        return self._tallies.sums_of(tables, member)

    async def top(self, table: str, *, offset: int = 0, limit: int) -> list[tuple[str, int]]:
        self._check_open()
        check_page(limit, offset)
        return self._tallies.top(table, offset, limit)

    async def bottom(
        self, table: str, *, at_least: int | None = None, at_most: int | None = None, limit: int
    ) -> list[tuple[str, int]]:
        self._check_open()
        check_page(limit)
        return self._tallies.bottom(table, at_least, at_most, limit)

    async def ranks_of(self, table: str, members: Sequence[str]) -> list[int]:
        self._check_open()
        return self._tallies.ranks_of(table, members)

    async def rank_count(self, table: str) -> int:
        self._check_open()
        return self._tallies.rank_count(table)

    async def drop_tables(self, prefix: str) -> int:
        self._check_open()
        dropped = 0
        for table, of_sums in self._tallies.tables(prefix):
            dropped += self._tallies.drop(table, of_sums=of_sums)
            await asyncio.sleep(0)
            self._check_open()
        return dropped

    async def close(self) -> None:
        self._closed = True
        self._entries.clear()
        self._kept.clear()
        self._expiries.clear()
        self._tallies.clear()
        self._used_bytes = self._kept_bytes = 0

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the memory store is closed")

    def _carry_out(self, change: Change) -> bool:
        """Do all of *change* or nothing; whether it was done."""
        if any(self._live_value(key) != value for key, value in change.expected.items()):
            return False
        replaced = [self._kept[key] for key in change.values if key in self._kept]
        written = {
            key: _Entry(value, None, 0, _size_bytes(key, value))
            for key, value in change.values.items()
            if value is not None
        }
        entries = len(written) - len(replaced)
        size_bytes = _total_bytes(written.values()) - _total_bytes(replaced)
        self._tallies.apply(change, lambda: self._check_room(entries, size_bytes))
        for key in change.values:
            if key in self._entries or key in self._kept:
                self._remove(key)
        self._kept.update(written)
        self._kept_bytes += _total_bytes(written.values())
        self._evict()
        return True

    def _check_room(self, entries: int, size_bytes: int) -> None:
        """Refuse what does not fit beside what is never forgotten."""
        entries += len(self._kept) + self._tallies.members
        if entries > self._max_entries:
            raise TooLarge(
                f"{entries} entries, with those that the memory store may not forget, are over its "
                f"max_entries={self._max_entries}",
                limit=self._max_entries,
            )
        size_bytes += self._kept_bytes + self._tallies.used_bytes
        if size_bytes > self._max_bytes:
            raise TooLarge(
                f"{size_bytes} bytes, with those that the memory store may not forget, are over its "
                f"max_bytes={self._max_bytes}",
                limit=self._max_bytes,
            )

    def _live_value(self, key: str) -> bytes | None:
        entry = self._entries.get(key) or self._kept.get(key)
        if entry is None:
            return None
        if entry.expires_s is not None and entry.expires_s <= self._clock.monotonic():
            self._remove(key)
            return None
        return entry.value

    def _write(self, key: str, value: bytes, expires_s: float | None, size_bytes: int) -> None:
        if key in self._entries or key in self._kept:
            # Removed first, so that the key moves to the young end of the dict.
            self._remove(key)
        self._serial += 1
        self._entries[key] = _Entry(value, expires_s, self._serial, size_bytes)
        self._used_bytes += size_bytes
        if expires_s is not None:
            heapq.heappush(self._expiries, (expires_s, self._serial, key))

    def _remove(self, key: str) -> None:
        if key in self._entries:
            self._used_bytes -= self._entries.pop(key).size_bytes
        else:
            self._kept_bytes -= self._kept.pop(key).size_bytes

    def _over_bound(self) -> bool:
        entries = len(self._entries) + len(self._kept) + self._tallies.members
        return self.used_bytes > self._max_bytes or entries > self._max_entries

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


def _total_bytes(entries: Iterable[_Entry]) -> int:
    return sum(entry.size_bytes for entry in entries)


def _size_bytes(key: str, value: bytes) -> int:
    return len(key.encode()) + len(value) + ENTRY_OVERHEAD_BYTES


async def open_url(
    url: SplitResult,
    *,
    clock: Clock,
    on_corrupt: Callable[[Path, str], None],
    timeout_s: float,
) -> MemoryStore:
    """Open ``memory://``, with ``?max_bytes=`` and ``?max_entries=`` where the defaults do not fit.

    Args:
        url: The URL, split.
        clock: Passed to the store.
        on_corrupt: Not used; there is no file.
        timeout_s: Not used; nothing waits.

    Raises:
        ValueError: The URL names a host, a path or an unknown parameter, or a bound below 1.
    """
    del on_corrupt, timeout_s
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
