"""What a reader should know before believing a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from augury.bench.results import Level, Sweep
from augury.bench.workload import Workload

# With fewer, 99 % of them in time says little.
FEW_REQUESTS: Final = 300
# Answers that cannot have cost nothing.
_SURELY_COST: Final = 1000


def warnings_of(result: Level | Sweep, workload: Workload) -> list[str]:
    """Sentences; none when all is as it should be."""
    found = []
    if result.generator_limit:
        found.append(
            f"the generator, not the server, may be what was measured: {result.generator_limit}"
        )
    levels = result.levels if isinstance(result, Sweep) else (result,)
    told = max((one.in_flight for one in levels if one.in_flight > 1), default=0.0)
    if few := workload.few_distinct(told):
        found.append(few)
    if isinstance(result, Sweep) and (small := _small(result.whole)):
        found.append(
            f"at {', '.join(small)} requests/s fewer than {FEW_REQUESTS} were sent, of which 99 % says little; "
            "a longer --duration sends more"
        )
    if unseen := _unseen(levels):
        found.append(unseen)
    return found


def _small(levels: Sequence[Level]) -> list[str]:
    return [
        f"{one.rate_rps or one.offered_rps:,.4g}" for one in levels if one.requests < FEW_REQUESTS
    ]


def _unseen(levels: Sequence[Level]) -> str:
    for level in levels:
        use = level.server
        if use is not None and not use.cpu_s and level.answered_inside >= _SURELY_COST:
            pids = ", ".join(map(str, use.pids)) or "which have ended"
            return (
                f"the processes that were watched ({pids}) used no CPU time for "
                f"{level.answered_inside:,} answers: others must have given them"
            )
    return ""
