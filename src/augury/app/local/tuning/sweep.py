"""All layouts and batch sizes of a model, measured within a budget of time.

First every layout, from small batches to large ones, as far as each may still be chosen; then a second
look at those near the best, turn by turn, so that what disturbs the machine disturbs all of them alike.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Final

from augury.app.build import SWITCH_INTERVAL_S
from augury.app.local.tuning.plan import (
    Layout,
    Point,
    choose,
    finalists,
    is_dominated,
    plan_layouts,
    plan_rows,
    worth_going_on,
)
from augury.app.local.tuning.sample import Sample
from augury.app.local.tuning.trial import Others, Tally, Trial
from augury.core.errors import OperatorError
from augury.packages.reader import ModelPackage
from augury.pipeline.servable import ModelServable, choose_instances
from augury.runtimes.base import RuntimeOptions
from augury.runtimes.registry import RUNTIMES

# How long one point is looked at: less says little of a tail, more tells nothing new.
LOOK_S: Final = (0.05, 2.0)
# The part of the budget that the first round may plan with; the rest is for the second look.
FIRST_PART: Final = 0.65
SECOND_LOOKS: Final = 2

ReadSample = Callable[[ModelServable], Sample]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured.

    Args:
        package: The model.
        slo_s: Seconds within which answers are wanted.
        budget_s: Seconds that measuring may take.
        cores: Cores that this process may use.
        layouts: Instances and threads to try, the most promising first.
        rows: Batch sizes to try, rising.
        fixed_rows: The batch size that the model file insists on.
        current: The layout and the batch size that the package is served with now.
    """

    package: ModelPackage
    slo_s: float
    budget_s: float
    cores: int
    layouts: tuple[Layout, ...]
    rows: tuple[int, ...]
    fixed_rows: int | None
    current: tuple[Layout, int]

    @property
    def look_s(self) -> float:
        """Seconds for which each point is looked at first."""
        points = len(self.layouts) * len(self.rows)
        return min(max(FIRST_PART * self.budget_s / points, LOOK_S[0]), LOOK_S[1])


@dataclass(slots=True)
class Tuning:
    """What came of it.

    Args:
        plan: What was to be measured.
        sample: The rows that it was measured with.
        points: What was measured, in that order.
        skipped: What the budget did not reach, for people.
        seconds: How long it took.
        interrupted: Whether Ctrl-C ended it.
        first_error: Why the first batch that failed did.
        others_cores: Cores that other programs kept busy meanwhile; NaN when nobody knows.
    """

    plan: Plan
    sample: Sample
    points: list[Point] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    first_error: str = ""
    others_cores: float = 0.0

    @property
    def chosen(self) -> Point | None:
        """What suits the model best; ``None`` when nothing fits."""
        return choose(self.points, self.plan.slo_s)

    @property
    def now(self) -> Point | None:
        """What was measured of the settings that the package has now; ``None``: it was not."""
        layout, rows = self.plan.current
        found = (one for one in self.points if one.layout == layout and one.rows == rows)
        return next(found, None)


def plan_sweep(package: ModelPackage, *, slo_s: float, budget_s: float, max_rows: int) -> Plan:
    """What to measure of *package*, with batches of up to *max_rows* rows.

    Raises:
        InvalidPackage: The model file does not load.
    """
    cores = len(os.sched_getaffinity(0))
    with closing(
        RUNTIMES.get(package.runtime)(package.model_file, RuntimeOptions(threads=1, instances=1))
    ) as runtime:
        fixed = runtime.fixed_rows
    manifest = package.manifest
    instances = choose_instances(manifest.instances, cores)
    layout = Layout(instances.count, instances.threads)
    current = fixed or manifest.batching.max_rows
    return Plan(
        package,
        slo_s,
        budget_s,
        cores,
        tuple(plan_layouts(cores, layout)),
        tuple(plan_rows(max_rows, fixed, current)),
        fixed,
        (layout, current),
    )


class Sweep:
    """Measures what a plan says.

    Args:
        plan: The plan.
        read_sample: Gives the rows, once the model is loaded for the first time.
        on_begin: Told what is loaded or measured next.
        on_done: Told after each batch size, with the number of steps done of
            ``len(plan.layouts) * len(plan.rows)`` and the best so far.
    """

    def __init__(
        self,
        plan: Plan,
        read_sample: ReadSample,
        on_begin: Callable[[str], None],
        on_done: Callable[[int, Point | None], None],
    ) -> None:
        self._plan = plan
        self._read_sample = read_sample
        self._on_begin = on_begin
        self._on_done = on_done
        self._tallies: dict[tuple[Layout, int], Tally] = {}
        self._sample: Sample | None = None
        self._until_s = 0.0
        self._skipped: list[str] = []

    def run(self) -> Tuning:
        """Measure.

        Raises:
            InvalidPackage: The model cannot be served, or fails on its examples.
            OperatorError: No row to measure with, or every batch fails.
            KeyboardInterrupt: Before anything was measured; later, what was measured is returned.
        """
        started_s = time.monotonic()
        self._until_s = started_s + self._plan.budget_s
        interrupted = False
        others = Others()
        with _as_served():
            try:
                self._first_round()
                for _ in range(SECOND_LOOKS):
                    self._look_again()
            except KeyboardInterrupt:
                if self._sample is None or not self._points():
                    raise
                interrupted = True
        assert self._sample is not None  # noqa: S101 - the first layout is always loaded
        points = self._points()
        errors = [tally.first_error for tally in self._tallies.values() if tally.first_error]
        if not any(point.batches for point in points):
            raise OperatorError(
                f"{self._plan.package.name}: every batch of {self._sample.source} failed; the first: "
                f"{errors[0] if errors else 'none was computed'}"
            )
        return Tuning(
            self._plan,
            self._sample,
            points,
            self._skipped,
            time.monotonic() - started_s,
            interrupted,
            errors[0] if errors else "",
            others.cores(),
        )

    def _first_round(self) -> None:
        for number, layout in enumerate(self._plan.layouts):
            done = number * len(self._plan.rows)
            if self._sample is not None and time.monotonic() >= self._until_s:
                self._skipped.append(str(layout))
                continue
            with self._trial(layout) as trial:
                self._climb(trial, layout, done)
            self._on_done(done + len(self._plan.rows), self._best())

    def _climb(self, trial: Trial, layout: Layout, done: int) -> None:
        """Measure one layout, from small batches to large ones, as long as that is worth it."""
        own: list[Point] = []
        for rows in self._plan.rows:
            if not worth_going_on(own, self._plan.slo_s) or is_dominated(own, self._points()):
                return
            if own and time.monotonic() >= self._until_s:
                self._skipped.append(f"{layout} from {rows} rows on")
                return
            own.append(self._look(trial, layout, rows, self._plan.look_s))
            done += 1
            self._on_done(done, self._best())

    def _look_again(self) -> None:
        """Measure those near the best once more, layout by layout."""
        near = finalists(self._points(), self._plan.slo_s)
        layouts = dict.fromkeys(point.layout for point in near)
        for layout in layouts:
            if time.monotonic() >= self._until_s:
                return
            with self._trial(layout) as trial:
                for point in near:
                    left_s = self._until_s - time.monotonic()
                    if point.layout == layout and left_s > LOOK_S[0]:
                        seconds = min(self._plan.look_s, left_s)
                        self._look(trial, layout, point.rows, seconds)

    def _look(self, trial: Trial, layout: Layout, rows: int, seconds: float) -> Point:
        assert self._sample is not None  # noqa: S101 - read before anything is measured
        tally = self._tallies.setdefault((layout, rows), Tally(layout, rows))
        window = self._plan.package.manifest.batching.window_of(rows)
        # A slow model is looked at for longer, as long as the budget lasts.
        most_s = max(seconds, self._until_s - time.monotonic())
        trial.measure(tally, self._sample.batches(rows, window), seconds, most_s)
        return tally.point()

    @contextmanager
    def _trial(self, layout: Layout) -> Iterator[Trial]:
        self._on_begin(f"{self._plan.package.name}, {layout} threads")
        with closing(Trial(self._plan.package, layout)) as trial:
            if self._sample is None:
                if self._plan.package.manifest.examples:
                    trial.servable.warm_up()
                self._sample = self._read_sample(trial.servable)
            yield trial

    def _points(self) -> list[Point]:
        points = [tally.point() for tally in self._tallies.values()]
        return [point for point in points if point.batches or point.failed]

    def _best(self) -> Point | None:
        return choose(self._points(), self._plan.slo_s)


@contextmanager
def _as_served() -> Iterator[None]:
    """Threads take turns as often as in the server."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)
