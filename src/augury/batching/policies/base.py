"""What a batching policy decides, and what it is told.

The scheduler owns the queue, the threads and the clock.  It asks a policy three things: how urgent a
piece of work is (once, as it comes), whether it can be in time at all (once, as it comes), and, whenever
an instance is idle and something waits, what that instance is to do.  Afterwards it tells what a batch
took.  A policy is asked under the scheduler's lock, from any thread: its answers must come in
microseconds, and it must not keep the queue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from augury.batching.cost import CostModel
    from augury.batching.queue import RowQueue
    from augury.packages.manifest import BatchingTable


class Waiting(Protocol):
    """What queue and policies must know of a piece of work."""

    @property
    def rows(self) -> int:
        """Rows in it; they stay together."""

    @property
    def length(self) -> int:
        """Size along the axis that is padded in a batch; 0 when none is."""

    @property
    def priority(self) -> int:
        """0 is the most urgent; see :mod:`augury.core.request`."""

    @property
    def enqueued_s(self) -> float:
        """Monotonic time at which it came."""

    @property
    def deadline_s(self) -> float | None:
        """Monotonic time after which nobody wants the answer; may be put off while it waits."""

    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Load:
    """What the instances are doing.

    Args:
        instances: How many there are.
        free_at_s: For each busy one, the monotonic time at which it will probably be free, in rising
            order; never before now.
        lag_s: How far the event loop is behind: so long a request has waited before it was read, and so
            long its answer will wait before it is written.
    """

    instances: int
    free_at_s: tuple[float, ...] = ()
    lag_s: float = 0.0

    @property
    def idle(self) -> int:
        """Instances that have nothing to do."""
        return self.instances - len(self.free_at_s)


@dataclass(frozen=True, slots=True)
class Choice(Generic[W]):
    """What an idle instance is to do.

    Args:
        batch: To be computed together now, and no longer in the queue; empty: nothing yet.
        reason: Why it was released now and with no more in it; one of :data:`REASONS`.
        hopeless: Work that cannot be in time even if it began now; taken out of the queue, to be
            refused.
        look_again_s: With an empty *batch*, when to ask again at the latest, if nothing comes before.
    """

    batch: list[W]
    reason: str = ""
    hopeless: tuple[W, ...] = ()
    look_again_s: float | None = None


@dataclass(frozen=True, slots=True)
class BatchDone:
    """What became of a batch.

    Args:
        rows: Rows in it.
        length: Its padded length; 1 for models without a length axis.
        predicted_s: What the cost model had expected; NaN when it knew nothing yet.
        runtime_s: What it took.
        queue_s: How long the first of its pieces of work had waited.
        began_s: Monotonic time at which it began; NaN: nobody knows.
        stopped: Whether it was stopped then, since nobody wanted it any longer, and would have taken
            longer.
    """

    rows: int
    length: int
    predicted_s: float
    runtime_s: float
    queue_s: float
    began_s: float = math.nan
    stopped: bool = False


# Why a batch was released.  Values of the label `reason` of augury_batch_dispatch_total.
REASONS = (
    "idle",  # an instance was idle and took all that waited, or its share while others were idle, too
    "full",  # max_rows
    "padding",  # what else waits is of another length
    "gain",  # one more row would have cost as much here as in a batch of its own
    "deadline",  # one more would have made the tightest deadline impossible
    "objective",  # the policy's own bound, which it moves as it learns
    "timeout",  # the timer of `fixed`, `delayed`; the end of a burst in `deadline`
    "inline",  # computed on the event loop, cheaper than a way between threads
    "retry",  # a part of a batch that failed
    "drain",  # the model is being unloaded
)


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What a policy is made from.

    Args:
        table: ``[batching]`` of the model's ``model.toml``.
        max_rows: Rows of a batch at most; what the model file insists on wins over *table*.
        cost: Learns what batches take; the scheduler feeds it.
    """

    table: BatchingTable
    max_rows: int
    cost: CostModel


class BatchPolicy(Protocol):
    """Decides when waiting rows become a batch."""

    def urgency(self, work: Waiting) -> float:
        """Place in the queue, the lowest first; asked once, as *work* comes, and kept.

        A time (seconds, monotonic) in all policies, so that age makes urgent and nothing starves: a
        lower priority counts as having come, or being due, so much later.
        """

    def admit(self, work: Waiting, queue: RowQueue[W], load: Load, now_s: float) -> float | None:
        """Whether *work* can be in time.

        Returns:
            ``None``: let it wait.  Else the seconds after which asking again may succeed; infinite:
            it takes longer than it may, whatever else waits.
        """

    def choose(self, queue: RowQueue[W], load: Load, now_s: float) -> Choice[W]:
        """What an idle instance is to do; there is one, and something waits.

        Work that is abandoned or whose deadline has passed is no longer in *queue*.
        """

    def observed(self, batch: BatchDone) -> None:
        """A batch has been computed; the cost model has been told already."""


class PolicyFactory(Protocol):
    """Makes a policy for one version of a model; this is what the registry holds."""

    def __call__(self, context: PolicyContext) -> BatchPolicy:
        """A policy that has seen nothing yet."""
