"""One level: a server at one rate, or with so many connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from augury.bench.load.arrivals import Arrivals, Times, Trace, draw
from augury.bench.load.fleet import Fleet
from augury.bench.load.plan import Plan, Progress
from augury.bench.measure.processes import Watcher, listeners
from augury.bench.measure.tally import MAX_POINTS
from augury.bench.results import Level, Snapshot, level_of
from augury.bench.workload import Workload
from augury.core.errors import OperatorError

# In the closed loop each worker goes through so many requests in a random order.
_CLOSED_ORDER: Final = 65_536

Tell = Callable[[Snapshot], None]


@dataclass(frozen=True)
class Load:
    """How it is asked.

    Args:
        duration_s: Seconds that are measured.
        warm_up_s: Seconds before those: sent, but not measured.
        slo_s: What counts as in time; ``None``: any answer.
        timeout_s: A request without an answer after that has failed; counted from the time at which it was meant
            to go.
        seed: Decides arrivals and order.
        max_connections: In the open loop; a request that finds all busy waits.
        processes: Worker processes.
        cpus: Cores for the workers, in turn; empty: any.
        pids: The server's processes, for CPU time and memory; empty: whoever listens on its port here, with
            its children; ``None``: do not look.
        least_requests: A search asks longer at rates at which fewer than these would come: 99 % of a few says
            nothing.
    """

    duration_s: float = 10.0
    warm_up_s: float = 2.0
    slo_s: float | None = None
    timeout_s: float = 10.0
    seed: int = 1
    max_connections: int = 1000
    processes: int = 1
    cpus: tuple[int, ...] = ()
    pids: tuple[int, ...] | None = ()
    least_requests: int = 500


def run_open(
    workload: Workload,
    load: Load,
    *,
    rate_rps: float | None = None,
    arrivals: Arrivals = "poisson",
    cv2: float = 1.0,
    trace: Trace | None = None,
    tell: Tell | None = None,
    fleet: Fleet | None = None,
) -> Level:
    """Requests at their times, whatever the server does.

    Args:
        workload: What is asked.
        load: How.
        rate_rps: Requests per second on average; not needed with a *trace*, which it makes faster or slower.
        arrivals: ``poisson``, ``gamma`` (with *cv2*) or ``constant``.
        cv2: Squared coefficient of variation of the gaps, for ``gamma``.
        trace: Recorded arrivals instead; the run lasts as long as they do, ``load.duration_s`` at most.
        tell: Is told how far it is.
        fleet: Workers that are there already, of ``load.processes``.

    Raises:
        OperatorError: Neither rate nor trace, no connection, or a worker failed.
    """
    if trace is not None:
        trace = trace if rate_rps is None else trace.at_rate(rate_rps)
        rate_rps = trace.rate_rps
        measured_s = min(load.duration_s, trace.duration_s - load.warm_up_s)
        if measured_s <= 0:
            raise OperatorError(
                f"the trace lasts {trace.duration_s:g} s, the warm-up {load.warm_up_s:g} s; nothing is left"
            )
        load = replace(load, duration_s=measured_s)
        keep = trace.times < load.warm_up_s + load.duration_s
        times: Times = trace.times[keep]
        inputs = None if trace.inputs is None else trace.inputs[keep]
    else:
        if rate_rps is None or not rate_rps > 0:
            raise OperatorError(f"an open loop needs a rate above 0, not {rate_rps}")
        # Its own stream of chance, so that another number of inputs leaves the arrivals as they are.
        rng = np.random.default_rng([load.seed, 1])
        times = draw(arrivals, rate_rps, load.warm_up_s + load.duration_s, cv2=cv2, rng=rng)
        inputs = None
    which = _order(workload, load, len(times))
    if inputs is not None:
        if inputs.max() >= len(workload.requests) or inputs.min() < 0:
            raise OperatorError(
                f"the trace names input {int(inputs.max())}; there are {len(workload.requests)}, counted from 0"
            )
        which = inputs.astype(np.uint32)
    plans = [
        _plan(
            workload,
            load,
            number,
            loop="open",
            at=times[number :: load.processes].tobytes(),
            which=which[number :: load.processes].tobytes() or b"\0\0\0\0",
            connections=max(1, load.max_connections // load.processes),
        )
        for number in range(load.processes)
    ]
    title = f"{rate_rps:,.0f} requests/s" if rate_rps >= 10 else f"{rate_rps:.2g} requests/s"
    return _run(
        workload,
        load,
        plans,
        rate_rps=rate_rps,
        connections=load.max_connections,
        title=title,
        tell=tell,
        fleet=fleet,
    )


def run_closed(
    workload: Workload,
    load: Load,
    *,
    connections: int,
    tell: Tell | None = None,
    fleet: Fleet | None = None,
) -> Level:
    """So many connections, each of which sends its next request when it was answered.

    Args:
        workload: What is asked.
        load: How.
        connections: How many.
        tell: Is told how far it is.
        fleet: Workers that are there already, of ``load.processes``.

    Raises:
        OperatorError: No connection, fewer connections than processes, or a worker failed.
    """
    if connections < load.processes:
        raise OperatorError(f"{connections} connections for {load.processes} processes")
    plans = []
    for number in range(load.processes):
        skip = number * len(workload.requests) // load.processes
        which = _order(workload, load, max(len(workload.requests), _CLOSED_ORDER), number)
        share = connections // load.processes + (number < connections % load.processes)
        plans.append(
            _plan(
                workload,
                load,
                number,
                loop="closed",
                at=b"",
                which=((which + skip) % len(workload.requests)).astype(np.uint32).tobytes(),
                connections=share,
            )
        )
    title = f"{connections} connections"
    return _run(
        workload,
        load,
        plans,
        rate_rps=None,
        connections=connections,
        title=title,
        tell=tell,
        fleet=fleet,
    )


def _order(workload: Workload, load: Load, count: int, number: int = 0) -> np.ndarray[Any, Any]:
    total = len(workload.requests)
    if workload.order == "random":
        rng = np.random.default_rng([load.seed, 2, number])
        return rng.integers(0, total, count, dtype=np.uint32)
    return (np.arange(count) % total).astype(np.uint32)


def _plan(
    workload: Workload,
    load: Load,
    number: int,
    *,
    loop: Literal["open", "closed"],
    at: bytes,
    which: bytes,
    connections: int,
) -> Plan:
    family, address = workload.target.resolve() if number == 0 else (0, ("", 0))
    return Plan(
        family=family,
        address=address,
        requests=list(workload.requests),
        expects=list(workload.expects),
        dialect=workload.target.dialect.name,
        rows=workload.rows,
        check=workload.check,
        loop=loop,
        at=at,
        which=which,
        connections=connections,
        warm_up_s=load.warm_up_s,
        duration_s=load.duration_s,
        timeout_s=load.timeout_s,
        slo_s=load.slo_s,
        interval_s=max(0.25, load.duration_s / MAX_POINTS),
        cpu=load.cpus[number % len(load.cpus)] if load.cpus else None,
    )


def _run(
    workload: Workload,
    load: Load,
    plans: Sequence[Plan],
    *,
    rate_rps: float | None,
    connections: int,
    title: str,
    tell: Tell | None,
    fleet: Fleet | None,
) -> Level:
    for plan in plans[1:]:
        plan.family, plan.address = plans[0].family, plans[0].address
    watcher = watcher_of(workload, load)
    if watcher is not None:
        watcher.begin()
    end_s = load.warm_up_s + load.duration_s

    def watch(now_s: float, told: Sequence[Progress]) -> None:
        if watcher is not None:
            watcher.watch(now_s, load.warm_up_s, end_s)
        if tell is not None:
            tell(_snapshot(title, now_s, end_s, load.warm_up_s, told))

    with ExitStack() as stack:
        if fleet is None:
            fleet = stack.enter_context(Fleet(load.processes))
        tally, interrupted = fleet.run(plans, watch)
    return level_of(
        tally,
        loop="open" if rate_rps is not None else "closed",
        rate_rps=rate_rps,
        connections=connections,
        server=watcher.use() if watcher is not None else None,
        interrupted=interrupted,
    )


def watcher_of(workload: Workload, load: Load) -> Watcher | None:
    """Who looks at the server's processes; ``None`` when they are not known."""
    if load.pids is None:
        return None
    pids = load.pids or listeners(workload.target.host, workload.target.port)
    return Watcher(pids) if pids else None


def _snapshot(
    title: str, now_s: float, total_s: float, warm_up_s: float, told: Sequence[Progress]
) -> Snapshot:
    def worst(values: Sequence[float]) -> float:
        known = [value for value in values if value == value]  # noqa: PLR0124 - leaves NaN out
        return max(known, default=float("nan")) / 1e3

    return Snapshot(
        title,
        now_s,
        total_s,
        warm_up_s,
        sum(one.offered for one in told),
        sum(one.ok for one in told),
        sum(one.good for one in told),
        sum(one.refused for one in told),
        sum(one.failed for one in told),
        worst([one.p50_us for one in told]),
        worst([one.p99_us for one in told]),
    )
