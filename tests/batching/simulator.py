"""A server in virtual time: arrivals, a queue, a policy, instances that take as long as a formula says.

Deterministic by its seed; a second of a busy server passes in about a tenth.  What it leaves out is all
that is not scheduling: sockets, the event loop, the interpreter's lock.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from augury.batching.cost import CostModel
from augury.batching.policies.base import BatchDone, Load, PolicyContext
from augury.batching.policies.registry import make_policy
from augury.batching.queue import RowQueue
from augury.batching.watch import INTERVAL_S
from augury.packages.manifest import BatchingTable


@dataclass(eq=False, slots=True)
class Piece:
    """Some rows of one request."""

    rows: int = 1
    deadline_s: float | None = None
    gone: bool = False
    length: int = 0
    priority: int = 1
    enqueued_s: float = 0.0
    ended_s: float | None = None

    def abandoned(self) -> bool:
        return self.gone


@dataclass(frozen=True, slots=True)
class Truth:
    """What batches really take: the formula of the cost model, noise, and a stall now and then."""

    a: float
    d: float
    b: float = 0.0
    c: float = 0.0
    noise: float = 0.08
    stalls: float = 0.001

    def mean(self, rows: int, length: int) -> float:
        size = length or 1
        return self.a + rows * (self.d + size * (self.b + size * self.c))

    def __call__(self, rng: random.Random, rows: int, length: int) -> float:
        stall = 5.0 if rng.random() < self.stalls else 1.0
        return self.mean(rows, length) * rng.lognormvariate(0.0, self.noise) * stall

    def capacity(self, instances: int, seed: int = 1) -> float:
        """Rows a second of loops without a server over tweets as they come, at the best batch size."""
        rng = random.Random(seed)
        lengths = [tweet_length(rng) if self.b else 0 for _ in range(4096)]
        best = 0.0
        for rows in (1, 2, 4, 8, 16, 32, 64):
            batches = [lengths[start : start + rows] for start in range(0, 4096, rows)]
            best = max(best, 4096 / sum(self.mean(rows, max(batch)) for batch in batches))
        return instances * best


def tweet_length(rng: random.Random) -> int:
    """Tokens of a tweet: 24 in the median, 5 to 100."""
    return min(max(5, round(rng.lognormvariate(3.2, 0.45))), 100)


@dataclass(slots=True)
class Outcome:
    """What became of the requests."""

    seconds: float
    slo_s: float
    offered: int = 0
    refused: int = 0
    given_up: int = 0  # taken in, and told before it was computed that it would be late
    stopped: int = 0  # batches that were stopped, since nobody wanted them any longer
    in_time: int = 0
    answered: list[float] = field(default_factory=list)  # latencies
    batches: list[tuple[str, int]] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Answers in time, a second."""
        return self.in_time / self.seconds

    @property
    def part_in_time(self) -> float:
        """Of all that were offered, refused ones too."""
        return self.in_time / max(1, self.offered)

    def latency(self, quantile: float) -> float:
        """Of those that were taken in; who was given up counts as late."""
        ordered = sorted(self.answered) + [10 * self.slo_s] * self.given_up
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


class Server:
    """A model with its queue and instances.

    Args:
        policy: Name.
        truth: What batches take.
        instances: How many run at once.
        seed: Of everything random.
        dispatch_s: What a batch costs an instance besides.
        cost: A model that has learnt already.
        stops: Whether a batch is stopped when all its deadlines have passed.
        table: Further keys of ``[batching]``.
    """

    def __init__(
        self,
        policy: str,
        truth: Truth,
        *,
        instances: int = 2,
        seed: int = 7,
        dispatch_s: float = 0.0001,
        cost: CostModel | None = None,
        stops: bool = True,
        **table: Any,
    ) -> None:
        self.truth = truth
        self.rng = random.Random(seed)
        self.cost = cost or CostModel()
        settings = BatchingTable(policy=policy, **table)
        self.policy = make_policy(PolicyContext(settings, settings.max_rows, self.cost))
        self.queue: RowQueue[Piece] = RowQueue(settings.max_queue_rows)
        self.now_s = 0.0
        self._instances = instances
        self._stops = stops
        self._dispatch_s = dispatch_s
        self._busy: dict[int, float] = {}  # instance to when it will probably be free
        self._events: list[tuple[float, int, Any]] = []
        self._number = itertools.count()
        self._timer_s = float("inf")

    def warm_up(self) -> None:
        """What a server does when it loads a model."""
        for rows, length in itertools.product((1, 2, 4), (8, 16, 32, 64) if self.truth.b else (0,)):
            for _ in range(2):
                self.cost.observe(rows, length, self.truth(self.rng, rows, length))

    def serve(self, pieces: Iterator[Piece], slo_s: float, *, skip_s: float = 0.0) -> Outcome:
        """Let *pieces* come in the order of their ``enqueued_s``; those before *skip_s* do not count."""
        outcome = Outcome(0.0, slo_s)
        for piece in pieces:
            self._advance(piece.enqueued_s, outcome, skip_s)
            counts = piece.enqueued_s >= skip_s
            outcome.offered += counts
            outcome.seconds = piece.enqueued_s - skip_s
            if self.policy.admit(
                piece, self.queue, self._load(), self.now_s
            ) is not None or not self.queue.fits(piece.rows):
                outcome.refused += counts
                continue
            self.queue.push(piece, self.policy.urgency(piece))
            self._dispatch(outcome, skip_s)
        self._advance(float("inf"), outcome, skip_s)
        return outcome

    def _load(self) -> Load:
        busy = sorted(max(self.now_s, free_s) for free_s in self._busy.values())
        return Load(self._instances, tuple(busy))

    def _advance(self, until_s: float, outcome: Outcome, skip_s: float) -> None:
        while True:
            ended_s = self._events[0][0] if self._events else float("inf")
            if min(ended_s, self._timer_s) > until_s or min(ended_s, self._timer_s) == float("inf"):
                break
            if self._timer_s < ended_s:
                self.now_s, self._timer_s = self._timer_s, float("inf")
            else:
                self.now_s, _, (instance, *batch) = heapq.heappop(self._events)
                del self._busy[instance]
                self._end(tuple(batch), outcome, skip_s)
            self._dispatch(outcome, skip_s)
        if until_s < float("inf"):
            self.now_s = until_s

    def _end(
        self, ended: tuple[list[Piece], int, float, bool], outcome: Outcome, skip_s: float
    ) -> None:
        batch, length, took_s, stopped = ended
        rows = sum(piece.rows for piece in batch)
        predicted_s = self.cost.predict(rows, length)
        began_s = self.now_s - took_s
        self.cost.observe(rows, length, took_s, began_s=began_s, at_least=stopped)
        queue_s = began_s - batch[0].enqueued_s
        self.policy.observed(
            BatchDone(rows, length or 1, predicted_s, took_s, queue_s, began_s, stopped)
        )
        if stopped:
            outcome.stopped += 1
            outcome.given_up += sum(piece.enqueued_s >= skip_s for piece in batch)
            return
        for piece in batch:
            piece.ended_s = self.now_s
            if piece.enqueued_s >= skip_s:
                outcome.answered.append(self.now_s - piece.enqueued_s)
                outcome.in_time += self.now_s - piece.enqueued_s <= outcome.slo_s

    def _dispatch(self, outcome: Outcome, skip_s: float) -> None:
        while len(self._busy) < self._instances:
            dead = self.queue.drop_dead(self.now_s)
            outcome.given_up += sum(piece.enqueued_s >= skip_s for piece in dead)
            if not self.queue:
                return
            choice = self.policy.choose(self.queue, self._load(), self.now_s)
            outcome.given_up += sum(piece.enqueued_s >= skip_s for piece in choice.hopeless)
            if not choice.batch:
                if choice.look_again_s is None or choice.look_again_s > self.now_s:
                    self._timer_s = (
                        float("inf") if choice.look_again_s is None else choice.look_again_s
                    )
                    return
                continue
            rows = sum(piece.rows for piece in choice.batch)
            length = max(piece.length for piece in choice.batch)
            took_s = self.truth(self.rng, rows, length)
            outcome.batches.append((choice.reason, rows))
            instance = next(n for n in range(self._instances) if n not in self._busy)
            expected_s = self.cost.predict(rows, length) if self.cost.known else took_s
            self._busy[instance] = self.now_s + expected_s
            took_s, stopped = self._until_stopped(choice.batch, took_s)
            ended_s = self.now_s + took_s + self._dispatch_s
            heapq.heappush(
                self._events,
                (ended_s, next(self._number), (instance, choice.batch, length, took_s, stopped)),
            )

    def _until_stopped(self, batch: list[Piece], took_s: float) -> tuple[float, bool]:
        """How long *batch* is let run that takes *took_s*, and whether it is stopped then."""
        if not self._stops:
            return took_s, False
        deadlines = [piece.deadline_s for piece in batch]
        latest_s = max(float("inf") if one is None else one for one in deadlines)
        wanted_s = latest_s - self.now_s + INTERVAL_S / 2
        return (wanted_s, True) if wanted_s < took_s else (took_s, False)


def tweets(
    rate: float,
    seconds: float,
    *,
    slo_s: float | None,
    cv2: float = 1.0,
    seed: int = 11,
    start_s: float = 0.0,
    lengths: bool = True,
    priority: int = 1,
) -> Iterator[Piece]:
    """Single rows at gaps of the gamma distribution, whose squared coefficient of variation is *cv2*."""
    rng = random.Random(seed)
    now_s = start_s
    while True:
        now_s += rng.gammavariate(1.0 / cv2, cv2 / rate)
        if now_s >= start_s + seconds:
            return
        yield Piece(
            deadline_s=None if slo_s is None else now_s + slo_s,
            length=tweet_length(rng) if lengths else 0,
            enqueued_s=now_s,
            priority=priority,
        )


def hindsight(truth: Truth, rate: float, seconds: float, *, slo_s: float, cv2: float) -> float:
    """The part of all requests that about the best schedule in hindsight answers in time.

    One machine of twice the speed takes the place of two, wastes nothing on padding, and pays for a batch
    once in eight rows.  Whenever a newcomer would be late, the longest of those that wait is
    thrown out (Moore's rule), though it had been let in.
    """
    waiting: list[float] = []
    last_s, offered, lost = 0.0, 0, 0
    for piece in tweets(rate, seconds, slo_s=slo_s, cv2=cv2):
        passed_s, last_s = piece.enqueued_s - last_s, piece.enqueued_s
        while waiting and passed_s > 0.0:
            done_s = min(passed_s, waiting[0])
            waiting[0] -= done_s
            passed_s -= done_s
            if waiting[0] <= 0.0:
                del waiting[0]
        offered += 1
        waiting.append(truth.mean(8, piece.length) / 16)
        own_s = truth.mean(1, piece.length)
        while len(waiting) > 1 and sum(waiting[:-1]) + own_s > slo_s:
            longest = max(range(1, len(waiting)), key=waiting.__getitem__)
            newest = longest == len(waiting) - 1
            del waiting[longest]
            lost += 1
            if newest:
                break
    return 1.0 - lost / offered
