"""Sums and ranks in dicts; the part of the memory store that :class:`.base.TallyStore` asks for.

Nothing awaits here, so no task can see half of a change.  It counts what it holds; the bounds are
the store's.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from augury.core.errors import AuguryError
from augury.stores.base import Change, Vector
from augury.stores.tally import added, fits, overflow

# What CPython adds to the bytes of a member: the string's header, its places in the table's dict
# and order, the number.  Measured with tracemalloc on 3.11, rounded up.
MEMBER_OVERHEAD_BYTES: Final = 200
# An integer and its place in a vector.
NUMBER_BYTES: Final = 40
# A table's own objects, besides its name.
TABLE_OVERHEAD_BYTES: Final = 400

# Up to this many members that have moved since are moved one by one when the order is asked for;
# with more of them, sorting anew what is nearly sorted takes less.
_MOVES: Final = 100


class _Ranks:
    """One ranks table; put in order when it is asked for its order."""

    def __init__(self) -> None:
        self.ranks: dict[str, int] = {}
        self._order: list[tuple[int, str]] = []
        # Members that have changed since, and the rank under which the order has them (0: it has not).
        self._moved: dict[str, int] = {}

    def add(self, member: str, more: int) -> int:
        before = self.ranks.get(member, 0)
        after = before + more
        # Back where the order has it, a member has not moved: what comes and goes leaves nothing.
        if self._moved.setdefault(member, before) == after:
            del self._moved[member]
        if after:
            self.ranks[member] = after
        elif before:
            del self.ranks[member]
        return after

    def order(self) -> list[tuple[int, str]]:
        """Every (rank, member), the lowest first."""
        if len(self._moved) <= _MOVES:
            for member, before in self._moved.items():
                if before:
                    del self._order[bisect_left(self._order, (before, member))]
                if rank := self.ranks.get(member, 0):
                    insort(self._order, (rank, member))
        else:
            # Two runs in order, which sort() merges.
            stayed = [place for place in self._order if place[1] not in self._moved]
            moved = [(self.ranks[m], m) for m in self._moved if m in self.ranks]
            self._order = sorted(stayed + sorted(moved))
        self._moved.clear()
        return self._order


class MemoryTallies:
    """All tables of one memory store."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, Vector]] = {}
        self._ranks: dict[str, _Ranks] = {}
        self.used_bytes = 0
        self.members = 0

    def apply(self, change: Change, check_bounds: Callable[[], None]) -> None:
        """Add the sums and ranks of *change*; nothing of them when an error is raised.

        Args:
            change: Checked already; its values are not looked at.
            check_bounds: Called when all is added; raises when it is too much.
        """
        undo_sums: list[tuple[str, str, Vector]] = []
        undo_ranks: list[tuple[str, str, int]] = []
        try:
            for table, by_member in change.sums.items():
                for member, more in by_member.items():
                    undo_sums.append((table, member, more))
                    if not all(map(fits, self._add_sum(table, member, more))):
                        raise overflow(table)
            for table, ranks in change.ranks.items():
                for member, rank in ranks.items():
                    undo_ranks.append((table, member, rank))
                    if not fits(self._add_rank(table, member, rank)):
                        raise overflow(table)
            check_bounds()
        except AuguryError:
            for table, member, more in undo_sums:
                self._add_sum(table, member, tuple(-number for number in more))
            for table, member, rank in undo_ranks:
                self._add_rank(table, member, -rank)
            raise

    def sums(self, table: str) -> dict[str, Vector]:
        return dict(self._sums.get(table, {}))

    def sums_of(self, tables: Sequence[str], member: str) -> list[Vector]:
        none: Mapping[str, Vector] = {}
        return [self._sums.get(table, none).get(member, ()) for table in tables]

    def top(self, table: str, offset: int, limit: int) -> list[tuple[str, int]]:
        order = self._ranks[table].order() if table in self._ranks else []
        end = max(len(order) - offset, 0)
        return [(member, rank) for rank, member in reversed(order[max(end - limit, 0) : end])]

    def bottom(
        self, table: str, at_least: int | None, at_most: int | None, limit: int
    ) -> list[tuple[str, int]]:
        order = self._ranks[table].order() if table in self._ranks else []
        # The empty text is the first in the order of code points.
        low = 0 if at_least is None else bisect_left(order, (at_least, ""))
        high = len(order) if at_most is None else bisect_left(order, (at_most + 1, ""))
        return [(member, rank) for rank, member in order[low : min(high, low + limit)]]

    def ranks_of(self, table: str, members: Sequence[str]) -> list[int]:
        ranks = self._ranks[table].ranks if table in self._ranks else {}
        return [ranks.get(member, 0) for member in members]

    def rank_count(self, table: str) -> int:
        return len(self._ranks[table].ranks) if table in self._ranks else 0

    def tables(self, prefix: str) -> list[tuple[str, bool]]:
        """Names that start with *prefix*, and whether each is a sums table."""
        sums = [(table, True) for table in self._sums if table.startswith(prefix)]
        return sums + [(table, False) for table in self._ranks if table.startswith(prefix)]

    def drop(self, table: str, *, of_sums: bool) -> bool:
        """Remove a table; whether it was there."""
        if of_sums:
            if (vectors := self._sums.pop(table, None)) is None:
                return False
            self.members -= len(vectors)
            self.used_bytes -= _table_bytes(table)
            self.used_bytes -= sum(_sum_bytes(m, vector) for m, vector in vectors.items())
            return True
        if (ranks := self._ranks.pop(table, None)) is None:
            return False
        self.members -= len(ranks.ranks)
        self.used_bytes -= _table_bytes(table) + sum(map(_rank_bytes, ranks.ranks))
        return True

    def clear(self) -> None:
        self._sums.clear()
        self._ranks.clear()
        self.used_bytes = self.members = 0

    def _add_sum(self, table: str, member: str, more: Vector) -> Vector:
        vectors = self._sums.get(table)
        if vectors is None:
            vectors = self._sums[table] = {}
            self.used_bytes += _table_bytes(table)
        before = vectors.get(member, ())
        after = added(before, more)
        if after:
            vectors[member] = after
            if not before:
                self.members += 1
                self.used_bytes += _sum_bytes(member, after)
            else:
                self.used_bytes += NUMBER_BYTES * (len(after) - len(before))
        elif before:
            del vectors[member]
            self.members -= 1
            self.used_bytes -= _sum_bytes(member, before)
        if not vectors:
            del self._sums[table]
            self.used_bytes -= _table_bytes(table)
        return after

    def _add_rank(self, table: str, member: str, more: int) -> int:
        ranks = self._ranks.get(table)
        if ranks is None:
            ranks = self._ranks[table] = _Ranks()
            self.used_bytes += _table_bytes(table)
        there = len(ranks.ranks)
        after = ranks.add(member, more)
        if change := len(ranks.ranks) - there:
            self.members += change
            self.used_bytes += change * _rank_bytes(member)
        if not ranks.ranks:
            del self._ranks[table]
            self.used_bytes -= _table_bytes(table)
        return after


def _table_bytes(table: str) -> int:
    return len(table.encode()) + TABLE_OVERHEAD_BYTES


def _sum_bytes(member: str, vector: Vector) -> int:
    return len(member.encode()) + MEMBER_OVERHEAD_BYTES + NUMBER_BYTES * len(vector)


def _rank_bytes(member: str) -> int:
    return len(member.encode()) + MEMBER_OVERHEAD_BYTES
