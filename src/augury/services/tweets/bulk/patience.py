"""Wait for a store that went away, for as long as was agreed.

Bulk work asks its store through here: a store that is being restarted costs time, not the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from augury.core.clock import Clock
from augury.core.errors import Unavailable

FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 2.0

T = TypeVar("T")


class Patience:
    """Asks again while the store cannot be reached; shared by all tasks that use the store.

    Args:
        max_wait_s: How long it may be away.
        clock: Monotonic time.
        on_gone: Told once for each absence, with the store's own words.
        on_back: Told when it answers again, with the seconds that it was away.
    """

    def __init__(
        self,
        max_wait_s: float,
        clock: Clock,
        *,
        on_gone: Callable[[str], None] = lambda _: None,
        on_back: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._on_gone = on_gone
        self._on_back = on_back
        self._waiting = 0
        self._gone_since_s = 0.0
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Wait no longer; whoever does gets the store's error."""
        self._ended.set()

    async def __call__(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What *ask* answers, sooner or later; it may be called several times.

        Raises:
            Unavailable: The store did not come back in time, or nobody wants to wait any more.
        """
        # Each question has its own time: a store that still answers others may refuse this one.
        since_s: float | None = None
        wait_s = FIRST_WAIT_S
        try:
            while True:
                try:
                    answer = await ask()
                except Unavailable as error:
                    if since_s is None:
                        since_s = self._begin(error)
                    await self._pause(error, since_s, wait_s)
                    wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                else:
                    if since_s is not None and self._waiting == 1:
                        self._on_back(self._clock.monotonic() - self._gone_since_s)
                    return answer
        finally:
            if since_s is not None:
                self._waiting -= 1

    def _begin(self, error: Unavailable) -> float:
        """One more waits; the first of them tells."""
        now_s = self._clock.monotonic()
        if self._waiting == 0:
            self._gone_since_s = now_s
            self._on_gone(error.message)
        self._waiting += 1
        return now_s

    async def _pause(self, error: Unavailable, since_s: float, wait_s: float) -> None:
        left_s = since_s + self._max_wait_s - self._clock.monotonic()
        if self._ended.is_set() or left_s <= 0:
            why = "" if self._ended.is_set() else f" for {self._max_wait_s:g} s (--store-wait)"
            raise Unavailable(f"the store was away{why}: {error.message}") from None
        with suppress(TimeoutError):
            async with asyncio.timeout(min(wait_s, left_s)):
                await self._ended.wait()
