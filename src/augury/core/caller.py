"""Who asks, what they may do, and how much of it.

The edge makes a :class:`Caller` for each request, before its body is read, and hands it on in the
ASGI scope under :data:`SCOPE_KEY`; whoever knows how many rows a request has charges them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, cast

Scope = Literal["predict", "read", "admin"]

SCOPE_KEY: Final = "augury.caller"


class Quota(Protocol):
    """How many rows a caller may still ask for."""

    def charge(self, rows: int) -> None:
        """Take *rows* off.

        Raises:
            Overloaded: The quota is used up for now; it tells when to ask again.
            TooLarge: *rows* is more than the quota ever allows at once.
        """


@dataclass(frozen=True, slots=True)
class Caller:
    """One who asks.

    Args:
        name: For logs and the audit trail: "anonymous", "user:ada", "key:3f9a…".
        scopes: What they may do; "admin" includes the others.
        quota: Bound of their rows; ``None``: none.
    """

    name: str
    scopes: frozenset[Scope]
    quota: Quota | None = None

    def may(self, scope: Scope) -> bool:
        """Whether *scope* is among what they may do."""
        return scope in self.scopes or "admin" in self.scopes

    def charge(self, rows: int) -> None:
        """Count *rows* against the quota, if there is one.

        Raises:
            Overloaded: The quota is used up for now.
            TooLarge: *rows* is more than it ever allows at once.
        """
        if self.quota is not None:
            self.quota.charge(rows)


# Stands in where no edge has set a caller: in tests of one route, and in the command line.
UNGUARDED: Final = Caller("unguarded", frozenset({"predict", "read", "admin"}))


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """The caller of an ASGI request."""
    return cast("Caller", scope.get(SCOPE_KEY, UNGUARDED))
