"""Measure a server: at one rate, with so many connections, or at rising rates.

::

    from augury.bench.run import Load, prepare, run_closed, run_open, sweep

    workload = prepare("http://127.0.0.1:8000", model="tweet-sentiment", texts=["Good night"], slo_s=0.1)
    load = Load(duration_s=10, slo_s=0.1, cpus=(1,))
    print(run_closed(workload, load, connections=32).throughput_rps)
    print(run_open(workload, load, rate_rps=400, arrivals="gamma", cv2=4).good_share)
    print(sweep(workload, load).sustainable_rps)

All block; run them from the main thread, so that Ctrl-C ends a run early with what was measured.
"""

from __future__ import annotations

from augury.bench.results import Level, Sweep
from augury.bench.running.level import Load, Tell, run_closed, run_open
from augury.bench.running.rising import sweep
from augury.bench.workload import Workload, prepare

__all__ = [
    "Level",
    "Load",
    "Sweep",
    "Tell",
    "Workload",
    "prepare",
    "run_closed",
    "run_open",
    "sweep",
]
