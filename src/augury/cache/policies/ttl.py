"""The row that expires soonest goes first: for answers whose worth is their freshness."""

from __future__ import annotations

import heapq
from itertools import count


class SoonestToExpire:
    """The key that would expire first goes first; among equals, the one that was added first.

    >>> policy = SoonestToExpire()
    >>> policy.add(b"a", 20.0)
    >>> policy.add(b"b", 10.0)
    >>> policy.evict()
    b'b'
    """

    def __init__(self) -> None:
        self._order = count()
        self._keys: dict[bytes, tuple[float, int]] = {}
        # Holds keys that are gone, too, until they reach the top or are more than the others.
        self._heap: list[tuple[float, int, bytes]] = []

    def add(self, key: bytes, expires_s: float) -> None:
        mark = (expires_s, next(self._order))
        self._keys[key] = mark
        heapq.heappush(self._heap, (*mark, key))
        if len(self._heap) > 2 * len(self._keys) + 64:
            self._heap = [(*mark, key) for key, mark in self._keys.items()]
            heapq.heapify(self._heap)

    def use(self, key: bytes) -> None:
        """Being asked for makes nothing fresher."""

    def discard(self, key: bytes) -> None:
        del self._keys[key]

    def evict(self) -> bytes:
        while True:
            expires_s, order, key = heapq.heappop(self._heap)
            if self._keys.get(key) == (expires_s, order):
                del self._keys[key]
                return key
