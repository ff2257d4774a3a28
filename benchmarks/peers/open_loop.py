"""The open loop: the highest rate with 99 % of all requests in time, and three times that rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from augury.bench.load.fleet import Fleet
from augury.bench.results import Level
from augury.bench.run import Load, run_open
from augury.bench.sweep import search
from benchmarks.peers.outcome import Entry, Plan, middle
from benchmarks.peers.search import highest, seconds, settle_on

CV2 = 4.0
# The rates that are tried, as parts of what the tight loop makes.
PARTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
OVERLOAD = 3.0
# Each search begins elsewhere: this part of what the closed loop reached.
FIRST = (0.5, 0.6, 0.4, 0.7, 0.45)


@dataclass(frozen=True)
class OpenLoop:
    """Asks at given rates.

    Args:
        plan: How long.
        slo_s: What counts as in time.
        cpus: Cores of the generator; empty: any.
        fleet: Its process.
    """

    plan: Plan
    slo_s: float
    cpus: tuple[int, ...]
    fleet: Fleet

    def goodput(self, arrivals: str, entry: Entry, repeat: int) -> str:
        """Find the highest rate that holds, and keep it; 0 when none that was tried did."""

        def briefly(rate: float) -> bool:
            requests, shortest, longest = self.plan.short
            duration = seconds(rate, requests=requests, shortest=shortest, longest=longest)
            return self.ask(entry, rate, arrivals, repeat, duration_s=duration, kind="short").holds

        first = FIRST[repeat % len(FIRST)] * max(1.0, entry.rate)
        near = search(briefly, first, precision=0.2, max_levels=self.plan.levels, lowest_rps=0.5)
        found = (
            settle_on(
                lambda rate: self._held(entry, rate, arrivals, repeat),
                near or first / 4,
                most=self.plan.decisive,
            )
            or 0.0
        )
        entry.outcome.goodput.setdefault(arrivals, []).append(found)
        return f"{found:.1f} requests/s within {self.slo_s * 1000:.0f} ms"

    def climb(self, arrivals: str, limit: float, entry: Entry, repeat: int) -> str:
        """Ask at rates from half of what the closed loop reached on, until one does not hold; keep the last that did.

        All servers climb the same ladder, in turns, round after round: a machine that others share is
        quicker in one minute than in the next, and a search for each by itself would tell that as their difference.

        Args:
            arrivals: ``poisson`` or ``gamma``.
            limit: Rows a second of the tight loop.
            entry: Who is asked.
            repeat: The round; in each of them all meet the same arrivals.
        """
        rates = [part * limit for part in PARTS]
        found = highest(
            lambda step: self._held(entry, rates[step], arrivals, repeat),
            len(rates),
            sum(rate <= 0.5 * entry.rate for rate in rates) - 1,
        )
        rate = 0.0 if found is None else rates[found]
        entry.outcome.goodput.setdefault(arrivals, []).append(rate)
        return f"{rate:.1f} requests/s within {self.slo_s * 1000:.0f} ms"

    def _held(self, entry: Entry, rate: float, arrivals: str, repeat: int) -> bool:
        """Whether *rate* held for long."""
        requests, shortest, longest = self.plan.long
        duration = seconds(rate, requests=requests, shortest=shortest, longest=longest)
        level = self.ask(entry, rate, arrivals, repeat, duration_s=duration, kind="long")
        if not level.holds and level.generator_limit:
            # A load that came late says nothing of the server: once more, and that counts.
            level = self.ask(entry, rate, arrivals, repeat, duration_s=duration, kind="long")
        return level.holds

    def ask(
        self, entry: Entry, rate: float, arrivals: str, repeat: int, *, duration_s: float, kind: str
    ) -> Level:
        """Ask at one rate, and keep what came of it."""
        assert entry.timed is not None
        entry.running.process.settle()
        load = Load(
            # The seed is the same for all servers: they meet the same arrivals.
            duration_s=duration_s, warm_up_s=0.5, timeout_s=5.0, seed=100 + repeat, slo_s=self.slo_s,
            pids=(entry.running.process.pid,), cpus=self.cpus,
        )  # fmt: skip
        level = run_open(
            entry.timed, load, rate_rps=rate, arrivals=arrivals, cv2=CV2, fleet=self.fleet  # type: ignore[arg-type]
        )  # fmt: skip
        entry.outcome.probes.append(
            {
                "kind": kind, "arrivals": arrivals, "rate": rate, "seconds": duration_s, "requests": level.requests,
                "offered": level.offered_rps, "good_share": level.good_share,
                "goodput": level.goodput_rps, "p50_ms": level.latency_ms(50), "p99_ms": level.latency_ms(99),
                "refused": level.refused, "failed": level.failed, "wrong": level.wrong,
                "generator": level.generator_limit,
            }
        )  # fmt: skip
        return level

    def overload(self, entry: Entry, repeat: int) -> str:
        """Ask for three times what it sustains, for as long as the plan says."""
        outcome = entry.outcome
        sustained = middle(outcome.goodput.get("poisson", []))
        if not sustained > 0:
            return "sustains nothing"
        rate = OVERLOAD * sustained
        level = self.ask(
            entry, rate, "poisson", repeat, duration_s=self.plan.overload_s, kind="overload"
        )
        long = [
            one["goodput"]
            for one in outcome.probes
            if one["kind"] != "short" and one["arrivals"] == "poisson"
        ]
        server = level.server
        outcome.overload = {
            "rate": rate,
            "seconds": self.plan.overload_s,
            "goodput": level.goodput_rps,
            "kept": level.goodput_rps / max(long) if max(long) else math.nan,
            "p99_ms": level.latency_ms(99),
            "refused_share": level.refused / level.requests if level.requests else math.nan,
            "refusal_p50_ms": _ms(level, 50),
            "refusal_p99_ms": _ms(level, 99),
            "rss_before_mib": server.rss_before_bytes / 2**20 if server else math.nan,
            "rss_mib": server.rss_peak_bytes / 2**20 if server else math.nan,
        }
        return f"keeps {outcome.overload['kept']:.0%} of its best goodput{trouble(level)}"


def _ms(level: Level, percent: float) -> float:
    return level.refusals.percentile_us(percent) / 1e3 if level.refused else math.nan


def trouble(level: Level) -> str:
    """What was not answered right, in brackets; empty when all was."""
    counts: list[tuple[str, Any]] = [
        ("refused", level.refused), ("failed", level.failed), ("wrong", level.wrong),
    ]  # fmt: skip
    parts = [f"{count} {what}" for what, count in counts if count]
    return f" ({', '.join(parts)})" if parts else ""
