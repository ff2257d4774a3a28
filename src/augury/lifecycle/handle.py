"""A counted lease on a ready version: what the request path sees of the lifecycle."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from augury.lifecycle.harness import Harness
from augury.lifecycle.loader import Servable


class Handle:
    """Holds a version for as long as the ``with`` block lasts.

    A version that is being retired is closed only when its last handle has come back.
    """

    __slots__ = ("_harness", "_on_idle", "servable")

    def __init__(
        self, harness: Harness, servable: Servable, on_idle: Callable[[Harness], None]
    ) -> None:
        self._harness = harness
        self._on_idle = on_idle
        self.servable = servable
        harness.leases += 1

    def __enter__(self) -> Servable:
        return self.servable

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._harness.leases -= 1
        if self._harness.idle:
            self._on_idle(self._harness)
