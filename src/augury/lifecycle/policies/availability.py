"""Load first, then unload: a model that was ready stays ready.

Costs the memory of two versions for a moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from augury.lifecycle.harness import State


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a policy may know of one version."""

    name: str
    version: int
    state: State
    aspired: bool


@dataclass(frozen=True, slots=True)
class Action:
    """The next thing to do."""

    kind: Literal["load", "retire"]
    name: str
    version: int


def next_action(versions: Sequence[Snapshot]) -> Action | None:
    """The next action, or ``None`` when nothing can be done now; idempotent.

    Newer versions are loaded first.  An unwanted version that is ready is retired only when a
    wanted version of its model is ready or none is wanted: a broken newcomer never takes the last
    ready version away.
    """
    for one in sorted(versions, key=lambda one: (one.name, -one.version)):
        if one.state is State.NEW and one.aspired:
            return Action("load", one.name, one.version)
    for one in versions:
        if one.aspired:
            continue
        if one.state in (State.NEW, State.FAILED):
            return Action("retire", one.name, one.version)
        if one.state is State.READY:
            siblings = [other for other in versions if other.name == one.name and other.aspired]
            if not siblings or any(other.state is State.READY for other in siblings):
                return Action("retire", one.name, one.version)
    return None
