"""The manager's way to servables: a version is loaded, has answered its examples, and its files held still."""

from __future__ import annotations

import os

from augury.batching.budget import CpuBudget
from augury.batching.hop import measure_hop_s
from augury.core.clock import Clock
from augury.core.errors import InvalidPackage
from augury.observe.metrics import Metrics
from augury.packages.digest import content_digest, file_stamps
from augury.packages.reader import ModelPackage
from augury.pipeline.costs import CostBook
from augury.pipeline.servable import ModelServable


class ServableLoader:
    """Loads and warms up; the manager's way to servables.

    Args:
        clock: Monotonic time.
        metrics: Where batches are counted.
        share_answers: Whether answers are remembered where other processes find them.
        remembers: Whether this process has room for answers.
        costs: Where what batches cost is kept between starts; ``None``: nowhere.
    """

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        *,
        share_answers: bool = False,
        remembers: bool = True,
        costs: CostBook | None = None,
    ) -> None:
        self._budget = CpuBudget(len(os.sched_getaffinity(0)), clock)
        self._costs = costs
        self._hop_s: float | None = None  # measured when the first model is loaded
        self._clock = clock
        self._metrics = metrics
        self._share_answers = share_answers
        self._remembers = remembers

    def load(self, package: ModelPackage, generation: int) -> ModelServable:
        """A servable that has answered its examples.

        Raises:
            InvalidPackage: The package cannot be served.
        """
        table = package.manifest.cache
        sharing = self._share_answers and table.enabled and table.store
        # The stamps first: a file that is replaced while the digest is read is noticed below.
        stamps = file_stamps(package) if sharing else ()
        content = content_digest(package) if sharing else None
        if self._hop_s is None:
            self._hop_s = measure_hop_s()
        servable = ModelServable(
            package,
            generation,
            clock=self._clock,
            metrics=self._metrics,
            content=content,
            remembers=self._remembers,
            budget=self._budget,
            hop_s=self._hop_s,
            costs=self._costs,
        )
        servable.warm_up()
        if sharing and file_stamps(package) != stamps:
            raise InvalidPackage(
                "its files changed while they were loaded; move a version into the repository when "
                "it is whole",
                path=str(package.path),
            )
        return servable
