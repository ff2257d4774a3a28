"""The Protocols of the stores.  Backends import this file and nothing else of the folder.

:class:`KeyValueStore` is what everything needs.  :class:`TallyStore` is what incremental aggregates
need besides: integer sums and ranks that move in one step with the values that they are made from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

Vector = tuple[int, ...]

# Numbers of a tally lie strictly between the negative of this and it: what a double holds exactly,
# for a Redis computes with doubles.  Millionths of scores reach it after nine billion tweets.
TALLY_LIMIT: Final = 2**53


class KeyValueStore(Protocol):
    """Bytes under text keys, each with an optional time to live.

    All methods are coroutines and safe to call from many tasks at once.  A key or value that has
    expired is as if it had never been written.

    Raises (all methods):
        Unavailable: The backend cannot be reached or is closed.
    """

    @property
    def fault(self) -> str | None:
        """Why the backend cannot be reached just now; ``None`` while it can.

        Read from memory, without asking the backend.
        """

    async def get(self, key: str) -> bytes | None:
        """The value under *key*, or ``None``; an empty value is ``b""``."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under *keys*, in their order, in one round trip."""

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        """Write *value*, replacing what was there; it expires after *ttl_s* seconds, if given."""

    async def set_many(self, items: Mapping[str, bytes], *, ttl_s: float | None = None) -> None:
        """Write all *items*, in one round trip; all or nothing where the backend can."""

    async def put_if_absent(self, key: str, value: bytes, *, ttl_s: float | None = None) -> bool:
        """Write unless the key is there; atomic.  Returns whether it was written."""

    async def delete(self, *keys: str) -> int:
        """Remove *keys*; returns how many were there."""

    def scan(self, prefix: str, *, page_size: int = 500) -> AsyncIterator[tuple[str, bytes]]:
        """All live items whose key starts with *prefix*, in no promised order.

        Reads *page_size* items at a time, so that neither the event loop nor the backend is held
        up.  Items written or removed meanwhile may be seen or not; each of the others is seen once.
        """

    async def count(self, prefix: str = "") -> int:
        """How many live items have keys that start with *prefix*."""

    async def close(self) -> None:
        """Release files and connections; safe to call twice."""


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a :class:`TallyStore`: all of it or nothing, and only while *expected* holds.

    A key may stand in *expected* and in *values*: it is looked at first.

    Args:
        expected: Key to the value that must be there, ``None`` for none (or an expired one).
        values: Key to its new value, ``None`` to remove it; these have no time to live, and a store
            that forgets the oldest when it is full does not forget them.
        sums: Table to member to what is added to the member's vector.  A shorter vector counts as
            filled up with zeros; a member whose vector becomes all zeros is gone, and so is a table
            without members.
        ranks: Table to member to what is added to the member's rank; a member whose rank becomes 0
            is gone.

    All numbers, those added and those that come of it, are integers within :data:`TALLY_LIMIT`.
    """

    expected: Mapping[str, bytes | None] = field(default_factory=dict)
    values: Mapping[str, bytes | None] = field(default_factory=dict)
    sums: Mapping[str, Mapping[str, Vector]] = field(default_factory=dict)
    ranks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@runtime_checkable
class TallyStore(Protocol):
    """Sums and ranks beside keys and values, each kind in names of its own.

    A *sums* table maps members to vectors of integers, a *ranks* table maps them to one integer by
    which they are ordered.  Both are changed through :meth:`commit` only.  Members and tables are any
    text that can be written as UTF-8, as keys are.

    Raises (all methods):
        Unavailable: The backend cannot be reached or is closed.  Whether a commit that fails so has
            happened is unknown, for each of its changes; what makes a change again must read first,
            or name in ``expected`` what its first try would have altered.
        ValueError: A limit or offset below 0.
    """

    async def commit(self, changes: Sequence[Change]) -> list[bool]:
        """Carry out *changes* in their order; each is atomic on its own.

        Each sees what those before it did.  Many small changes cost one round trip; a backend may
        cut a long sequence into several.

        Returns:
            For each change, whether it was carried out; one whose *expected* did not hold was not.

        Raises:
            ValueError: A number to add is not within :data:`TALLY_LIMIT`; nothing was carried out.
            TooLarge: A change does not fit into the store, or would take a number to
                :data:`TALLY_LIMIT`.  Those before it were carried out, it and those after it not.
        """

    async def sums(self, table: str) -> dict[str, Vector]:
        """Every member of a sums table, of one moment; empty for a table that is not there.

        A table is read whole: it is meant for thousands of members (buckets of time), not more.
        Trailing zeros of a vector may be left out.
        """

    async def sums_of(self, tables: Sequence[str], member: str) -> list[Vector]:
        """The vector of *member* in each of *tables*, in one round trip; ``()`` where it is not."""

    async def top(self, table: str, *, offset: int = 0, limit: int) -> list[tuple[str, int]]:
        """Members of a ranks table, the highest rank first.

        Equal ranks are ordered by member, the last in the order of code points first.
        """

    async def bottom(
        self, table: str, *, at_least: int | None = None, at_most: int | None = None, limit: int
    ) -> list[tuple[str, int]]:
        """Members with ranks within the bounds (both inclusive), the lowest rank first.

        Equal ranks are ordered by member, the first in the order of code points first: the reverse
        of :meth:`top`.
        """

    async def ranks_of(self, table: str, members: Sequence[str]) -> list[int]:
        """The rank of each of *members*, 0 where it has none, in one round trip."""

    async def rank_count(self, table: str) -> int:
        """How many members a ranks table has."""

    async def drop_tables(self, prefix: str) -> int:
        """Remove all sums and ranks tables whose names start with *prefix*; returns how many.

        Works in pages, like :meth:`KeyValueStore.scan`; tables that are written meanwhile may stay.
        """
