"""The store itself: keys and values in Redis; tallies are its neighbour's.

Every key of a store starts with its prefix, so that stores and other applications may share one
database.  Expiry is the server's, and so is its time.  It is bounded by the server's ``maxmemory``.
With the policy ``volatile-lru`` a full server makes room by forgetting what has a time to live, the
longest unused first: above all answers of models, which can be computed again.  What commits have
written has none and stays.  With ``noeviction`` a full server refuses every write; with a policy of
``allkeys-`` it may forget what commits have written.
Redis Cluster is not supported: a commit changes keys of any slot.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Final, Self, TypeVar

from augury.core.errors import TooLarge
from augury.stores.base import Change, Vector
from augury.stores.redis.connections import Command
from augury.stores.redis.link import Link
from augury.stores.redis.loader import Loader
from augury.stores.redis.tallies import RedisTallies
from augury.stores.tally import check_changes, check_page

T = TypeVar("T")

# One round trip of an operation on many keys; 10,000 keys take ten of them.
PAGE_KEYS: Final = 1000
PAGE_BYTES: Final = 4 * 1024 * 1024
# The server looks at so many keys for one step of a scan, in about 0.3 ms, whomever they belong to.
SCAN_KEYS: Final = 1000
# Values asked for at a time by a scan, as nobody knows how large they are.
_SCAN_VALUES: Final = 100
# A scan remembers so many keys (8 bytes each, some 60 with Python's) to tell each of them once.
SCAN_REMEMBERED: Final = 500_000
# Redis's own limit (proto-max-bulk-len); it hangs up on more.
MAX_VALUE_BYTES: Final = 512 * 1024 * 1024
# Milliseconds; the server refuses expiries past the end of its calendar.
_MAX_TTL_MS: Final = 10**15


class RedisStore:
    """A :class:`~augury.stores.base.KeyValueStore` and ``TallyStore`` in Redis.

    An operation is one round trip, and bounded as a whole by the link's timeout; those on many keys
    make one for each thousand.  So many reads share one timeout; each page of a write has its own, as
    one that was given up half-way would have to begin anew.  Reads of single keys that come together
    go together.

    Args:
        link: To the server, opened; the store closes it.
        prefix: Of all its keys.
    """

    def __init__(self, link: Link, *, prefix: str) -> None:
        self._link = link
        self._prefix = prefix.encode() + b"k:"
        self._tallies = RedisTallies(link, prefix.encode())
        self._loader = Loader(self._load, timeout_s=link.timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def fault(self) -> str | None:
        return self._link.fault

    async def get(self, key: str) -> bytes | None:
        self._link.check()
        return await self._loader.load(self._prefix + key.encode())

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self._link.check()
        commands: list[Command] = [("MGET", *page) for page in _pages(self._names(keys))]
        pages: list[list[bytes | None]] = await self._link.ask_in_turn(commands)
        return [value for page in pages for value in page]

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        await self._link.ask(self._set(key, value, ttl_s))
        self._link.write_done()

    async def set_many(self, items: Mapping[str, bytes], *, ttl_s: float | None = None) -> None:
        self._link.check()
        # All made before any is sent: a key that is no text changes nothing.
        commands = [self._set(key, value, ttl_s) for key, value in items.items()]
        for page in _pages(commands, [len(value) for value in items.values()]):
            if len(page) == 1:
                await self._link.ask(page[0])
            else:
                await self._link.ask(("MULTI",), *page, ("EXEC",))
            self._link.write_done()

    async def put_if_absent(self, key: str, value: bytes, *, ttl_s: float | None = None) -> bool:
        (answer,) = await self._link.ask((*self._set(key, value, ttl_s), "NX"))
        self._link.write_done()
        return answer is not None

    async def delete(self, *keys: str) -> int:
        self._link.check()
        there = 0
        for page in _pages(self._names(keys)):
            (count,) = await self._link.ask(("UNLINK", *page))
            self._link.write_done()
            there += count
        return there

    async def scan(self, prefix: str, *, page_size: int = 500) -> AsyncIterator[tuple[str, bytes]]:
        if page_size < 1:
            raise ValueError(f"page_size is {page_size}, it must be 1 or more")
        rows = min(page_size, _SCAN_VALUES)
        async for keys in self._scan_keys(self._prefix, prefix):
            for page in _pages(keys, rows=rows):
                (values,) = await self._link.ask(("MGET", *page))
                for key, value in zip(page, values, strict=True):
                    if value is not None:
                        self._link.check()
                        yield key[len(self._prefix) :].decode(), value

    async def count(self, prefix: str = "") -> int:
        return sum([len(keys) async for keys in self._scan_keys(self._prefix, prefix)])

    async def commit(self, changes: Sequence[Change]) -> list[bool]:
        changes = list(changes)
        self._link.check()
        check_changes(changes)
        for change in changes:
            for key, value in change.values.items():
                _check_size(key, value or b"")
        return await self._tallies.commit(changes)

    async def sums(self, table: str) -> dict[str, Vector]:
        return await self._tallies.sums(table)

    async def sums_of(self, tables: Sequence[str], member: str) -> list[Vector]:
        self._link.check()
        return await self._tallies.sums_of(tables, member)

    async def top(self, table: str, *, offset: int = 0, limit: int) -> list[tuple[str, int]]:
        check_page(limit, offset)
        self._link.check()
        return await self._tallies.top(table, offset, limit)

    async def bottom(
        self, table: str, *, at_least: int | None = None, at_most: int | None = None, limit: int
    ) -> list[tuple[str, int]]:
        check_page(limit)
        return await self._tallies.bottom(table, at_least, at_most, limit)

    async def ranks_of(self, table: str, members: Sequence[str]) -> list[int]:
        self._link.check()
        return await self._tallies.ranks_of(table, members)

    async def rank_count(self, table: str) -> int:
        return await self._tallies.rank_count(table)

    async def drop_tables(self, prefix: str) -> int:
        dropped = 0
        for place in self._tallies.places:
            async for keys in self._scan_keys(place, prefix):
                dropped += await self._tallies.drop(keys)
        return dropped

    async def close(self) -> None:
        await self._link.close()
        await self._loader.close()

    async def _load(self, keys: Sequence[bytes], deadline_s: float) -> list[bytes | None]:
        (values,) = await self._link.ask(("MGET", *keys), deadline_s=deadline_s)
        found: list[bytes | None] = values
        return found

    def _names(self, keys: Sequence[str]) -> list[bytes]:
        return [self._prefix + key.encode() for key in keys]

    def _set(self, key: str, value: bytes, ttl_s: float | None) -> Command:
        _check_size(key, value)
        command = ("SET", self._prefix + key.encode(), value)
        if ttl_s is None:
            return command
        return (*command, "PX", int(max(1, min(ttl_s * 1000, _MAX_TTL_MS))))

    async def _scan_keys(self, place: bytes, prefix: str) -> AsyncIterator[list[bytes]]:
        """Keys that start with *place* and *prefix*, a page at a time.

        A server that makes its table of keys smaller meanwhile tells some of them twice.  Of the
        first :data:`SCAN_REMEMBERED` that is noticed.
        """
        start = place + prefix.encode()
        pattern = _WILDCARD.sub(rb"\\\g<0>", start) + b"*"
        seen: set[int] = set()
        cursor = b"0"
        while True:
            self._link.check()
            ((cursor, keys),) = await self._link.ask(
                ("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_KEYS)
            )
            page = []
            for key in keys:
                # 64 bits, keyed anew in each process: that two of a million are alike happens to
                # one scan in forty million.
                digest = hash(key)
                if digest not in seen and _is_text(key):
                    page.append(key)
                    if len(seen) < SCAN_REMEMBERED:
                        seen.add(digest)
            yield page
            if cursor == b"0":
                return


# What means something in a pattern of Redis; a backslash makes it mean itself.
_WILDCARD: Final = re.compile(rb"[*?\[\]\\^-]")


def _is_text(key: bytes) -> bool:
    """Whether *key* can be ours; others may write under our prefix."""
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_size(key: str, value: bytes) -> None:
    if len(value) > MAX_VALUE_BYTES:
        raise TooLarge(
            f"the value under {key[:80]!r} has {len(value)} bytes, Redis takes {MAX_VALUE_BYTES}",
            limit=MAX_VALUE_BYTES,
        )


def _pages(
    items: Sequence[T], sizes: Sequence[int] | None = None, *, rows: int = PAGE_KEYS
) -> Iterator[Sequence[T]]:
    """*items* in pages of *rows* at most and, where *sizes* are given, of some megabytes."""
    if sizes is None:
        for first in range(0, len(items), rows):
            yield items[first : first + rows]
        return
    first = size_bytes = 0
    for i, more in enumerate(sizes):
        if i > first and (i - first == rows or size_bytes + more > PAGE_BYTES):
            yield items[first:i]
            first, size_bytes = i, 0
        size_bytes += more
    if first < len(items):
        yield items[first:]
