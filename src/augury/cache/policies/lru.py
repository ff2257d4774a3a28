"""Least recently used first: right for most traffic, whose past tells little but the last minutes."""

from __future__ import annotations

from collections import OrderedDict


class LeastRecentlyUsed:
    """The key whose last use lies furthest back goes first.

    >>> policy = LeastRecentlyUsed()
    >>> for key in (b"a", b"b"):
    ...     policy.add(key, 0.0)
    >>> policy.use(b"a")
    >>> policy.evict()
    b'b'
    """

    def __init__(self) -> None:
        self._keys: OrderedDict[bytes, None] = OrderedDict()
        self.use = self._keys.move_to_end
        self.discard = self._keys.pop

    def add(self, key: bytes, expires_s: float) -> None:
        self._keys[key] = None
        self._keys.move_to_end(key)

    def evict(self) -> bytes:
        return self._keys.popitem(last=False)[0]
