"""Start to ready, memory, and CPU while idle, of `augury serve` with the bundled application.

python -m benchmarks.start [--runs 7]
"""

from __future__ import annotations

import argparse
import statistics
import time

from benchmarks.server import serving


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    ready = []
    for _ in range(args.runs):
        with serving() as server:
            ready.append(server.ready_s)
            rss = server.rss_mib()
    with serving() as server:
        before, idle_s = server.cpu_s(), 5.0
        time.sleep(idle_s)
        idle = (server.cpu_s() - before) / idle_s
    print(
        f"ready in {statistics.median(ready):.2f} s, median of {args.runs} ({min(ready):.2f} to {max(ready):.2f}; "
        f"bar 1.5); {rss:.0f} MiB resident (bar 250); {100 * idle:.1f} % of a core while idle"
    )


if __name__ == "__main__":
    main()
