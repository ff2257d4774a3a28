"""The measurements of one work: all servers started, then asked in turn, round after round.

While one is asked the others are stopped (SIGSTOP), so that their health checks and garbage collectors cost it nothing.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from augury.bench.load.fleet import Fleet
from augury.bench.run import Load, run_closed
from augury.core.errors import OperatorError
from benchmarks import load as wrk
from benchmarks.peers.cores import Cores, listed, share
from benchmarks.peers.open_loop import OpenLoop, trouble
from benchmarks.peers.outcome import Entry, Outcome, Plan, contenders
from benchmarks.peers.peer import WAITING_PART, Peer
from benchmarks.peers.running import NotMeasured, Running
from benchmarks.peers.spot import ROWS, Spot
from benchmarks.peers.works import Work
from benchmarks.tight_loop import LAYOUTS, Tight, by_length

CLIENTS = 32
PORT = 19_000


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
        self.cores: Cores = share(os.sched_getaffinity(0), work.kind)
        self._entries: list[Entry] = []
        self._tight: list[Tight] = []
        self._fleet: Fleet | None = None
        self._tight_rows: list[str] = []
        self._spot_rows = work.rows[-ROWS:]
        self._spot_truth: list[list[float]] = []

    def run(self) -> None:
        """Measure; every server is ended afterwards."""
        if self.work.kind == "text":
            self._trial()
        self._spot_truth = self.truth(self._spot_rows)
        try:
            for number, peer in enumerate(self.peers):
                self._start(peer, PORT + 4 * number)
            if self.work.kind == "identity":
                self._in_turn("requests/s", self.plan.repeats, self._identity, self._entries)
                return
            with Fleet(1) as fleet:
                self._fleet = fleet
                self._in_turn(
                    "closed loop", self.plan.repeats, self._closed, self._entries, first=self._limit
                )
                self._open(OpenLoop(self.plan, self.work.slo_s, self.cores.load, fleet))
        finally:
            for entry in self._entries:
                entry.running.stop()
            for outcome in self.outcomes.values():
                if not outcome.rows_per_s and not outcome.reason:
                    outcome.reason = (outcome.failures or ["interrupted"])[-1]

    def _open(self, loop: OpenLoop) -> None:
        plan = self.plan
        asked = [entry for entry in self._entries if not entry.running.peer.closed_only]
        if not plan.all_poisson:
            asked = contenders(asked)
        for entry in list(self._entries):
            if entry not in asked:
                # It has been asked all that it is asked.
                entry.running.stop()
                self._entries.remove(entry)
        self._bound(asked)
        for arrivals in plan.arrivals:
            chosen = asked if arrivals == "poisson" else contenders(self._entries, "poisson")
            for repeat in range(plan.goodput_repeats):
                one = partial(loop.climb, arrivals, statistics.median(self.limits))
                self._in_turn(f"goodput, {arrivals}", 1, one, chosen, begin=repeat)
                chosen = contenders(self._entries, "poisson")
        if plan.overload_s:
            self._in_turn("overload", 1, loop.overload, contenders(self._entries, "poisson"))

    def _bound(self, entries: Sequence[Entry]) -> None:
        """Start those that can refuse anew, and tell them what is late, and how much can wait without being so."""
        for entry in entries:
            running = entry.running
            if not running.peer.refuses:
                continue
            entry.outcome.waiting = max(2, round(WAITING_PART * self.work.slo_s * entry.rate))
            try:
                running.bound(self.work.slo_s, entry.outcome.waiting)
            except (NotMeasured, OSError) as error:
                said = f"did not start with its limits: {error}"
                entry.outcome.failures.append(said)
                self._drop(running.peer)
            else:
                running.process.pause()
                said = f"started anew, {entry.outcome.waiting} may wait"
            tell(f"{self.work.name}: {running.peer.name}: {said}")

    def _start(self, peer: Peer, port: int) -> None:
        outcome = self.outcomes[peer.name]
        try:
            setting, outcome.tried = peer.setting(self.work)
            outcome.setting = setting.title
            running = Running(
                peer,
                self.work,
                self.cache,
                folder=self.cache / "run" / peer.name,
                port=port,
                cores=listed(self.cores.server),
                setting=setting,
            )
            self._entries.append(entry := Entry(running, outcome))
            outcome.ready_s = running.ready_s
            outcome.check = running.check(self.truth)
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

    def load_truth(self) -> None:
        """Load what the truth is computed with, for those who measure something else."""
        if self.work.kind == "text":
            self._tight = [Tight(*LAYOUTS[0], self.work.package)]

    def truth(self, rows: list[Any]) -> list[list[float]]:
        """What the tight loop answers, or the numbers themselves."""
        if self.work.kind == "identity":
            return [list(map(float, row)) for row in rows]
        return [
            [float(score) for score in self._tight[0].answer([row]).array("scores")[0]]
            for row in rows
        ]

    def _trial(self) -> None:
        """Find the two best layouts of the tight loop."""
        tights = {layout: Tight(*layout, self.work.package) for layout in LAYOUTS}
        self._tight_rows = by_length(self.work.rows, tights[LAYOUTS[0]])
        rates = {
            layout: tight.run(self._tight_rows, min(1.5, self.plan.seconds))
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
            max(tight.run(self._tight_rows, self.plan.seconds / 2) for tight in self._tight)
        )
        tell(f"{self.work.name}: tight loop: {self.limits[-1]:.1f} rows/s")

    def _in_turn(
        self,
        title: str,
        repeats: int,
        one: Callable[[Entry, int], str],
        entries: Sequence[Entry],
        *,
        first: Callable[[], None] | None = None,
        begin: int = 0,
    ) -> None:
        for repeat in range(begin, begin + repeats):
            if first is not None:
                first()
            # Another one begins each time.
            left = [entry for entry in entries if entry in self._entries]
            turn = repeat % max(1, len(left))
            order = left[turn:] + left[:turn]
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
                    said = f"died or answered wrongly while it was measured: {error}"
                    outcome.reason = said
                    self._drop(entry.running.peer)
                else:
                    entry.running.process.settle()
                entry.running.process.pause()
                tell(f"{self.work.name}: {title} {repeat + 1}: {entry.running.peer.name}: {said}")

    def _identity(self, entry: Entry, repeat: int) -> str:
        running, outcome = entry.running, entry.outcome
        cores = listed(self.cores.load)
        bodies: list[object] = [running.peer.body(self.work, row) for row in self.work.rows]
        base, path = (
            running.url.rsplit(running.peer.path(self.work), 1)[0],
            running.peer.path(self.work),
        )
        wrk.post(base, path, bodies, connections=CLIENTS, seconds=1, cores=cores)
        before = running.process.cpu_s()
        with Spot(running, self._spot_rows) as spot:
            met = wrk.post(
                base, path, bodies, connections=CLIENTS, seconds=self.plan.seconds, cores=cores,
                skip=repeat * len(bodies) // max(1, self.plan.repeats),
            )  # fmt: skip
        outcome.looked_at.append(spot.verdict(self._spot_truth))
        if met.bad_answers or met.broken or not met.requests:
            raise OperatorError(
                f"{met.requests} answers, {met.bad_answers} bad ones, {met.broken} broken connections"
            )
        outcome.rows_per_s.append(met.per_s)
        outcome.p99_ms.append(met.p99_ms)
        outcome.cpu_s_per_1000.append((running.process.cpu_s() - before) / met.requests * 1000)
        outcome.rss_mib = running.process.rss_mib()
        return f"{met.per_s:.0f} requests/s"

    def _closed(self, entry: Entry, repeat: int) -> str:
        assert entry.plain is not None
        load = Load(
            duration_s=self.plan.seconds, slo_s=self.work.slo_s, warm_up_s=1.0, timeout_s=60.0, seed=repeat + 1,
            pids=(entry.running.process.pid,), cpus=self.cores.load,
        )  # fmt: skip
        with Spot(entry.running, self._spot_rows) as spot:
            level = run_closed(entry.plain, load, connections=CLIENTS, fleet=self._fleet)
        outcome = entry.outcome
        outcome.looked_at.append(spot.verdict(self._spot_truth))
        outcome.rows_per_s.append(level.throughput_rps)
        outcome.p99_ms.append(level.latency_ms(99))
        outcome.refused.append(level.refused / level.requests if level.requests else 0.0)
        if level.server is not None:
            # For each right answer: a refusal is cheap, and no answer.
            used = level.server.cores / level.throughput_rps if level.ok else math.nan
            outcome.cpu_s_per_1000.append(1000 * used)
            outcome.rss_mib = level.server.rss_peak_bytes / 2**20
        return (
            f"{level.throughput_rps:.1f} rows/s, p99 {level.latency_ms(99):.0f} ms{trouble(level)}"
        )


def tell(line: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
