"""Three times more than Augury can do: what is left of its goodput, how soon it refuses, and what memory that takes.

Augury alone, with the bundled model and without a cache: the rate that holds (99 % of all requests within the SLO), found by short
runs and confirmed by a longer one, and then three times that rate.  The generator is `augury bench`'s, a process of its own, on a
core of its own where there are three or more; with two it shares the server's, and what it tells as the time of a refusal holds its own
wait for a core, unless ``--apart`` gives each of them one.

    python -m benchmarks.overload [--package DIR] [--data FILE] [--slo-ms 100] [--seconds 30] [--rate R] [--apart]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from augury.bench.load.fleet import Fleet
from augury.bench.results import Level
from augury.bench.run import Load, Workload, prepare, run_closed, run_open
from augury.bench.sweep import search
from benchmarks import models, tweets
from benchmarks.peers.cores import Cores, share
from benchmarks.peers.search import settle_on
from benchmarks.server import Running, serving

TIMES = 3.0
BAR_KEPT, BAR_REFUSAL_MS = 0.9, 5.0


@contextmanager
def serving_on(cores: tuple[int, ...], repository: Path) -> Iterator[Running]:
    """A server of *repository* on *cores*; this process goes back to its own."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        with serving(str(repository)) as server:
            os.sched_setaffinity(0, before)
            yield server
    finally:
        os.sched_setaffinity(0, before)


def sustainable(
    plain: Workload, workload: Workload, load: Load, fleet: Fleet
) -> tuple[float, float]:
    """The rate that holds, and the most goodput that a run of any length but the shortest showed."""
    # Without a deadline: 32 clients at once have more in hand than can be in time.
    reached = run_closed(plain, replace(load, duration_s=2.0), connections=32, fleet=fleet)
    most = 0.0

    def holds(rate: float, seconds: float) -> bool:
        nonlocal most
        level = run_open(workload, replace(load, duration_s=seconds), rate_rps=rate, fleet=fleet)
        most = max(most, level.goodput_rps) if seconds > 2.5 else most
        print(
            f"{rate:7.0f}/s for {seconds:g} s: {level.good_share:7.2%} in time, p99 {level.latency_ms(99):.0f} ms"
            f"{'; ' + level.generator_limit if level.generator_limit else ''}"
        )
        return level.holds

    first = 0.5 * max(1.0, reached.throughput_rps)
    near = search(lambda rate: holds(rate, 2.0), first, precision=0.2, max_levels=4)
    found = settle_on(
        lambda rate: holds(rate, min(10.0, max(5.0, 400 / rate))), near or first / 4, most=3
    )
    return found or 0.0, most


def report(level: Level, rate: float, best: float, slo_s: float) -> dict[str, float]:
    """Print what the overload showed against its bars, and give it for JSON."""
    kept = level.goodput_rps / best
    server = level.server
    found = {
        "sustainable_rps": rate,
        "offered_rps": level.offered_rps,
        "goodput_rps": level.goodput_rps,
        "kept": kept,
        "refused_share": level.refused / level.requests,
        "refusal_p50_ms": level.refusals.percentile_us(50) / 1e3,
        "refusal_p99_ms": level.refusals.percentile_us(99) / 1e3,
        "accepted_p99_ms": level.latency_ms(99),
        "slo_ms": slo_s * 1e3,
        "rss_before_mib": server.rss_before_bytes / 2**20 if server else float("nan"),
        "rss_peak_mib": server.rss_peak_bytes / 2**20 if server else float("nan"),
        "failed": level.failed + level.wrong,
    }
    print(
        f"sustains {rate:.0f}/s; at {level.offered_rps:.0f}/s for {level.duration_s:g} s: goodput {level.goodput_rps:.0f}/s, {kept:.0%} of "
        f"the best (bar {BAR_KEPT:.0%})\n"
        f"refused {found['refused_share']:.1%}, p50 {found['refusal_p50_ms']:.1f} ms, p99 {found['refusal_p99_ms']:.1f} ms "
        f"(bar {BAR_REFUSAL_MS:g} ms); failed {found['failed']:.0f}\n"
        f"p99 of the accepted {found['accepted_p99_ms']:.0f} ms (bar {slo_s * 1e3:.0f} ms)\n"
        f"memory {found['rss_before_mib']:.0f} MiB before, {found['rss_peak_mib']:.0f} MiB at its peak"
    )
    if level.generator_limit:
        print(f"the generator may be what was measured: {level.generator_limit}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--package", type=Path, help="another package of a text classifier")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--slo-ms", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the overload")
    parser.add_argument("--rate", type=float, help="what it sustains, when that is known")
    parser.add_argument(
        "--apart", action="store_true", help="on two cores: one for the server, one for the load"
    )
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    cores: Cores = share(os.sched_getaffinity(0), "identity" if args.apart else "text")
    slo_s = args.slo_ms / 1e3
    with TemporaryDirectory() as folder:
        package = args.package or models.uncached(Path(folder))
        with serving_on(cores.server, package.resolve().parent) as server, Fleet(1) as fleet:
            texts = tweets.load(args.data, 20_000)
            plain, workload = (
                prepare(
                    server.url, dialect="native", model=package.name, texts=texts, slo_s=deadline_s, check="status"
                )
                for deadline_s in (None, slo_s)
            )  # fmt: skip
            load = Load(
                warm_up_s=1.0, slo_s=slo_s, timeout_s=5.0, pids=(server.pid,), cpus=cores.load
            )
            rate, best = (
                (args.rate, args.rate) if args.rate else sustainable(plain, workload, load, fleet)
            )
            if not rate:
                raise SystemExit(f"no rate holds {args.slo_ms:g} ms here")
            level = run_open(
                workload, replace(load, duration_s=args.seconds), rate_rps=TIMES * rate, fleet=fleet
            )
    found = report(level, rate, max(best, level.goodput_rps), slo_s)
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
