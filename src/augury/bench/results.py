"""What a run of load met, ready to be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from augury.bench.dialects.base import CLASSES, OK, REFUSED, WRONG
from augury.bench.measure.histogram import Histogram
from augury.bench.measure.processes import ServerUse
from augury.bench.measure.tally import Point, Tally

# So many of all requests must be in time for a rate to hold.
SHARE: Final = 0.99
# Beyond these the generator, not the server, may be what was measured.
MAX_LAG_S: Final = 0.005
MAX_CPU_SHARE: Final = 0.9
# In the closed loop being late lengthens each turn of a connection: by at most this part of it.
MAX_BEHIND_SHARE: Final = 0.25


@dataclass(frozen=True)
class Kind:
    """Requests that ended alike.

    Args:
        outcome: ``ok``, ``refused``, ``failed`` or ``wrong``.
        label: Status and code, or what happened to the connection; empty for ``ok``.
        count: How many.
    """

    outcome: str
    label: str
    count: int


@dataclass(frozen=True)
class Level:
    """One run at one rate (open loop) or with so many connections (closed loop).

    Each request that was meant to go within the measured window is in exactly one of ok, refused, failed
    and wrong; rates are of that window.

    Args:
        loop: ``open`` or ``closed``.
        rate_rps: Requests per second that were meant; ``None`` in the closed loop.
        connections: In the closed loop so many, in the open loop so many at most.
        duration_s: Length of the measured window.
        slo_s: What counts as in time; ``None``: any answer.
        requests: All of the window.
        good: Right answers in time.
        kinds: How they ended, the most frequent first.
        latency: Of the answered, from the time at which the request was meant to go.
        latency_from_send: The same from the time at which it was sent; what a generator that waits
            for the server would have told.
        refusals: Latency of the refused (429, 503).
        lag: How late the generator took requests up, against the schedule; open loop only.
        generator_cpu: Busiest worker's share of its core.
        generator_busy: The same with the time in which it was kept from its core: all in which it did not wait.
        generator_behind_s: How late the workers woke up on average.
        waited: Requests that found all connections busy.
        server: What the server's processes used; ``None`` when they are not known.
        answered_inside: Answers that came within the window, refusals too.
        points: The time series.
        interrupted: Ctrl-C ended it early; what was under way then has failed, of kind ``interrupted``.
    """

    loop: Literal["open", "closed"]
    rate_rps: float | None
    connections: int
    duration_s: float
    slo_s: float | None
    requests: int
    good: int
    kinds: tuple[Kind, ...]
    latency: Histogram
    latency_from_send: Histogram
    refusals: Histogram
    lag: Histogram
    generator_cpu: float
    generator_busy: float
    generator_behind_s: float
    waited: int
    server: ServerUse | None
    answered_inside: int
    points: tuple[Point, ...]
    interrupted: bool = False

    @property
    def ok(self) -> int:
        """Right answers."""
        return self._count("ok")

    @property
    def refused(self) -> int:
        """Answers that the server would not (429, 503)."""
        return self._count("refused")

    @property
    def failed(self) -> int:
        """Other errors, and requests that were never answered."""
        return self._count("failed")

    @property
    def wrong(self) -> int:
        """Answers that do not belong to their request."""
        return self._count("wrong")

    @property
    def offered_rps(self) -> float:
        """Requests per second that were really meant in the window."""
        return self._rate(self.requests)

    @property
    def throughput_rps(self) -> float:
        """Right answers per second."""
        return self._rate(self.ok)

    @property
    def goodput_rps(self) -> float:
        """Right answers in time, per second."""
        return self._rate(self.good)

    @property
    def good_share(self) -> float:
        """Part of all requests that were answered in time; NaN without requests."""
        return self.good / self.requests if self.requests else math.nan

    @property
    def holds(self) -> bool:
        """Whether 99 % of all requests were answered in time; not known, so no, when it was ended early."""
        return not self.interrupted and self.requests > 0 and self.good >= SHARE * self.requests

    @property
    def cpu_s_per_1000(self) -> float:
        """The server's CPU seconds for 1,000 answers, refusals too; NaN when it is not known."""
        if self.server is None or not self.answered_inside:
            return math.nan
        # The window of the CPU time is that of the samples, a little off the measured one.
        rate = self.answered_inside / self.duration_s if self.duration_s else math.nan
        return 1000 * self.server.cores / rate

    @property
    def generator_limit(self) -> str:
        """Why the generator may be what was measured; empty when it kept up."""
        lag_s = self.lag.percentile_us(99) / 1e6
        if lag_s > MAX_LAG_S:
            return (
                f"1 % of the requests were taken up over {lag_s * 1e3:.1f} ms late "
                f"(limit {MAX_LAG_S * 1e3:g} ms)"
            )
        if self.generator_cpu > MAX_CPU_SHARE:
            return f"a worker used {self.generator_cpu:.0%} of its core (limit {MAX_CPU_SHARE:.0%})"
        if self.generator_busy > MAX_CPU_SHARE:
            return (
                f"a worker waited for nothing {self.generator_busy:.0%} of the time (limit {MAX_CPU_SHARE:.0%}), "
                f"{self.generator_cpu:.0%} on a core and the rest for one"
            )
        turn_s = self.latency.mean_us / 1e6
        if self.loop == "closed" and self.generator_behind_s > MAX_BEHIND_SHARE * turn_s:
            return (
                f"a worker woke up {self.generator_behind_s * 1e3:.2f} ms late on average, over "
                f"{MAX_BEHIND_SHARE:.0%} of the mean latency of {turn_s * 1e3:.2f} ms"
            )
        return ""

    @property
    def in_flight(self) -> float:
        """Requests that were under way at once, on average (Little's law); NaN when nothing was answered."""
        if self.loop == "closed":
            return self.connections
        return self.throughput_rps * self.latency_from_send.mean_us / 1e6

    def latency_ms(self, percent: float) -> float:
        """A percentile of the answered requests' latency; NaN without any."""
        return self.latency.percentile_us(percent) / 1e3

    def _count(self, outcome: str) -> int:
        return sum(one.count for one in self.kinds if one.outcome == outcome)

    def _rate(self, count: int) -> float:
        return count / self.duration_s if self.duration_s else 0.0


@dataclass(frozen=True)
class Sweep:
    """Levels of rising rate.

    Args:
        levels: All that were measured, by rate.
        slo_s: What counts as in time.
        sustainable_rps: The highest rate at which 99 % of all requests were answered in time, as it was
            really offered; ``None`` when none was.
        interrupted: Ctrl-C ended it early.
        failure: Why it ended early otherwise, such as a server that has gone; empty when it did not.
    """

    levels: tuple[Level, ...]
    slo_s: float
    sustainable_rps: float | None
    interrupted: bool = False
    failure: str = ""

    @property
    def whole(self) -> tuple[Level, ...]:
        """The levels that were not ended early; only these tell anything of their rate."""
        return tuple(one for one in self.levels if not one.interrupted)

    @property
    def peak(self) -> Level | None:
        """The level of most goodput."""
        return max(self.whole, key=lambda one: one.goodput_rps, default=None)

    @property
    def beyond(self) -> Level | None:
        """The highest rate that was measured."""
        return self.whole[-1] if self.whole else None

    @property
    def goodput_kept(self) -> float:
        """Goodput at the highest rate over the most at any; NaN without levels."""
        if self.peak is None or self.beyond is None or not self.peak.goodput_rps:
            return math.nan
        return self.beyond.goodput_rps / self.peak.goodput_rps

    @property
    def generator_limit(self) -> str:
        """Why the generator may be what was measured, at a level that decides; empty when it kept up."""
        for level in self.whole:
            if not level.holds and level.generator_limit:
                return f"at {level.rate_rps:,.0f}/s {level.generator_limit}"
        return ""


@dataclass(frozen=True)
class Snapshot:
    """How far a run is; for those who watch.

    Args:
        title: What runs.
        now_s: Seconds since its start, warm-up included.
        total_s: How long it is meant to take, without stragglers.
        warm_up_s: Of these not measured.
        offered: Requests counted so far.
        ok: Of these answered.
        good: In time.
        refused: Refused.
        failed: Anything else.
        p50_ms: Of the answered so far, by the worst worker.
        p99_ms: The same.
    """

    title: str
    now_s: float
    total_s: float
    warm_up_s: float
    offered: int
    ok: int
    good: int
    refused: int
    failed: int
    p50_ms: float
    p99_ms: float


def level_of(
    tally: Tally,
    *,
    loop: Literal["open", "closed"],
    rate_rps: float | None,
    connections: int,
    server: ServerUse | None,
    interrupted: bool,
) -> Level:
    """What *tally* says, put into words."""
    kinds = [
        Kind(CLASSES[verdict.outcome], verdict.label, count)
        for verdict, count in tally.kinds.items()
    ]
    kinds.sort(key=lambda one: (-one.count, one.outcome, one.label))
    return Level(
        loop,
        rate_rps,
        connections,
        tally.duration_s,
        tally.slo_s,
        tally.count,
        tally.good,
        tuple(kinds),
        tally.ok,
        tally.ok_from_send,
        tally.refused,
        tally.lag if loop == "open" else Histogram(),
        tally.cpu_share,
        tally.busy_share,
        sum(tally.behind_s) / len(tally.behind_s) if tally.behind_s else 0.0,
        tally.waited,
        server,
        tally.answered_inside,
        tuple(tally.points()),
        interrupted,
    )


def errors_of(levels: Sequence[Level]) -> Mapping[str, int]:
    """All that was not answered right, by kind, over *levels*."""
    counts: dict[str, int] = {}
    for level in levels:
        for one in level.kinds:
            if one.outcome != CLASSES[OK]:
                name = f"{one.outcome}: {one.label}"
                counts[name] = counts.get(name, 0) + one.count
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def number(value: float) -> Any:
    """*value* for JSON: NaN and infinity are null."""
    return round(value, 6) if math.isfinite(value) else None


__all__ = ["OK", "REFUSED", "WRONG", "Kind", "Level", "Point", "Snapshot", "Sweep"]
