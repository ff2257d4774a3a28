"""The Protocols of the stores.  Backends import this file and nothing else of the folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol


class KeyValueStore(Protocol):
    """Bytes under text keys, each with an optional time to live.

    All methods are coroutines and safe to call from many tasks at once.  A key or value that has
    expired is as if it had never been written.

    Raises (all methods):
        Unavailable: The backend cannot be reached or is closed.
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
