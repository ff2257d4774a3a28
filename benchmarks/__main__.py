"""All benchmarks, one after another, and the table of the peers at the end (`make bench`).

    python -m benchmarks [--only start,peers] [--skip peers] [options of benchmarks.peers]

What it does not know goes to ``benchmarks.peers``: `make bench ARGS="--quick"`, `make bench ARGS="--only peers --works tweets"`.
Without the peers it takes about a quarter of an hour, with them an hour and a half, with ``--quick`` half an hour.  One
that fails does not keep the others from running; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

NAMES = ("start", "overhead", "cache", "tight_loop", "fairness", "overload", "peers")


def commands(arguments: Sequence[str]) -> list[list[str]]:
    """What is run, each as a module and its arguments.

    Raises:
        SystemExit: An unknown name.

    >>> commands(["--only", "start,peers", "--quick"])
    [['benchmarks.start'], ['benchmarks.peers', '--quick']]
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--only", help=",".join(NAMES))
    parser.add_argument("--skip", help="some of the same", default="")
    known, rest = parser.parse_known_args(arguments)
    only = known.only.split(",") if known.only else list(NAMES)
    skip = [name for name in known.skip.split(",") if name]
    if unknown := sorted({*only, *skip} - set(NAMES)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    names = [name for name in NAMES if name in only and name not in skip]
    if rest and "peers" not in names:
        parser.error(f"{' '.join(rest)} is for peers, which are left out")
    return [[f"benchmarks.{name}", *(rest if name == "peers" else ())] for name in names]


def main() -> None:
    failed = []
    for command in commands(sys.argv[1:]):
        print(f"== {' '.join(command)}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], check=False).returncode:
            failed.append(command[0])
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
