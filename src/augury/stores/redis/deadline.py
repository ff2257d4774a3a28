"""The end of an operation's time, which does not blame the server for what held up the event loop.

Where the loop itself was held up past the deadline, the answer may have come long ago, unread.  Then
the operation gets one more look at its connection before it is given up.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

# A timer that is called later than this has waited for a loop that was held up.
LATE_S: Final = 0.02
# Enough for the loop to read what has come in.
GRACE_S: Final = 0.02


class Deadline:
    """An async context manager; :class:`asyncio.timeout_at` with that one difference.

    Args:
        when_s: The loop's time at which to raise ``TimeoutError`` from what is awaited inside.
    """

    def __init__(self, when_s: float) -> None:
        self._when_s = when_s
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        self._timer = self._loop.call_at(self._when_s, self._due)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _due(self) -> None:
        now_s = self._loop.time()
        if now_s - self._when_s > LATE_S:
            self._timer = self._loop.call_later(GRACE_S, self._over)
        else:
            self._over()

    def _over(self) -> None:
        self._limit.reschedule(self._loop.time())
