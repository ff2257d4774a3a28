"""Stores that can go away, and what the units of this folder share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import Unavailable
from augury.stores.memory import MemoryStore

SECRET_KEY = b"a secret key of thirty-two bytes or more"


class FickleStore(MemoryStore):
    """A store that is down while *down* says so, and counts what it is asked."""

    down = False
    asked = 0

    @property
    def fault(self) -> str | None:
        return "it is down" if self.down else None

    async def get(self, key: str) -> bytes | None:
        self.asked += 1
        if self.down:
            raise Unavailable("the store is down")
        return await super().get(key)

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        if self.down:
            raise Unavailable("the store is down")
        await super().set(key, value, ttl_s=ttl_s)


@pytest.fixture
def clock() -> ManualClock:
    """Stands at a day in 2026."""
    return ManualClock(1_795_000_000.0)


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[FickleStore]:
    """Up at first."""
    made = FickleStore(clock=clock)
    yield made
    await made.close()
