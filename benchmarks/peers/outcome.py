"""How much is measured, and what came of it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

from augury.bench.run import Workload
from benchmarks.peers.running import Running

ARRIVALS = ("poisson", "gamma")


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        repeats: Of the closed loop and of the tight loop.
        seconds: Of each of these.
        goodput_repeats: Of the climb to the highest rate that holds; the first is for all, the others for the contenders.
        levels: Rates that a search for the best setting tries for a short time, to know roughly where to look.
        short: ⟨requests, shortest s, longest s⟩ of these.
        decisive: Rates that such a search then tries for long.
        long: ⟨requests, shortest s, longest s⟩ of these; one request in a hundred must be a few.
        arrivals: ``poisson`` and ``gamma``; bursts are for the contenders alone.
        all_poisson: Look for everyone's goodput; else for the contenders' alone.
        overload_s: So long they are asked for three times what they sustain; 0: not at all.
    """

    repeats: int = 5
    seconds: float = 3.0
    goodput_repeats: int = 3
    levels: int = 4
    short: tuple[int, float, float] = (100, 2.0, 5.0)
    decisive: int = 4
    long: tuple[int, float, float] = (200, 5.0, 15.0)
    arrivals: tuple[str, ...] = ARRIVALS
    all_poisson: bool = True
    overload_s: float = 30.0


@dataclass
class Outcome:
    """What one server did with one work; ``reason`` when it could not be measured."""

    peer: str
    work: str
    setting: str = ""
    tried: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    check: str = ""
    looked_at: list[str] = field(default_factory=list)
    ready_s: float = math.nan
    rss_mib: float = math.nan
    idle_cores: float = math.nan
    restarts: int = 0
    failures: list[str] = field(default_factory=list)
    rows_per_s: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    cpu_s_per_1000: list[float] = field(default_factory=list)
    waiting: int = 0
    goodput: dict[str, list[float]] = field(default_factory=dict)
    probes: list[dict[str, Any]] = field(default_factory=list)
    overload: dict[str, Any] = field(default_factory=dict)


@dataclass
class Entry:
    """A server that runs, and what is known of it."""

    running: Running
    outcome: Outcome
    plain: Workload | None = None
    timed: Workload | None = None

    @property
    def rate(self) -> float:
        """What the closed loop reached; 0 when nothing is known."""
        return middle(self.outcome.rows_per_s) if self.outcome.rows_per_s else 0.0


def middle(values: list[float]) -> float:
    """Median; NaN without values."""
    return statistics.median(values) if values else math.nan


def contenders(entries: list[Entry], key: str = "") -> list[Entry]:
    """Augury, the two best serving frameworks and the best other service: those that decide the ratios.

    Args:
        entries: All that run.
        key: Arrivals by whose goodput they are told, as far as it is known; else by the rate of the closed loop.
    """

    def value(entry: Entry) -> tuple[float, float]:
        return (max(entry.outcome.goodput.get(key, [0.0])), entry.rate)

    ours = [entry for entry in entries if entry.running.peer.name == "augury"]
    others = [
        entry
        for entry in entries
        if entry.running.peer.name not in ("augury", "bare") and not entry.running.peer.closed_only
    ]
    others.sort(key=value, reverse=True)
    frameworks = [entry for entry in others if entry.running.peer.framework]
    services = [entry for entry in others if not entry.running.peer.framework]
    return [*ours, *frameworks[:2], *services[:1]]
