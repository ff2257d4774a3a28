"""How a peer is set: what was tried, and which was the best on this machine.

``python -m benchmarks.peers --search`` tries every :class:`Setting` of a peer for a few seconds and writes what it measured
into ``servers/NAME/setting.json``; the measurements take the best from there, the first of the peer's list when nothing was
searched.  The identity work has one core and nothing to batch: there is no choice to make.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Works that are searched; the others, and peers that were not searched for one, take what was found for tweets.
SEARCHED = ("tweets", "roberta")
_ELSE = "tweets"
# Of two whose goodput differs by less, the one with more rows a second is the better.
TIE = 0.05


@dataclass(frozen=True)
class Setting:
    """One way to set a peer.

    Args:
        title: In tables.
        workers: Processes (or instances) that compute.
        threads: Of each.
        options: What the server reads from ``PEER_OPTIONS``.
    """

    title: str
    workers: int = 1
    threads: int = 2
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tried:
    """What was measured of a setting: rows/s of the closed loop, and goodput (``None``: not worth looking at)."""

    title: str
    rows_per_s: float
    goodput: float | None


def best_of(tried: Sequence[Tried]) -> Tried | None:
    """The most goodput; of those within 5 % of it the most rows a second.

    >>> best_of([Tried("a", 500, 300.0), Tried("b", 520, 290.0), Tried("c", 300, None)]).title
    'b'
    """
    found = [one for one in tried if one.rows_per_s > 0]
    if not found:
        return None
    most = max(one.goodput or 0.0 for one in found)
    near = [one for one in found if (one.goodput or 0.0) >= (1 - TIE) * most]
    return max(near, key=lambda one: one.rows_per_s)


def chosen(
    settings: Sequence[Setting], work: str, file: Path
) -> tuple[Setting, list[dict[str, Any]]]:
    """The setting for *work*, and what was measured when it was chosen (nothing, when it was not searched).

    Raises:
        ValueError: *file* names a setting that the peer does not have (any more).
    """
    if work == "identity" or not file.exists():
        return settings[0], []
    known = json.loads(file.read_text(encoding="utf-8"))
    found = known.get(work, known.get(_ELSE))
    if found is None:
        return settings[0], []
    for setting in settings:
        if setting.title == found["chosen"]:
            return setting, found["tried"]
    raise ValueError(
        f"{file} names the setting {found['chosen']!r}, which is not there; search again"
    )


def write(file: Path, work: str, tried: Sequence[Tried], machine: str) -> str:
    """Put what was found for *work* into *file*; the title of the best, empty when none could be measured."""
    best = best_of(tried)
    if best is None:
        return ""
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known[work] = {
        "chosen": best.title,
        "machine": machine,
        "tried": [
            {
                "setting": one.title,
                "rows_per_s": round(one.rows_per_s, 1),
                "goodput": None if one.goodput is None else round(one.goodput, 1),
            }
            for one in tried
        ],
    }
    file.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return best.title
