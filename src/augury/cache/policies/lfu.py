"""Least frequently used first, with ageing: for traffic whose favourites come back again and again.

Keys stand in buckets by their worth, so that every step takes constant time (Shah, Mitra, Matani: *An
O(1) algorithm for implementing the LFU cache eviction scheme*, 2010).  A key's worth is its uses plus
the age of the cache, which is the worth of the last key that went (Arlitt and others: *Evaluating
content management techniques for Web proxy caches*, 2000, "LFU with dynamic aging"): what was asked for
often once, but no more, is overtaken by those that are asked for now.
"""

from __future__ import annotations

from typing import Final

# Uses are counted so far.  It bounds the search for the lowest bucket, and the time for which an old
# favourite outlives its last use: until the age has risen by so much.
MOST_USES: Final = 64


class LeastFrequentlyUsed:
    """The key of the lowest worth goes first; among equals, the one that was used longest ago.

    >>> policy = LeastFrequentlyUsed()
    >>> for key in (b"a", b"b"):
    ...     policy.add(key, 0.0)
    >>> policy.use(b"a")
    >>> policy.add(b"c", 0.0)
    >>> policy.evict(), policy.evict(), policy.evict()
    (b'b', b'c', b'a')
    """

    def __init__(self) -> None:
        self._age = 0
        # Uses and worth of each key; the keys of each worth, in the order of their last use.
        self._keys: dict[bytes, tuple[int, int]] = {}
        self._buckets: dict[int, dict[bytes, None]] = {}

    def add(self, key: bytes, expires_s: float) -> None:
        if key in self._keys:
            self.use(key)
        else:
            self._place(key, 1)

    def use(self, key: bytes) -> None:
        uses = self._keys[key][0]
        self.discard(key)
        self._place(key, min(uses + 1, MOST_USES))

    def discard(self, key: bytes) -> None:
        _, worth = self._keys.pop(key)
        bucket = self._buckets[worth]
        del bucket[key]
        if not bucket:
            del self._buckets[worth]

    def evict(self) -> bytes:
        # No key is worth less than the age, nor more than MOST_USES above it.
        while self._age not in self._buckets:
            self._age += 1
        key = next(iter(self._buckets[self._age]))
        self.discard(key)
        return key

    def _place(self, key: bytes, uses: int) -> None:
        worth = self._age + uses
        self._keys[key] = (uses, worth)
        self._buckets.setdefault(worth, {})[key] = None
