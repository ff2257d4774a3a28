"""One version's state machine: events in, state out.

::

    new ──load──▶ loading ──loaded──▶ ready ──retire──▶ draining ──closed──▶ ended
     │               ├─────failed────▶ failed ──retire──────────────────────▶ ended
     │               └─────given up─────────────────────────────────────────▶ ended
     └──unreadable──▶ failed, or ──retire──▶ ended

No clock, no loop, no I/O: the manager carries the transitions out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from augury.core.errors import Internal
from augury.lifecycle.loader import Servable
from augury.packages.reader import ModelPackage


class State(StrEnum):
    """Where a version stands."""

    NEW = "new"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    ENDED = "ended"


_ALLOWED: Final[dict[State, frozenset[State]]] = {
    State.NEW: frozenset({State.LOADING, State.ENDED, State.FAILED}),
    State.LOADING: frozenset({State.READY, State.FAILED, State.ENDED}),
    State.READY: frozenset({State.DRAINING}),
    State.DRAINING: frozenset({State.ENDED}),
    State.FAILED: frozenset({State.ENDED}),
    State.ENDED: frozenset(),
}


@dataclass(slots=True, eq=False)
class Harness:
    """A version and its state.

    Args:
        name: The model.
        version: The version.
        fingerprint: Changes when the files change; a failed version is tried again then.
        package: What was read; ``None`` when even that failed.
        aspired: Whether the source wants it.
        state: Where it stands; changed by :meth:`move` alone.
        reason: Why it failed; empty otherwise.
        leases: Requests that hold it.
        servable: What was loaded; from ``READY`` until ``ENDED``.
    """

    name: str
    version: int
    fingerprint: str
    package: ModelPackage | None
    aspired: bool = True
    state: State = State.NEW
    reason: str = ""
    leases: int = 0
    servable: Servable | None = field(default=None, repr=False)

    def move(self, state: State, reason: str = "") -> None:
        """Go to *state*.

        Raises:
            Internal: The diagram above has no such arrow.
        """
        if state not in _ALLOWED[self.state]:
            raise Internal(f"{self.name} {self.version} cannot go from {self.state} to {state}")
        self.state = state
        self.reason = reason

    @property
    def idle(self) -> bool:
        """Whether no request holds it."""
        return self.leases == 0
