"""Rows per minute, as a bucket that fills continuously.

Pure but for the clock that is passed in.  Each server process counts by itself: N of them let up to N
times as many rows through (docs/decisions/0015-credentials.md says why).
"""

from __future__ import annotations

from typing import Final

from augury.core.clock import Clock
from augury.core.errors import Overloaded, TooLarge

_MINUTE_S: Final = 60.0
# Sums of times are off by less; without it, whoever waits as long as he was told would be refused.
_ROUNDING_S: Final = 1e-6


class RowQuota:
    """A caller's rows: a minute's worth at once, and as many again with each minute.

    What is kept is the time at which the bucket will be full again, which needs no timer.

    Args:
        rows_per_minute: 1 or more.
        clock: Monotonic time.
    """

    def __init__(self, rows_per_minute: int, clock: Clock) -> None:
        self.rows_per_minute = rows_per_minute
        self._clock = clock
        self._full_at_s = clock.monotonic()

    @property
    def full(self) -> bool:
        """Whether nothing is used up just now."""
        return self._clock.monotonic() >= self._full_at_s

    def charge(self, rows: int) -> None:
        """Take *rows* off; a refusal takes nothing.

        Raises:
            Overloaded: There are fewer left; it tells after how many seconds there are enough.
            TooLarge: *rows* is more than a whole minute's.
        """
        if rows <= 0:
            return
        if rows > self.rows_per_minute:
            raise TooLarge(
                f"{rows} rows in one request, the key's quota is {self.rows_per_minute} a minute; "
                "send fewer at once",
                rows=rows,
                limit=self.rows_per_minute,
            )
        now_s = self._clock.monotonic()
        full_at_s = max(self._full_at_s, now_s) + rows * _MINUTE_S / self.rows_per_minute
        wait_s = full_at_s - now_s - _MINUTE_S
        if wait_s > _ROUNDING_S:
            raise Overloaded(
                f"the key's quota of {self.rows_per_minute} rows a minute is used up; "
                f"there is room for {rows} in {wait_s:.1f} s",
                rows=rows,
                limit=self.rows_per_minute,
                retry_after_s=wait_s,
            )
        self._full_at_s = full_at_s
