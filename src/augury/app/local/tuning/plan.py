"""What is tried, what is not worth trying, and which of what was measured is chosen.

Pure: measurements come in as :class:`Point`, so that every rule can be tested on a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from augury.packages.manifest import BatchingTable

# A row that comes just after a batch began waits for that one, and then for its own.
WAIT_FACTOR: Final = 2.0
# Rates that differ by less are the same: a shared machine is not steadier, and a server saves more than
# that by larger batches, since it pays for each what a tight loop does not (docs/decisions/0006-instances.md).
TIE: Final = 0.08
# Of fewer batches the p99 is the longest of a handful, which says nothing of the hundredth answer.
LEAST_BATCHES: Final = 20
# What `[instances]` allows; more cores than that are shared by what is allowed.
MAX_COUNT: Final = 256

# A layout is given up when it lets through less than this part of another's rows, at the same size...
_WORTH: Final = 0.75
# ...and its batches are not quicker than this part of the other's either.
_QUICKER: Final = 0.9
# Past its peak: twice in a row below this part of the layout's best.
_PAST: Final = 0.85


@dataclass(frozen=True, slots=True, order=True)
class Layout:
    """Batches at once, and threads of each; what ``[instances]`` says."""

    count: int
    threads: int

    @property
    def total(self) -> int:
        """Threads that compute when all instances are busy."""
        return self.count * self.threads

    def __str__(self) -> str:
        return f"{self.count} × {self.threads}"


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured of one layout with batches of one size.

    Args:
        layout: Instances and threads.
        rows: Rows of a batch.
        batches: How many were computed.
        failed: How many more failed.
        rows_per_s: Rows of all instances together.
        p50_s: Median time of a batch.
        p99_s: The time that 99 % of the batches stay under; with fewer than 100, the longest.
        memory_bytes: What the process grew by, from before the model was loaded.
    """

    layout: Layout
    rows: int
    batches: int
    failed: int
    rows_per_s: float
    p50_s: float
    p99_s: float
    memory_bytes: int

    @property
    def latency_s(self) -> float:
        """What an answer takes at worst, in 99 of 100 cases: one batch under way, then its own."""
        return WAIT_FACTOR * self.p99_s

    def promises(self, slo_s: float) -> bool:
        """Whether answers came within *slo_s*, of however few batches, and none failed."""
        return not self.failed and self.batches > 0 and self.latency_s <= slo_s

    def fits(self, slo_s: float) -> bool:
        """Whether answers come within *slo_s*, as enough batches have shown, and none failed."""
        return self.batches >= LEAST_BATCHES and self.promises(slo_s)


def plan_layouts(cores: int, current: Layout) -> list[Layout]:
    """Layouts to try on *cores* cores, the most promising first.

    All cores with 1, 2, 4 … threads an instance, what is set now, half the instances (memory, and room
    for others), and two that ask for more threads than there are cores.

    >>> [str(one) for one in plan_layouts(2, Layout(2, 1))]
    ['2 × 1', '1 × 2', '1 × 1', '2 × 2', '3 × 1']
    """
    threads = [1 << power for power in range(cores.bit_length()) if 1 << power < cores] + [cores]
    full = [Layout(cores // one, one) for one in threads]
    half = [Layout(cores // one // 2, one) for one in threads if cores // one > 1]
    over = [Layout(cores, 2), Layout(cores + max(1, cores // 2), 1)]
    allowed = [
        Layout(min(one.count, MAX_COUNT), min(one.threads, MAX_COUNT))
        for one in (*full[:1], current, *full[1:], *half, *over)
    ]
    return list(dict.fromkeys(allowed))


def plan_rows(most: int, fixed: int | None = None, current: int = 1) -> list[int]:
    """Batch sizes to try: powers of two up to *most*, *most* itself, and the *current* one.

    >>> plan_rows(64, current=48)
    [1, 2, 4, 8, 16, 32, 48, 64]
    >>> plan_rows(64, fixed=4)
    [4]
    """
    if fixed is not None:
        return [fixed]
    sizes = {1 << power for power in range(most.bit_length()) if 1 << power <= most}
    return sorted(sizes | {most} | {size for size in (current,) if size <= most})


def worth_going_on(points: Sequence[Point], slo_s: float) -> bool:
    """Whether larger batches of the layout of *points*, rising in rows, may still be chosen."""
    if not points:
        return True
    last = points[-1]
    # The median, not the tail: one slow batch on a busy machine proves nothing.
    if not last.batches or WAIT_FACTOR * last.p50_s > slo_s:
        return False
    best = max(point.rows_per_s for point in points)
    return len(points) < 3 or max(point.rows_per_s for point in points[-2:]) >= _PAST * best


def is_dominated(points: Sequence[Point], others: Sequence[Point]) -> bool:
    """Whether some other layout does better at every size that *points*, two at least, have.

    Better is: many more rows a second, with batches that are about as quick.
    """
    if len(points) < 2:
        return False
    known: dict[Layout, dict[int, Point]] = {}
    for other in others:
        known.setdefault(other.layout, {})[other.rows] = other
    own = points[0].layout
    return any(
        all(
            (rival := sizes.get(point.rows)) is not None
            and point.rows_per_s < _WORTH * rival.rows_per_s
            and point.p50_s > _QUICKER * rival.p50_s
            for point in points
        )
        for layout, sizes in known.items()
        if layout != own
    )


def choose(points: Sequence[Point], slo_s: float) -> Point | None:
    """The most rows a second among those that fit; ``None`` when none does.

    Of those within 8 % of the most: the fewest threads, then the least memory (in steps of 64 MiB: an
    allocator that reuses what it has makes it uncertain), then the largest batch.
    """
    fitting = [point for point in points if point.fits(slo_s)]
    if not fitting:
        return None
    most = max(point.rows_per_s for point in fitting)
    return min(
        (point for point in fitting if point.rows_per_s >= (1 - TIE) * most),
        key=lambda point: (point.layout.total, point.memory_bytes >> 26, -point.rows, point.p99_s),
    )


def finalists(points: Sequence[Point], slo_s: float, limit: int = 4) -> list[Point]:
    """Those that a second look may make the choice: near the best, or near fitting.

    While nothing fits: those whose median would, so that it is more than a few slow batches that decides.
    """
    fitting = [point.rows_per_s for point in points if point.fits(slo_s)]
    if not fitting:
        hopeful = [
            point for point in points if point.batches and WAIT_FACTOR * point.p50_s <= slo_s
        ]
        return sorted(hopeful, key=lambda point: point.latency_s)[:limit]
    bar = 0.9 * max(fitting)
    near = [point for point in points if point.promises(1.2 * slo_s) and point.rows_per_s >= bar]
    return sorted(near, key=lambda point: -point.rows_per_s)[:limit]


def fastest(points: Sequence[Point]) -> Point | None:
    """The one whose answers come soonest; ``None`` when no batch was answered."""
    answered = [point for point in points if point.batches and not point.failed]
    return min(answered, key=lambda point: point.latency_s, default=None)


def best_of_each(points: Sequence[Point], slo_s: float) -> list[Point]:
    """For each layout the point that would be chosen of it alone, or else its quickest."""
    layouts = dict.fromkeys(point.layout for point in points)
    best = []
    for layout in layouts:
        own = [point for point in points if point.layout == layout]
        found = choose(own, slo_s) or fastest(own) or own[0]
        best.append(found)
    return best


def changes_for(
    chosen: Point, slo_s: float, table: BatchingTable, *, fixed: bool, deadline: bool
) -> dict[str, dict[str, int | float]]:
    """What ``model.toml`` should say: table to key to value.

    Args:
        chosen: The point that was chosen.
        slo_s: What was asked for.
        table: ``[batching]`` as it is.
        fixed: Whether the model file insists on its batch size; then there is none to set.
        deadline: Whether requests without a deadline shall have *slo_s*.
    """
    batching: dict[str, int | float] = {}
    if not fixed:
        batching["max_rows"] = chosen.rows
    # These policies steer by the time of a batch, the others by the deadlines of requests.
    if table.policy in ("aimd", "quantile"):
        batching["objective_s"] = slo_s / WAIT_FACTOR
    if deadline:
        batching["deadline_s"] = slo_s
    changes: dict[str, dict[str, int | float]] = {
        "instances": {"count": chosen.layout.count, "threads": chosen.layout.threads}
    }
    return {**changes, "batching": batching} if batching else changes
