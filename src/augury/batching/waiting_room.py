"""Who comes in, who is called next, and who is told that there is no time for them.

Around the queue and the policy, for one version.  Pure: no lock, no thread; the scheduler passes the time
in, holds its lock while it asks, and carries the decisions out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from augury.batching.cost import CostModel
from augury.batching.execution import Ledger, too_late
from augury.batching.lag import LoopLag
from augury.batching.policies.base import BatchDone, BatchPolicy, Choice, Load, Waiting
from augury.batching.policies.company import by_length
from augury.batching.queue import RowQueue
from augury.batching.work import Delivery, Work, deliver
from augury.core.errors import DeadlineExceeded, Overloaded
from augury.observe.logs import get_logger

# A full queue is searched for abandoned work at most this often: the search takes 0.1 ms for 1,000
# pieces, and refusing must stay cheap when many are refused.
SWEEP_INTERVAL_S: Final = 0.01
# A policy that waits and does not say for how long is asked again after this.
LOOK_AGAIN_S: Final = 1.0
# Weight of the newest batch in what a row usually takes.
SMOOTHING: Final = 0.1
# After so many refused pieces of one request its others are not asked for: refusing must stay cheap.
MOST_REFUSALS: Final = 16
# What something takes is told so that this part of its kind take less.
TAKES_QUANTILE: Final = 0.95
# Callers are told that the event loop is behind from here on.
TELL_LAG_S: Final = 0.01
# The window from which a batch is made when no policy is asked.
WINDOW: Final = 64

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Least:
    """The least work that there can be; nobody waits for it."""

    deadline_s: float | None
    priority: int
    enqueued_s: float
    length: int
    rows: int = 1

    def abandoned(self) -> bool:
        return True


class WaitingRoom:
    """The queue of one version, and the policy that calls from it.

    Args:
        name: The model, for messages.
        policy: Decides when waiting rows become a batch.
        cost: Learns what batches take; the policy may hold the same.
        max_rows: Rows of a batch at most.
        max_queue_rows: Rows that may wait; more is refused.
        ledger: Where those who are turned away are counted.
    """

    def __init__(
        self,
        name: str,
        policy: BatchPolicy,
        cost: CostModel,
        *,
        max_rows: int,
        max_queue_rows: int,
        ledger: Ledger,
    ) -> None:
        self.queue: RowQueue[Work] = RowQueue(max_queue_rows)
        self._row_s = 0.0  # what a row usually takes; only for the hint of a full queue
        self._name = name
        self._policy = policy
        self._cost = cost
        self._max_rows = max_rows
        self._ledger = ledger
        self._next_sweep_s = 0.0
        self._policy_failed = False
        self._lag = LoopLag()

    def deliver(self, deliveries: Sequence[Delivery], handed_s: float, now_s: float) -> None:
        """What an instance handed over at *handed_s* has come to the event loop, which is this thread."""
        self._lag.seen(now_s - handed_s, now_s)
        deliver(deliveries)

    def lag_s(self, now_s: float) -> float:
        """How far the event loop is behind."""
        return self._lag.at(now_s)

    def take_in(self, works: Sequence[Work], load: Load, now_s: float) -> list[Delivery]:
        """Let those of *works* wait that can be in time; all of them or none where the queue is full.

        Returns:
            Who cannot be in time, or had to make room, and what they are told.

        Raises:
            Overloaded: As many rows wait as may, or none of *works* can be in time.
        """
        queue, policy = self.queue, self._policy
        rows = works[0].rows if len(works) == 1 else sum([work.rows for work in works])
        room = queue.fits(rows)
        if not room and now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + SWEEP_INTERVAL_S
            gone = queue.drop_abandoned()
            late = sum([work.late(now_s) for work in gone])
            self._ledger.shed("expired", late)
            self._ledger.shed("abandoned", len(gone) - late)
            room = queue.fits(rows)
        pushed: list[Work] = []
        urgencies: list[float] = []
        refused: list[tuple[Work, Overloaded]] = []
        refusal: Overloaded | None = None
        try:
            for work in works:
                work.enqueued_s = now_s
                if len(refused) < MOST_REFUSALS:
                    wait_s = policy.admit(work, queue, load, now_s)
                    refusal = None if wait_s is None else self._refusal(work, wait_s, load, now_s)
                if refusal is not None:
                    refused.append((work, refusal))
                    continue
                urgencies.append(policy.urgency(work))
                queue.push(work, urgencies[-1])
                pushed.append(work)
            if refused:
                self._ledger.shed("admission", len(refused))
                if not pushed:
                    raise refused[0][1]
            if room or queue.rows <= queue.max_rows:
                return [*refused]
            admitted = pushed.copy()
            queue.remove(pushed)
            pushed.clear()
            told = self._make_room(sum([work.rows for work in admitted]), admitted, load)
            for work, urgency in zip(admitted, urgencies, strict=True):
                queue.push(work, urgency)
            return [*refused, *told]
        except BaseException:  # a policy of another package may raise anything
            queue.remove(pushed)
            raise

    def turn_away(
        self, deadline_s: float, priority: int, least: int, load: Load, now_s: float
    ) -> None:
        """Refuse who could not be in time with a row of length *least*, before more is done for them.

        Under overload most are refused, and what was done for them before is taken from the others.

        Raises:
            Overloaded: They cannot be in time.
        """
        if not (self.queue or load.free_at_s) or not self._cost.known:
            return
        least_work = _Least(deadline_s, priority, now_s, least)
        # What does not fit into an idle machine either is told when its length is known.
        if self._cost.tail(least_work.rows, least_work.length) >= deadline_s - now_s:
            return
        wait_s = self._policy.admit(least_work, self.queue, load, now_s)
        if wait_s is not None and math.isfinite(wait_s):
            self._ledger.shed("admission")
            raise self._refusal(least_work, wait_s, load, now_s)

    def call_next(
        self, load: Load, now_s: float, *, closing: bool
    ) -> tuple[Choice[Work], list[Delivery]]:
        """What an idle instance is to do, and who is told that there is no time for them.

        With *closing*, nothing waits for company any longer.
        """
        queue = self.queue
        before = len(queue)
        expired = queue.drop_dead(now_s)
        gone = before - len(queue)
        if gone:
            self._ledger.shed("expired", len(expired))
            self._ledger.shed("abandoned", gone - len(expired))
        if not queue:
            return Choice([]), [(work, too_late(self._name)) for work in expired]
        choice = self._ask_policy(load, now_s, closing=closing)
        if not choice.batch and queue and choice.look_again_s is None:
            choice = Choice([], hopeless=choice.hopeless, look_again_s=now_s + LOOK_AGAIN_S)
        self._ledger.shed("hopeless", len(choice.hopeless))
        told: list[Delivery] = [(work, too_late(self._name)) for work in expired]
        told += [(work, self._hopeless(work, now_s)) for work in choice.hopeless]
        return choice, told

    def learn(self, batch: BatchDone) -> None:
        """A batch has been computed."""
        self._cost.observe(
            batch.rows,
            batch.length,
            batch.runtime_s,
            began_s=batch.began_s,
            at_least=batch.stopped,
        )
        if not batch.stopped:
            self._row_s += SMOOTHING * (batch.runtime_s / batch.rows - self._row_s)
        try:
            self._policy.observed(batch)
        except Exception as error:  # noqa: BLE001 - a policy of another package
            self._tell_failure(error)

    def _ask_policy(self, load: Load, now_s: float, *, closing: bool) -> Choice[Work]:
        """The policy's choice; at the end, and if the policy fails, whatever waits."""
        queue, failed = self.queue, False
        taken: list[Work] = []
        queue.removed = taken
        try:
            choice = self._policy.choose(queue, load, now_s)
            if len(taken) != len(choice.batch) + len(choice.hopeless):
                raise RuntimeError(
                    f"it took {len(taken)} pieces of work, for a batch of {len(choice.batch)} and "
                    f"{len(choice.hopeless)} that are hopeless"
                )
        except Exception as error:  # noqa: BLE001 - as above
            self._tell_failure(error)
            choice, failed = Choice([]), True
            for work in taken:
                queue.push(work, -math.inf)  # nobody is lost
        finally:
            queue.removed = None
        if choice.batch or not (failed or closing) or not queue:
            return choice
        batch, _ = by_length(queue.window(WINDOW), self._max_rows, 1.0)
        queue.remove(batch)
        return Choice(batch, "drain" if closing else "idle", choice.hopeless)

    def _tell_failure(self, error: Exception) -> None:
        if not self._policy_failed:
            self._policy_failed = True
            _log.error("batching policy failed", model=self._name, exc_info=error)

    def _make_room(self, rows: int, works: Sequence[Work], load: Load) -> list[Delivery]:
        """Turn work of lower priority away.

        Raises:
            Overloaded: There is too little of it.
        """
        queue = self.queue
        waiting = queue.rows
        evicted = queue.evict(rows, max(work.priority for work in works))
        # One second at least: a finer hint would only synchronise the callers.
        wait_s = max(1.0, waiting * self._row_s / load.instances)
        facts = {
            "waiting_rows": waiting,
            "limit_rows": queue.max_rows,
            "retry_after_s": round(wait_s, 1),
        }
        full = (
            f"{waiting} rows wait for {self._name}, the limit is {queue.max_rows} "
            "([batching] max_queue_rows)"
        )
        if not evicted:
            self._ledger.shed("queue_full", len(works))
            raise Overloaded(f"{full}; retry later", **facts)
        self._ledger.shed("evicted", len(evicted))
        error = Overloaded(f"{full}, and more urgent work came; retry later", **facts)
        return [(work, error) for work in evicted]

    def _refusal(self, work: Waiting, wait_s: float, load: Load, now_s: float) -> Overloaded:
        """What is told to whom cannot be in time."""
        rows = self.queue.rows
        left_s = None if work.deadline_s is None else work.deadline_s - now_s
        allowed = "" if left_s is None else f" within the {left_s:.3g} s that are left"
        facts: dict[str, float | None] = {
            "waiting_rows": rows,
            "deadline_in_s": None if left_s is None else round(left_s, 4),
        }
        if not math.isfinite(wait_s):
            # However little waits: no hint when to ask again.
            takes_s = self._cost.tail(work.rows, work.length, TAKES_QUANTILE)
            facts["predicted_s"] = round(takes_s, 4) if math.isfinite(takes_s) else None
            about = f" about {takes_s:.3g} s" if math.isfinite(takes_s) else " too long"
            return Overloaded(
                f"{self._name} takes{about} for this, which makes no answer{allowed}; allow more time",
                **facts,
            )
        facts["predicted_s"] = None if left_s is None else round(left_s + wait_s, 4)
        behind = f", and the server is {load.lag_s:.2g} s behind" if load.lag_s > TELL_LAG_S else ""
        return Overloaded(
            f"{rows} rows wait for {self._name}{behind}: too much for an answer{allowed}; retry in "
            f"{wait_s:.3g} s, or allow more time",
            retry_after_s=round(wait_s, 4),
            **facts,
        )

    def _hopeless(self, work: Work, now_s: float) -> DeadlineExceeded:
        """What is told to whom can no longer be in time."""
        left_s = 0.0 if work.deadline_s is None else work.deadline_s - now_s
        takes_s = self._cost.predict(work.rows, work.length)
        return DeadlineExceeded(
            f"{self._name} takes about {takes_s:.3g} s for this, and {left_s:.3g} s were left when its "
            "turn came; allow more time, or ask when less waits",
            predicted_s=round(takes_s, 4),
            deadline_in_s=round(left_s, 4),
        )
