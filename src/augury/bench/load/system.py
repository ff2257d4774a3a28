"""What a worker asks of the system."""

from __future__ import annotations

import os


def raise_file_limit(wanted: int) -> None:
    """Let this process have *wanted* sockets, as far as the system lets it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    goal = wanted + 64
    if soft != resource.RLIM_INFINITY and soft < goal:
        most = goal if hard == resource.RLIM_INFINITY else min(goal, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def stay_on(cpu: int | None) -> None:
    """Keep this process on one core."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
