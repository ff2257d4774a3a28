"""The Protocol of a policy."""

from __future__ import annotations

from typing import Protocol


class Policy(Protocol):
    """Orders the keys of one version's remembered rows.

    It is told of each key that comes, is used or goes, and knows exactly those that are there.
    """

    def add(self, key: bytes, expires_s: float) -> None:
        """*key* was remembered until *expires_s* (monotonic).

        A key that is there already has a new value: that counts as a use.
        """

    def use(self, key: bytes) -> None:
        """*key*, which is there, was asked for."""

    def discard(self, key: bytes) -> None:
        """*key*, which is there, is gone for another reason than :meth:`evict`."""

    def evict(self) -> bytes:
        """Choose the key that goes first, and forget it; there is at least one."""
