"""Whether to try the server at all: after one failure nobody else waits for the same.

Pure: the link tells what happened, and asks; it tries the server in the background itself.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Final

from augury.core.clock import Clock
from augury.core.errors import Unavailable

# Between two tries of a server that cannot be reached: the first soon, as most outages are short.
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 1.0


class Breaker:
    """Closed while the server answers; open from a failure to the next success.

    Args:
        name: The store, as it may be shown.
        clock: Its wall time says since when.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._reason = ""
        self._since_s: float | None = None
        self._next_pause_s = FIRST_PAUSE_S

    @property
    def fault(self) -> str | None:
        """Why the server cannot be reached, and since when; ``None`` while it can."""
        if self._since_s is None:
            return None
        # To the second, as a person reads it.
        since = datetime.fromtimestamp(self._since_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"store {self._name}: cannot be reached since {since} ({self._reason})"

    def check(self) -> None:
        """Let pass while the server can be reached.

        Raises:
            Unavailable: It cannot; the message is :attr:`fault`.
        """
        if self._since_s is not None:
            raise Unavailable(self.fault or "", store=self._name)

    def failed(self, reason: str) -> bool:
        """The server did not answer; returns whether that is news."""
        news = self._since_s is None
        if news:
            self._since_s = self._clock.time()
            self._next_pause_s = FIRST_PAUSE_S
        self._reason = reason
        return news

    def answered(self) -> bool:
        """The server answered; returns whether that is news."""
        news = self._since_s is not None
        self._since_s = None
        return news

    def pause_s(self) -> float:
        """Seconds until the next try.

        Doubling, and spread: the servers of one Redis should not all come at once when it is back.
        """
        pause_s = self._next_pause_s
        self._next_pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        return pause_s * random.uniform(0.75, 1.0)  # noqa: S311  no secret
