"""Erase, every few minutes, what is past its retention."""

from __future__ import annotations

import asyncio
from typing import Final

from augury.core.clock import Clock
from augury.core.errors import AuguryError
from augury.observe.logs import EventLogger, get_logger
from augury.services.tweets.ledger import Ledger

SWEEP_EVERY_S: Final = 300.0
# While there is more to erase than one sweep takes; some seconds of a store's time an hour.
SWEEP_AGAIN_S: Final = 10.0
SWEEP_RECORDS: Final = 500

# More than this the wall clock does not move against the monotonic one unless somebody sets it, or
# the machine has slept.
MAX_DRIFT_S: Final = 3600.0
# After that it is not believed for as long as it takes somebody to notice.
DISTRUST_S: Final = 86_400.0


class TrustedWall:
    """Tells whether the wall clock may decide what is erased for its age.

    What is erased stays so: a clock that is set years ahead by mistake must not cost all that is
    held, and a day's delay harms nobody.

    Args:
        clock: Whose wall time is watched, against its monotonic time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_s = clock.time() - clock.monotonic()
        self._distrusted_until_s = clock.monotonic()

    def is_trusted(self) -> bool:
        """Whether the wall clock has not jumped for a day; it need not be asked in between."""
        offset_s = self._clock.time() - self._clock.monotonic()
        if abs(offset_s - self._offset_s) > MAX_DRIFT_S:
            self._offset_s = offset_s
            self._distrusted_until_s = self._clock.monotonic() + DISTRUST_S
        return self._clock.monotonic() >= self._distrusted_until_s


class Sweeper:
    """Has the ledger erase what is past its retention, a bounded number at a time.

    Args:
        ledger: Whose predictions expire.
        clock: Tells whether the wall clock has jumped.
        every_s: Pause between two sweeps.
        logger: Told when the wall clock has jumped; nothing is told of a store that is down, as
            others notice it first.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Clock,
        every_s: float = SWEEP_EVERY_S,
        logger: EventLogger | None = None,
    ) -> None:
        self._ledger = ledger
        self._wall = TrustedWall(clock)
        self._trusted = True
        self._every_s = every_s
        self._log = logger or get_logger(__name__)

    async def run(self) -> None:
        """Sweep until cancelled."""
        pause_s = self._every_s
        while True:
            await asyncio.sleep(pause_s)
            more = await self.sweep() >= SWEEP_RECORDS
            pause_s = min(self._every_s, SWEEP_AGAIN_S) if more else self._every_s

    async def sweep(self) -> int:
        """Sweep once; returns how many predictions were erased."""
        trusted = self._wall.is_trusted()
        if trusted != self._trusted:
            self._trusted = trusted
            if not trusted:
                self._log.warning(
                    "the wall clock has jumped; nothing is erased for its age for a day",
                    days=DISTRUST_S / 86_400,
                )
        if not trusted:
            return 0
        try:
            return await self._ledger.expire(max_records=SWEEP_RECORDS)
        except AuguryError as error:
            self._log.debug("sweep put off", error=error.message)
            return 0
