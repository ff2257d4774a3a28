"""Rising rates: the highest that holds, and what comes beyond."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from augury.bench.load.arrivals import Arrivals, Trace
from augury.bench.load.fleet import Fleet
from augury.bench.results import Level, Sweep
from augury.bench.running.level import Load, Tell, run_closed, run_open, watcher_of
from augury.bench.running.rest import Rest
from augury.bench.sweep import BEYOND, FIRST_PART, search
from augury.bench.workload import Workload
from augury.core.errors import OperatorError

# A search asks at no rate so low that enough requests would take longer.
LONGEST_S: Final = 300.0
# The highest rate beyond is asked for so many times as long: to see whether memory grows.
OVERLOAD_TIMES: Final = 3.0


def sweep(
    workload: Workload,
    load: Load,
    *,
    rates: Sequence[float] | None = None,
    arrivals: Arrivals = "poisson",
    cv2: float = 1.0,
    trace: Trace | None = None,
    beyond: Sequence[float] = BEYOND,
    precision: float = 0.05,
    tell: Tell | None = None,
    on_level: Callable[[Level], None] | None = None,
) -> Sweep:
    """Rising rates: the highest with 99 % of all requests in time, and what comes beyond.

    What was measured is returned even when Ctrl-C, or a server that has gone, ends it early.

    Args:
        workload: What is asked.
        load: How, at each rate; with an SLO.
        rates: These; ``None``: doubled from a quarter of what a short closed loop reaches, until one does not hold,
            then in between, to *precision*; then *beyond*, the last of them three times as long.
        arrivals: See :func:`run_open`.
        cv2: Likewise.
        trace: Likewise.
        beyond: Multiples of the sustainable rate to measure as well.
        precision: How near the highest rate that held and the lowest that did not must come.
        tell: Is told how far it is.
        on_level: Is given each level when it is over.

    Raises:
        OperatorError: No SLO, or no connection or a failing worker before any level was over.
    """
    if load.slo_s is None:
        raise OperatorError("a sweep needs an SLO: it looks for the highest rate that holds it")
    levels: list[Level] = []
    interrupted, failure = False, ""
    try:
        with Fleet(load.processes) as fleet:
            run = _Rising(workload, load, arrivals, cv2, trace, tell, on_level, fleet, levels)
            if rates is not None:
                run.each(sorted(rates))
            else:
                run.search(precision, beyond)
    except (_InterruptedError, KeyboardInterrupt):
        interrupted = True
    except OperatorError as error:
        if not levels:
            raise
        failure = error.message
    levels.sort(key=lambda one: one.offered_rps)
    held = [one.offered_rps for one in levels if one.holds]
    return Sweep(tuple(levels), load.slo_s, max(held, default=None), interrupted, failure)


class _InterruptedError(Exception):
    """Ctrl-C ended a level early."""


@dataclass
class _Rising:
    workload: Workload
    load: Load
    arrivals: Arrivals
    cv2: float
    trace: Trace | None
    tell: Tell | None
    on_level: Callable[[Level], None] | None
    fleet: Fleet
    levels: list[Level]

    def __post_init__(self) -> None:
        self._rest = Rest(watcher_of(self.workload, self.load))
        self._rest.learn()

    def each(self, rates: Sequence[float]) -> None:
        for number, rate in enumerate(rates):
            if number:
                self._rest.wait()
            self._measure(rate, self.load.duration_s)

    def search(self, precision: float, beyond: Sequence[float]) -> None:
        load = self.load
        probe = replace(load, duration_s=min(3.0, load.duration_s), warm_up_s=1.0)
        reached = run_closed(
            self.workload,
            probe,
            connections=max(16, load.processes),
            tell=self.tell,
            fleet=self.fleet,
        )
        if reached.interrupted:
            raise _InterruptedError
        lowest = load.least_requests / max(load.duration_s, LONGEST_S)
        first = max(reached.throughput_rps * FIRST_PART, lowest)
        found = search(self._holds, first, precision=precision, lowest_rps=lowest)
        for times in beyond if found else ():
            longer = OVERLOAD_TIMES if times == max(beyond) else 1.0
            self._rest.wait()
            self._measure((found or 0) * times, longer * load.duration_s)

    def _holds(self, rate_rps: float) -> bool:
        duration_s = max(self.load.duration_s, self.load.least_requests / rate_rps)
        self._rest.wait()
        level = self._measure(rate_rps, duration_s)
        if not level.holds and level.generator_limit:
            # A load that came late says nothing of the server: once more, and that counts.
            self.levels.remove(level)
            self._rest.wait()
            level = self._measure(rate_rps, duration_s)
        return level.holds

    def _measure(self, rate_rps: float, duration_s: float) -> Level:
        level = run_open(
            self.workload,
            replace(self.load, duration_s=duration_s),
            rate_rps=rate_rps,
            arrivals=self.arrivals,
            cv2=self.cv2,
            trace=self.trace,
            tell=self.tell,
            fleet=self.fleet,
        )
        self.levels.append(level)
        if self.on_level is not None:
            self.on_level(level)
        if level.interrupted:
            raise _InterruptedError
        return level
