"""The measurements of one work: all servers started, then asked in turn, round after round.

While one is asked the others are stopped (SIGSTOP), so that their health checks and garbage collectors cost it nothing.
"""

from __future__ import annotations

import math
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from augury.bench.load.fleet import Fleet
from augury.bench.results import Level
from augury.bench.run import Load, Workload, run_closed, run_open
from augury.bench.sweep import search
from augury.core.errors import OperatorError
from benchmarks import load as wrk
from benchmarks.peers.peer import Peer
from benchmarks.peers.running import NotMeasured, Running
from benchmarks.peers.search import follow, seconds
from benchmarks.peers.works import Work
from benchmarks.tight_loop import LAYOUTS, Tight

CLIENTS = 32
CV2 = 4.0
OVERLOAD = 3.0
ARRIVALS = ("poisson", "gamma")
PORT = 19_000


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        repeats: Of the closed loop and of the tight loop.
        seconds: Of each of these.
        goodput_repeats: Of the search for the highest rate that holds.
        levels: Rates that the first search tries at most.
        probe: ⟨requests, shortest s, longest s⟩ at one rate.
        arrivals: ``poisson`` and ``gamma``.
        overload: Also ask for three times what each sustains.
    """

    repeats: int = 5
    seconds: float = 3.0
    goodput_repeats: int = 3
    levels: int = 6
    probe: tuple[int, float, float] = (400, 3.0, 6.0)
    arrivals: tuple[str, ...] = ARRIVALS
    overload: bool = True


@dataclass
class Outcome:
    """What one server did with one work; ``reason`` when it could not be measured."""

    peer: str
    work: str
    reason: str = ""
    check: str = ""
    ready_s: float = math.nan
    rss_mib: float = math.nan
    idle_cores: float = math.nan
    restarts: int = 0
    failures: list[str] = field(default_factory=list)
    rows_per_s: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    cpu_s_per_1000: list[float] = field(default_factory=list)
    goodput: dict[str, list[float]] = field(default_factory=dict)
    probes: list[dict[str, Any]] = field(default_factory=list)
    overload: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Entry:
    running: Running
    outcome: Outcome
    plain: Workload | None = None
    timed: Workload | None = None


class Measurement:
    """One work on all peers.

    Args:
        work: Which.
        peers: Who, in the order of the table.
        plan: How much.
        cache: Environments and models; servers' files go to ``run/`` in it.
    """

    def __init__(self, work: Work, peers: list[Peer], plan: Plan, cache: Path) -> None:
        self.work, self.plan, self.cache = work, plan, cache
        self.peers = peers
        self.outcomes = {peer.name: Outcome(peer.name, work.name) for peer in peers}
        self.limits: list[float] = []
        self.layouts: list[tuple[int, int, int]] = []
        self._entries: list[_Entry] = []
        self._tight: list[Tight] = []
        self._fleet: Fleet | None = None

    def run(self) -> None:
        """Measure; every server is ended afterwards."""
        if self.work.kind == "text":
            self._trial()
        try:
            for number, peer in enumerate(self.peers):
                self._start(peer, PORT + 4 * number)
            if self.work.kind == "identity":
                self._in_turn("requests/s", self.plan.repeats, self._identity)
                return
            with Fleet(1) as fleet:
                self._fleet = fleet
                self._in_turn("closed loop", self.plan.repeats, self._closed, self._limit)
                for arrivals in self.plan.arrivals:
                    one = partial(self._goodput, arrivals)
                    self._in_turn(f"goodput, {arrivals}", self.plan.goodput_repeats, one)
                if self.plan.overload:
                    self._in_turn("overload", 1, self._overload)
        finally:
            for entry in self._entries:
                entry.running.stop()
            for outcome in self.outcomes.values():
                if not outcome.rows_per_s and not outcome.reason:
                    outcome.reason = (outcome.failures or ["interrupted"])[-1]

    def _start(self, peer: Peer, port: int) -> None:
        outcome = self.outcomes[peer.name]
        # Identity: the server's core is its own, wrk has the other.  A model needs all cores, and the generator
        # takes little: it is one process without an event loop.
        cores = "0" if self.work.kind == "identity" else "0,1"
        try:
            running = Running(
                peer,
                self.work,
                self.cache,
                folder=self.cache / "run" / peer.name,
                port=port,
                cores=cores,
            )
            self._entries.append(entry := _Entry(running, outcome))
            outcome.ready_s = running.ready_s
            outcome.check = running.check(self._truth)
            if self.work.kind == "text":
                entry.plain = running.workload(None)
                entry.timed = running.workload(self.work.slo_s)
            outcome.rss_mib = running.process.rss_mib()
            time.sleep(1)
            running.process.rest()
            outcome.idle_cores = running.process.idle_cores
        except (NotMeasured, OperatorError, OSError, ValueError, KeyError) as error:
            outcome.reason = (
                f"{type(error).__name__}: {error}"
                if not isinstance(error, NotMeasured)
                else str(error)
            )
            self._drop(peer)
        else:
            running.process.pause()
        tell(
            f"{self.work.name}: {peer.name}: {outcome.reason or f'ready in {outcome.ready_s:.1f} s, {outcome.check}'}"
        )

    def _drop(self, peer: Peer) -> None:
        for entry in [entry for entry in self._entries if entry.running.peer is peer]:
            entry.running.stop()
            self._entries.remove(entry)

    def _truth(self, rows: list[Any]) -> list[list[float]]:
        if self.work.kind == "identity":
            return [list(map(float, row)) for row in rows]
        return [
            [float(score) for score in self._tight[0].answer([row]).array("scores")[0]]
            for row in rows
        ]

    def _trial(self) -> None:
        """Find the two best layouts of the tight loop."""
        tights = {layout: Tight(*layout, self.work.package) for layout in LAYOUTS}
        rates = {
            layout: tight.run(self.work.rows, min(1.5, self.plan.seconds))
            for layout, tight in tights.items()
        }
        self.layouts = sorted(rates, key=lambda layout: -rates[layout])[:2]
        self._tight = [tights[layout] for layout in self.layouts]
        for (loops, threads, rows), rate in rates.items():
            tell(
                f"{self.work.name}: tight loop {loops} x {threads} threads, {rows:2} rows: {rate:.0f} rows/s"
            )

    def _limit(self) -> None:
        self.limits.append(
            max(tight.run(self.work.rows, self.plan.seconds / 2) for tight in self._tight)
        )
        tell(f"{self.work.name}: tight loop: {self.limits[-1]:.1f} rows/s")

    def _in_turn(
        self,
        title: str,
        repeats: int,
        one: Callable[[_Entry, int], str],
        first: Callable[[], None] | None = None,
    ) -> None:
        for repeat in range(repeats):
            if first is not None:
                first()
            # Another one begins each time.
            turn = repeat % max(1, len(self._entries))
            order = self._entries[turn:] + self._entries[:turn]
            for entry in order:
                outcome = entry.outcome
                try:
                    outcome.restarts += entry.running.resume()
                    entry.running.process.settle()
                    said = one(entry, repeat)
                except (OperatorError, OSError, subprocess.CalledProcessError) as error:
                    said = f"failed: {error}"
                    outcome.failures.append(said)
                except NotMeasured as error:
                    said = f"died while it was measured: {error}"
                    outcome.reason = said
                    self._drop(entry.running.peer)
                else:
                    entry.running.process.settle()
                entry.running.process.pause()
                tell(
                    f"{self.work.name}: {title} {repeat + 1}/{repeats}: {entry.running.peer.name}: {said}"
                )

    def _identity(self, entry: _Entry, repeat: int) -> str:
        running, outcome = entry.running, entry.outcome
        bodies: list[object] = [running.peer.body(self.work, row) for row in self.work.rows]
        base, path = (
            running.url.rsplit(running.peer.path(self.work), 1)[0],
            running.peer.path(self.work),
        )
        wrk.post(base, path, bodies, connections=CLIENTS, seconds=1, cores="1")
        before = running.process.cpu_s()
        met = wrk.post(
            base, path, bodies, connections=CLIENTS, seconds=self.plan.seconds, cores="1",
            skip=repeat * len(bodies) // max(1, self.plan.repeats),
        )  # fmt: skip
        if met.bad_answers or met.broken or not met.requests:
            raise OperatorError(
                f"{met.requests} answers, {met.bad_answers} bad ones, {met.broken} broken connections"
            )
        outcome.rows_per_s.append(met.per_s)
        outcome.p99_ms.append(met.p99_ms)
        outcome.cpu_s_per_1000.append((running.process.cpu_s() - before) / met.requests * 1000)
        outcome.rss_mib = running.process.rss_mib()
        return f"{met.per_s:.0f} requests/s"

    def _load(self, entry: _Entry, duration_s: float, **more: Any) -> Load:
        pids = (entry.running.process.pid,)
        return Load(duration_s=duration_s, slo_s=self.work.slo_s, pids=pids, **more)

    def _closed(self, entry: _Entry, repeat: int) -> str:
        assert entry.plain is not None
        level = run_closed(
            entry.plain, self._load(entry, self.plan.seconds, warm_up_s=1.0, timeout_s=60.0, seed=repeat + 1),
            connections=CLIENTS, fleet=self._fleet,
        )  # fmt: skip
        outcome = entry.outcome
        outcome.rows_per_s.append(level.throughput_rps)
        outcome.p99_ms.append(level.latency_ms(99))
        outcome.refused.append(level.refused / level.requests if level.requests else 0.0)
        if level.server is not None:
            # For each right answer: a refusal is cheap, and no answer.
            used = level.server.cores / level.throughput_rps if level.ok else math.nan
            outcome.cpu_s_per_1000.append(1000 * used)
            outcome.rss_mib = level.server.rss_peak_bytes / 2**20
        return (
            f"{level.throughput_rps:.1f} rows/s, p99 {level.latency_ms(99):.0f} ms{_trouble(level)}"
        )

    def _goodput(self, arrivals: str, entry: _Entry, repeat: int) -> str:
        outcome = entry.outcome

        def holds(rate: float) -> bool:
            level = self._open(entry, rate, arrivals, repeat)
            return level.holds

        found = outcome.goodput.setdefault(arrivals, [])
        if not found:
            first = 0.5 * max(1.0, _median(outcome.rows_per_s))
            got = search(holds, first, precision=0.08, max_levels=self.plan.levels, lowest_rps=0.5)
            found.append(got or 0.0)
        elif found[-1] > 0:
            found.append(follow(holds, found[-1]))
        else:
            found.append(0.0)
        return f"{found[-1]:.1f} requests/s within {self.work.slo_s * 1000:.0f} ms"

    def _open(self, entry: _Entry, rate: float, arrivals: str, repeat: int) -> Level:
        assert entry.timed is not None
        requests, shortest, longest = self.plan.probe
        duration = seconds(rate, requests=requests, shortest=shortest, longest=longest)
        entry.running.process.settle()
        level = run_open(
            entry.timed,
            # The seed is the same for all servers: they meet the same arrivals.
            self._load(entry, duration, warm_up_s=0.5, timeout_s=5.0, seed=100 + repeat),
            rate_rps=rate, arrivals=arrivals, cv2=CV2, fleet=self._fleet,  # type: ignore[arg-type]
        )  # fmt: skip
        entry.outcome.probes.append(
            {
                "arrivals": arrivals, "rate": rate, "offered": level.offered_rps, "good_share": level.good_share,
                "goodput": level.goodput_rps, "p50_ms": level.latency_ms(50), "p99_ms": level.latency_ms(99),
                "refused": level.refused, "failed": level.failed, "wrong": level.wrong,
                "generator": level.generator_limit,
            }
        )  # fmt: skip
        return level

    def _overload(self, entry: _Entry, repeat: int) -> str:
        outcome = entry.outcome
        sustained = _median(outcome.goodput.get("poisson", []))
        if not sustained > 0:
            return "sustains nothing"
        level = self._open(entry, OVERLOAD * sustained, "poisson", repeat)
        best = max(one["goodput"] for one in outcome.probes if one["arrivals"] == "poisson")
        outcome.overload = {
            "rate": OVERLOAD * sustained,
            "goodput": level.goodput_rps,
            "kept": level.goodput_rps / best if best else math.nan,
            "p99_ms": level.latency_ms(99),
            "refused_share": level.refused / level.requests,
            "refusal_p99_ms": level.refusals.percentile_us(99) / 1e3 if level.refused else math.nan,
            "rss_mib": level.server.rss_peak_bytes / 2**20 if level.server else math.nan,
        }
        return f"keeps {outcome.overload['kept']:.0%} of its best goodput{_trouble(level)}"


def _trouble(level: Level) -> str:
    parts = [
        f"{count} {what}"
        for what, count in (
            ("refused", level.refused),
            ("failed", level.failed),
            ("wrong", level.wrong),
        )
        if count
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else math.nan


def tell(line: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
