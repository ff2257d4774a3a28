"""Stops batches that nobody wants any more.

A timer of the event loop, and only while batches are under way that take longer than its interval: it costs
the instances nothing, and nothing at all while nothing is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from augury.batching.execution import Execution, Ledger
from augury.batching.work import deliver
from augury.core.clock import Clock
from augury.core.errors import DeadlineExceeded

# Nobody gains by stopping a batch that is over before the next look.
INTERVAL_S: Final = 0.02


class Watch:
    """Looks at what the instances of one version do.

    Everything here is called on the event loop.  Whoever still waits for a batch that it stops is told
    in the same turn of the loop, so that nobody can join them in between.

    Args:
        name: The model, for messages.
        executions: The instances' batches.
        waits: Whether anything waits to be computed.
        clock: Monotonic time.
        ledger: Where stopped work is counted.
    """

    def __init__(
        self,
        name: str,
        executions: Sequence[Execution],
        waits: Callable[[], bool],
        *,
        clock: Clock,
        ledger: Ledger,
    ) -> None:
        self._name = name
        self._executions = executions
        self._waits = waits
        self._clock = clock
        self._ledger = ledger
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Something has been submitted."""
        if self._timer is None:
            self._timer = loop.call_later(INTERVAL_S, self._look, loop)

    def end(self) -> None:
        """Nothing is under way, and nothing will be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now_s = self._clock.monotonic()
        busy = self._waits()
        for execution in self._executions:
            under_way = execution.under_way
            if under_way is None:
                continue
            busy = True
            works, cancel = under_way
            if cancel.cancelled or not all(work.unwanted(now_s) for work in works):
                continue
            cancel.cancel()
            self._ledger.shed("cancelled", len(works))
            error = DeadlineExceeded(
                f"the deadline passed while {self._name} computed; the computation was stopped"
            )
            deliver([(work, error) for work in works])
        if busy:
            self.begin(loop)
