"""Try every setting of every peer for a few seconds, and keep the best (``python -m benchmarks.peers --search``).

For each peer and work: all its settings are started, a closed loop of 32 clients goes round them twice, those that reach three
quarters of the best are asked for their goodput (Poisson), in short runs, and what was found goes into ``servers/NAME/setting.json``,
which belongs to the tree: whoever measures later takes it from there.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from augury.bench.load.fleet import Fleet
from augury.bench.run import Load, run_closed
from augury.core.errors import OperatorError
from benchmarks.peers import machine
from benchmarks.peers.cores import listed, share
from benchmarks.peers.measure import CLIENTS, PORT, Measurement, tell
from benchmarks.peers.open_loop import OpenLoop
from benchmarks.peers.outcome import Entry, Outcome, Plan
from benchmarks.peers.peer import Peer
from benchmarks.peers.running import NotMeasured, Running
from benchmarks.peers.setting import Tried, write
from benchmarks.peers.works import Work

ROUNDS = 2
SECONDS = 2.5
# Below this part of the most rows a second a setting is not asked for its goodput.
WORTH = 0.75
PLAN = Plan(levels=5, decisive=3, long=(100, 3.0, 6.0))


def search(work: Work, peers: list[Peer], cache: Path) -> None:
    """Find the best setting of each of *peers* for *work*."""
    truth = Measurement(work, [], PLAN, cache)
    truth.load_truth()
    cores = share(os.sched_getaffinity(0), work.kind)
    for peer in peers:
        if len(peer.tried) < 2 or (peer.works and work.name not in peer.works):
            continue
        entries: dict[str, Entry] = {}
        try:
            with Fleet(1) as fleet:
                loop = OpenLoop(PLAN, work.slo_s, cores.load, fleet)
                for number, setting in enumerate(peer.tried):
                    try:
                        running = Running(
                            peer, work, cache, folder=cache / "run" / f"{peer.name}-{number}",
                            port=PORT + 4 * number, cores=listed(cores.server), setting=setting,
                        )  # fmt: skip
                        entries[setting.title] = Entry(running, Outcome(peer.name, work.name))
                        running.check(truth.truth)
                        workload = running.workload(None)
                    except (NotMeasured, OperatorError, OSError, ValueError, KeyError) as error:
                        tell(f"{work.name}: {peer.name}: {setting.title}: {error}")
                        if (failed := entries.pop(setting.title, None)) is not None:
                            failed.running.stop()
                    else:
                        entries[setting.title].plain = entries[setting.title].timed = workload
                        running.process.pause()
                tried = _compare(entries, loop, cores.load, fleet, work)
        finally:
            for entry in entries.values():
                entry.running.stop()
        title = write(peer.setting_file, work.name, tried, machine.described())
        tell(f"{work.name}: {peer.name}: the best is {title or 'none: nothing could be measured'}")


def _compare(
    entries: dict[str, Entry], loop: OpenLoop, cpus: tuple[int, ...], fleet: Fleet, work: Work
) -> list[Tried]:
    for number in range(ROUNDS):
        for title, entry in entries.items():
            assert entry.plain is not None
            load = Load(
                duration_s=SECONDS,
                warm_up_s=1.0,
                timeout_s=60.0,
                seed=number + 1,
                pids=None,
                cpus=cpus,
            )
            try:
                entry.running.resume()
                level = run_closed(entry.plain, load, connections=CLIENTS, fleet=fleet)
            except (NotMeasured, OperatorError, OSError) as error:
                tell(f"{work.name}: {entry.outcome.peer}: {title}: {error}")
            else:
                entry.outcome.rows_per_s.append(level.throughput_rps)
            entry.running.process.pause()
    rates = {
        title: statistics.median(one.outcome.rows_per_s or [0.0]) for title, one in entries.items()
    }
    most = max(rates.values(), default=0.0)
    tried = []
    for title, entry in entries.items():
        goodput = None
        if rates[title] >= WORTH * most > 0:
            try:
                entry.running.resume()
                loop.goodput("poisson", entry, 0)
                goodput = entry.outcome.goodput["poisson"][0]
            except (NotMeasured, OperatorError, OSError) as error:
                tell(f"{work.name}: {entry.outcome.peer}: {title}: {error}")
            entry.running.process.pause()
        tried.append(Tried(title, rates[title], goodput))
        tell(
            f"{work.name}: {entry.outcome.peer}: {title}: {rates[title]:.0f} rows/s"
            + ("" if goodput is None else f", goodput {goodput:.0f}")
        )
    return tried
