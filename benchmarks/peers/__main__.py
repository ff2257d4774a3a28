"""Augury and its peers on the same work, in one run, on one machine.

Each peer runs in its own virtual environment, with the files in ``servers/NAME``; environments and models are made once and
kept in the cache.  Writes the table and the plot into ``docs/`` (between the markers of ``docs/benchmarks.md``), and all
numbers as JSON.

The whole takes about 70 minutes with everything installed, ``--quick`` about twelve.  ``--search`` tries every peer's settings
instead (about twenty minutes), and keeps the best in the tree.

    python -m benchmarks.peers [--quick | --search] [--only augury,triton] [--works identity,tweets] [--no-docs]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import shutil
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.peers import machine, plots, presearch, servers, setting, table, works
from benchmarks.peers.measure import Measurement, tell
from benchmarks.peers.outcome import Plan

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "local" / "peers.json"
QUICK = Plan(
    repeats=2,
    seconds=2.0,
    goodput_repeats=1,
    decisive=3,
    long=(200, 8.0, 12.0),
    arrivals=("poisson",),
    all_poisson=False,
    overload_s=0.0,
)
# For processes whose parents end before them: they become ours, and are still known.
_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="about twelve minutes: goodput of the best alone, no bursts, no overload, no mixed lengths",
    )
    parser.add_argument(
        "--search", action="store_true", help="try every peer's settings and keep the best of each"
    )
    parser.add_argument("--only", help=f"servers: {','.join(servers.NAMES)}")
    parser.add_argument("--works", help=f"works: {','.join(works.NAMES)}")
    parser.add_argument("--repeats", type=int, help="of the closed loop (5)")
    parser.add_argument("--goodput-repeats", type=int, help="of the climb to the highest rate (3)")
    parser.add_argument("--seconds", type=float, help="of each closed loop (3)")
    parser.add_argument(
        "--data", type=Path, help="real tweets: tab-separated, text in the last column"
    )
    parser.add_argument("--cache", "--venvs", type=Path, default=models.default_cache())
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--no-docs", action="store_true", help="print the table, leave docs/ alone")
    parser.add_argument("--table", type=Path, help="measure nothing: table and plot from this JSON")
    args = parser.parse_args()
    if args.table is not None:
        _write(json.loads(args.table.read_text(encoding="utf-8")), docs=not args.no_docs)
        return
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is missing; on Debian: apt-get install wrk util-linux")
    # So that the servers are ended whatever ends this; a shell ignores Ctrl-C for what runs behind it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    plan = QUICK if args.quick else Plan()
    plan = replace(
        plan,
        repeats=args.repeats or plan.repeats,
        goodput_repeats=args.goodput_repeats or plan.goodput_repeats,
        seconds=args.seconds or plan.seconds,
    )
    chosen = args.works.split(",") if args.works else list(works.NAMES[: 3 if args.quick else 4])
    names = args.only.split(",") if args.only else list(servers.NAMES)
    for name, known in ((chosen, works.NAMES), (names, servers.NAMES)):
        if unknown := sorted(set(name) - set(known)):
            raise SystemExit(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    if args.search:
        for name in chosen if args.works else setting.SEARCHED:
            work = works.make(name, args.cache, args.data)
            presearch.search(work, [servers.load(one) for one in names], args.cache)
        return
    began = time.monotonic()
    result: dict[str, Any] = {
        "machine": machine.describe(),
        "plan": asdict(plan),
        "data": "real tweets" if args.data else "made texts",
        "works": [],
    }
    for name in chosen:
        work = works.make(name, args.cache, args.data)
        peers = [peer for peer in map(servers.load, names) if not peer.works or name in peer.works]
        own = plan
        if name == "mixed":
            # It is there for the padding: no bursts, no overload, and the goodput of the best alone.
            own = replace(
                plan, repeats=min(3, plan.repeats), goodput_repeats=1, arrivals=("poisson",), all_poisson=False, overload_s=0.0
            )  # fmt: skip
        measurement = Measurement(work, peers, own, args.cache)
        measurement.run()
        result["works"].append(
            {
                "name": name,
                "title": work.title,
                "slo_ms": round(work.slo_s * 1000),
                "layouts": measurement.layouts,
                "cores": asdict(measurement.cores) | {"apart": measurement.cores.apart},
                "limits": measurement.limits,
                "servers": [asdict(outcome) for outcome in measurement.outcomes.values()],
            }
        )
        result["minutes"] = (time.monotonic() - began) / 60
        result["versions"] = machine.versions(args.cache, [servers.load(one) for one in names])
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(_known(result), indent=1) + "\n", encoding="utf-8")
    tell(f"done in {result['minutes']:.0f} minutes: {args.out}")
    _write(_known(result), docs=not args.no_docs)


def _known(value: Any) -> Any:
    """What was not measured is null in JSON, which has no NaN."""
    if isinstance(value, dict):
        return {name: _known(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _write(result: dict[str, Any], *, docs: bool) -> None:
    text = table.render(result, {name: servers.load(name) for name in servers.NAMES})
    print(text)
    if docs:
        plots.draw(
            result, {name: servers.load(name) for name in servers.NAMES}, ROOT / "docs" / "images"
        )
        table.insert(ROOT / "docs" / "benchmarks.md", text)


if __name__ == "__main__":
    main()
