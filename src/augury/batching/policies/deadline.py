"""As many answers inside their deadline as the cores can give, with no knob to turn.

Late binding (Clockwork: Gujarati et al., OSDI 2020; Nexus: Shen et al., SOSP 2019, have it too): rows wait
until an instance is idle, and only then is it decided what goes together.  Earliest deadline first (Liu and
Layland, JACM 1973), with companions of like length for as long as the cost model says that computing them
together is cheaper than apart, and early enough for the tightest of their deadlines.  Work that cannot be
in time is refused, as it comes or at the latest before it is computed.

``docs/batching.md`` derives the rules.  Each constant has its reason beside it.
"""

from __future__ import annotations

import math
from typing import Final

from augury.batching.policies.base import BatchDone, Choice, Load, PolicyContext, W, Waiting
from augury.batching.policies.company import by_length, take
from augury.batching.queue import RowQueue

# A distant deadline counts as one in so many seconds: who may wait an hour must not wait it.
MOST_PATIENCE_S: Final = 10.0
# Estimates are those that so many batches stay under. With 0.99, rare stalls of the machine, as every shared
# one has, become part of each estimate: in the simulator, where two in a hundred batches take five times as
# long, a steep model at two thirds of its load then loses a quarter of the answers, with 0.95 a sixteenth.
TAIL: Final = 0.95
# What a batch costs besides its runtime: two changes of thread and the delivery. One row a batch served
# 0.77, four to eight 0.91 of a tight loop of 2 x 530 rows/s: (1/0.77 - 1/0.91) / 530 = 0.4 ms, of which a
# part is the runtime's own.
DISPATCH_S: Final = 0.0002
# A batch is long enough when at most this part of it is what a batch costs regardless of its rows: more
# rows would only wait for each other.
ENOUGH: Final = 0.03
# One more row must be cheaper by this part in company: below it is the error of the model.
LEAST_GAIN: Final = 0.01
# With other instances idle, more than a fair share only where it makes the batch this much longer at most.
SHARE_GAIN: Final = 0.1
# From the end of a batch to the caller, at most a part of what is left: the event loop's turn.
DELIVERY_S: Final = 0.002
DELIVERY_PART: Final = 0.1
# Waiting: at most this part of what a batch costs regardless of its rows, for each further row ...
WAIT_PART: Final = 0.02
# ... and at most so many times, and where a row that comes in time saves at least twice what waiting costs.
WAIT_TIMES: Final = 5
WAIT_GAIN: Final = 2.0
# Weight of a new gap between rows: seven in a row prove a burst.
GAP_WEIGHT: Final = 0.1
WAIT_PROBABILITY: Final = 0.5
# Estimates of the time until work begins are taken so many times: rises whenever work that was let in is
# found to be too late, and falls with each batch that finds none, so that one in 1 / TARGET does. By
# batches, not by pieces: one stall of the machine makes many late, and tells nothing about the next.
FIRST_MARGIN: Final = 1.05
MOST_MARGIN: Final = 3.0
MARGIN_STEP: Final = 0.02
TARGET: Final = 0.005
# ... and with time, so that a bad minute is forgotten in the next one or two: what is above 1 falls to 1/e.
MARGIN_FADE_S: Final = 30.0
# Weight of a new batch in what padding and rows of a batch come to.
PACE_WEIGHT: Final = 0.05
# What could never be in time is tried all the same when nothing like it has been computed for a second, or
# for fifty times its cost (2 % of an instance): the estimate may be wrong, and nothing else would tell.
PROBE_S: Final = 1.0
PROBE_TIMES: Final = 50.0
# What is only predicted is not believed beyond this pause; what the last one really took, up to the second.
MOST_PROBE_S: Final = 10.0
MOST_TAKEN_PROBE_S: Final = 300.0
# A batch that was so many times as quick as predicted says that the estimate is wrong.
GLOOMY: Final = 1.5
# A batch makes so many times the pace of its first row alone, where that row is given up for it.
COSTLY: Final = 2.0
# Work at the front that is given up in one go; the scheduler asks again.
MOST_HOPELESS: Final = 256


class DeadlineFirst:
    """The default policy."""

    def __init__(self, context: PolicyContext) -> None:
        table = context.table
        self._cost = context.cost
        self._max_rows = context.max_rows
        self._window = table.window_of(context.max_rows)
        self._max_padding = table.max_padding
        self._ageing_s = table.ageing_s
        self._patience_s = table.patience_s
        self._margin = FIRST_MARGIN
        self._margin_s = math.inf  # when it was looked at last
        self._padding = 1.0  # smoothed: what rows cost in batches, to what they cost unpadded
        self._typical_rows = float(context.max_rows)  # smoothed: of a batch when more waits
        self._last_arrival_s: float | None = None
        self._after_lull = True  # whether the gap before the last arrival was a long one
        self._followed = [0.0, 0.0]  # smoothed: how often a short gap follows [short, long]
        # Shape in powers of two to when it ran, what it took then, and to a probe that was let in.
        self._tried_s: dict[tuple[int, int], float] = {}
        self._took_s: dict[tuple[int, int], float] = {}
        self._probes: dict[tuple[int, int], Waiting] = {}
        self._allowed_s: dict[tuple[int, int], float] = {}  # what a probe may take that runs

    @property
    def margin(self) -> float:
        """How many times the estimated wait is reckoned with, as learnt from what came too late."""
        return self._margin

    def urgency(self, work: Waiting) -> float:
        self._note_arrival(work.enqueued_s)
        return self._due_s(work, work.enqueued_s)

    def admit(self, work: Waiting, queue: RowQueue[W], load: Load, now_s: float) -> float | None:
        deadline_s, cost = work.deadline_s, self._cost
        if deadline_s is None or not cost.known:
            return None
        own_s = self._need_s(work, deadline_s - now_s)
        if own_s > _left(deadline_s - now_s):
            return None if deadline_s > now_s and self._let_probe_in(work, now_s) else math.inf
        # It has waited in its socket as well.
        left_s = _left(deadline_s - now_s - load.lag_s, load.lag_s)
        ahead = queue.ahead(self._due_s(work, now_s))
        ahead_s = self._padding * cost.rows_s(ahead.rows, ahead.lengths, ahead.squares)
        batches = min(float(ahead.pieces), ahead.rows / self._typical_rows)
        ahead_s += batches * (cost.coefficients.a + DISPATCH_S)
        late_s = self._margin_at(now_s) * _start(load, ahead_s, now_s) + own_s - left_s
        return None if late_s <= 0.0 else late_s

    def choose(self, queue: RowQueue[W], load: Load, now_s: float) -> Choice[W]:
        if not self._cost.known:
            window = queue.window(self._window)
            return take(queue, *by_length(window, self._max_rows, self._max_padding))
        hopeless: list[W] = []
        late = False
        while (head := queue.first()) is not None:
            if self._is_hopeless(head, load, now_s):
                # Those that never fitted tell nothing about the time that others have to wait.
                late = late or self._fits(head, head.enqueued_s)
            elif self._is_costly(head, queue, load, now_s):
                late = True
            else:
                break
            queue.remove([head])
            hopeless.append(head)
            if len(hopeless) >= MOST_HOPELESS:
                return Choice([], hopeless=tuple(hopeless), look_again_s=now_s)
        self._learn_margin(now_s, late=late)
        if head is None:
            return Choice([], hopeless=tuple(hopeless))
        batch, reason, until_s = self._gather(head, queue, load, now_s)
        if until_s is not None:
            return Choice([], hopeless=tuple(hopeless), look_again_s=until_s)
        queue.remove(batch)
        return Choice(batch, reason, tuple(hopeless))

    def observed(self, batch: BatchDone) -> None:
        shape = _shape(batch.rows, batch.length)
        self._took_s[shape] = batch.runtime_s
        allowed_s = self._allowed_s.pop(shape, 0.0)
        if not batch.stopped and batch.runtime_s < max(allowed_s, batch.predicted_s / GLOOMY):
            # The cost model needs a few more like this one to believe it: let the next one come at once.
            self._tried_s.clear()
            self._took_s.clear()
            self._probes.clear()

    def _due_s(self, work: Waiting, came_s: float) -> float:
        if work.deadline_s is None:
            due_s = came_s + self._patience_s
        else:
            due_s = min(work.deadline_s, came_s + MOST_PATIENCE_S)
        return due_s + work.priority * self._ageing_s

    def _is_hopeless(self, work: Waiting, load: Load, now_s: float) -> bool:
        if work.deadline_s is None or self._fits(work, now_s, load.lag_s):
            return False
        # Late for having waited, or would it have been late in any case?
        return self._fits(work, work.enqueued_s) or not self._is_due(work, now_s)

    def _fits(self, work: Waiting, from_s: float, lag_s: float = 0.0) -> bool:
        """Whether *work* alone, begun at *from_s*, would be in time."""
        if work.deadline_s is None:
            return True
        need_s = self._need_s(work, work.deadline_s - work.enqueued_s)
        return need_s <= _left(work.deadline_s - from_s, lag_s)

    def _need_s(self, work: Waiting, allowed_s: float) -> float:
        """What *work* alone takes, of the *allowed_s* that it had as it came.

        What nearly all of its kind take; but where that never fits, and what they take in the mean does,
        the latter: with a scatter like that half of the answers are better than none, and than scatter
        that nobody measures any more.
        """
        cost = self._cost
        tail_s = cost.tail(work.rows, work.length, TAIL)
        if tail_s <= _left(allowed_s):
            return tail_s
        return cost.predict(work.rows, work.length)

    def _is_costly(self, head: W, queue: RowQueue[W], load: Load, now_s: float) -> bool:
        """Whether *head* could be in time only alone, and others would be late for it.

        With a backlog of many batches, one that must be small for its first deadline delays all that
        wait, so that the next is in the same need: the server would end up computing single rows.  Half
        of the batch that is long enough must fit, where that makes twice the pace (Nexus calls it early
        drop).
        """
        if head.deadline_s is None or queue.rows <= 2 * head.rows:
            return False
        left_s = _left(head.deadline_s - now_s, load.lag_s)
        cost = self._cost
        row_s = cost.row_s(head.length)
        fixed_s = cost.coefficients.a + DISPATCH_S
        most = float(self._max_rows)
        if row_s * most > fixed_s:
            most = min(most, max(1.0, fixed_s / (row_s * ENOUGH)))
        half = most / 2.0
        if half <= head.rows or queue.rows < most:
            return False
        batch_s = fixed_s + half * row_s
        if half * (fixed_s + row_s * head.rows) < COSTLY * head.rows * batch_s:
            return False
        return batch_s * cost.spread(head.length, TAIL) > left_s

    def _is_due(self, work: Waiting, now_s: float) -> bool:
        """Whether to try something like *work* although it is said to be too slow."""
        shape = _shape(work.rows, work.length)
        took_s = self._took_s.get(shape)
        if took_s is None:
            pause_s = self._cost.predict(work.rows, work.length) * PROBE_TIMES
            pause_s = min(pause_s, MOST_PROBE_S)
        else:
            pause_s = min(took_s * PROBE_TIMES, MOST_TAKEN_PROBE_S)
        return now_s - self._tried_s.get(shape, -math.inf) >= max(PROBE_S, pause_s)

    def _let_probe_in(self, work: Waiting, now_s: float) -> bool:
        """Whether to let *work* in as a probe: one at a time, and the pause begins when it runs."""
        shape = _shape(work.rows, work.length)
        last = self._probes.get(shape)
        if last is not None and not last.abandoned() and (last.deadline_s or 0.0) > now_s:
            return False  # it waits, or runs
        if not self._is_due(work, now_s):
            return False
        self._probes[shape] = work
        return True

    def _gather(
        self, head: W, queue: RowQueue[W], load: Load, now_s: float
    ) -> tuple[list[W], str, float | None]:
        """The batch of *head*, why nothing else is in it, and until when to wait for more, if so."""
        cost, max_rows = self._cost, self._max_rows
        rows, longest = head.rows, head.length
        apart_s = cost.row_s(longest) * rows  # what the rows cost, unpadded
        fixed_s = cost.coefficients.a + DISPATCH_S
        predicted_s = cost.predict(rows, longest)
        spread = cost.spread(longest, TAIL)
        tightest_s = _left_s(head, load, now_s)
        probe_s = None
        if tightest_s < predicted_s:
            # A probe: its own deadline is past saving, as far as is known.
            probe_s, tightest_s = tightest_s, math.inf
        # With other instances idle, each takes its share, unless together is nearly as quick.
        share_rows = max_rows if load.idle <= 1 else -(-queue.rows // load.idle)
        share_s = predicted_s
        batch, reason = [head], "idle"
        others = queue.window(self._window)[1:] if len(queue) > 1 else []
        if longest:
            others.sort(key=lambda work: abs(work.length - head.length))
        for work in others:
            if fixed_s <= ENOUGH * (predicted_s + DISPATCH_S):
                reason = "gain"
                break
            total, longer = rows + work.rows, max(longest, work.length)
            if total > max_rows:
                reason = "full"
                break
            together_s = cost.predict(total, longer)
            row_s = cost.row_s(work.length) * work.rows
            # Padding is measured in time: where a row costs little, it may be long.
            if together_s * (1.0 - self._max_padding) > fixed_s + apart_s + row_s:
                reason = "padding"
                break
            if total > share_rows and together_s > (1.0 + SHARE_GAIN) * share_s:
                break
            if together_s - predicted_s > (1.0 - LEAST_GAIN) * (fixed_s + row_s):
                reason = "gain"
                break
            if longer > longest:
                spread = cost.spread(longer, TAIL)
            tighter_s = min(tightest_s, _left_s(work, load, now_s))
            if together_s * spread > tighter_s:
                reason = "deadline"
                continue  # another one may be less in a hurry
            batch.append(work)
            rows, longest, predicted_s = total, longer, together_s
            tightest_s, apart_s = tighter_s, apart_s + row_s
            if total <= share_rows:
                share_s = together_s
        if rows >= max_rows:
            reason = "full"
        waited = False
        if len(batch) == len(queue):
            until_s = self._worth_waiting(batch, rows, longest, tightest_s, now_s)
            if until_s is not None and until_s > now_s:
                return batch, reason, until_s
            waited = until_s is not None and reason == "idle"
        else:
            self._learn_pace(rows, predicted_s, apart_s)
        shape = _shape(head.rows, head.length)
        self._tried_s[shape] = now_s
        self._probes.pop(shape, None)
        shape = _shape(rows, longest)
        self._tried_s[shape] = now_s
        if probe_s is not None:
            self._allowed_s[shape] = probe_s
        return batch, "timeout" if waited else reason, None

    def _worth_waiting(
        self, batch: list[W], rows: int, longest: int, tightest_s: float, now_s: float
    ) -> float | None:
        """Until when a batch of all that waits gains by waiting for more; ``None``: it does not.

        What it costs whatever its rows is saved with each row that comes in time; *rows* wait for it.
        """
        fixed_s = self._cost.coefficients.a
        wait_s = WAIT_PART * fixed_s
        probability = self._followed[self._after_lull]
        if (
            probability < WAIT_PROBABILITY
            or rows >= self._max_rows
            or WAIT_GAIN * rows * wait_s > probability * fixed_s
        ):
            return None
        came_s = [work.enqueued_s for work in batch]
        until_s = min(max(came_s) + wait_s, min(came_s) + WAIT_TIMES * wait_s)
        most_rows = min(2 * rows, self._max_rows)
        if until_s - now_s + self._cost.tail(most_rows, longest, TAIL) > tightest_s:
            return None
        return until_s

    def _note_arrival(self, came_s: float) -> None:
        """Learn whether rows come in bursts: is a gap short after a short one, after a long one?"""
        last_s, self._last_arrival_s = self._last_arrival_s, came_s
        if last_s is None or came_s <= last_s or not self._cost.known:
            return  # of one request: they were never apart
        short = came_s - last_s <= WAIT_PART * self._cost.coefficients.a
        self._followed[self._after_lull] += GAP_WEIGHT * (short - self._followed[self._after_lull])
        self._after_lull = not short

    def _learn_margin(self, now_s: float, *, late: bool) -> None:
        step = MARGIN_STEP * ((1.0 - TARGET) if late else -TARGET)
        self._margin = min(max(self._margin_at(now_s) + step, 1.0), MOST_MARGIN)
        self._margin_s = now_s

    def _margin_at(self, now_s: float) -> float:
        passed_s = max(0.0, now_s - self._margin_s)
        return 1.0 + (self._margin - 1.0) * math.exp(-passed_s / MARGIN_FADE_S)

    def _learn_pace(self, rows: int, predicted_s: float, apart_s: float) -> None:
        """Learn from a batch that left some waiting what batches are like under load."""
        self._typical_rows += PACE_WEIGHT * (rows - self._typical_rows)
        if apart_s > 0.0:
            padding = (predicted_s - self._cost.coefficients.a) / apart_s
            self._padding += PACE_WEIGHT * (padding - self._padding)


def _left(left_s: float, lag_s: float = 0.0) -> float:
    """What is left of *left_s* for a batch, once the answer's way back is taken off.

    It takes as long as the event loop is behind, if that is longer than usual.
    """
    return left_s - max(min(DELIVERY_S, DELIVERY_PART * left_s), lag_s)


def _left_s(work: Waiting, load: Load, now_s: float) -> float:
    return math.inf if work.deadline_s is None else _left(work.deadline_s - now_s, load.lag_s)


def _shape(rows: int, length: int) -> tuple[int, int]:
    """A batch's size in powers of two; there are a few hundred at most."""
    return rows.bit_length(), (length or 1).bit_length()


def _start(load: Load, ahead_s: float, now_s: float) -> float:
    """Seconds until an instance is free for a newcomer, when *ahead_s* of work goes before it.

    The work is poured over the instances like water: the one that is free first takes it, until the
    next one is free too.

    >>> _start(Load(2, (10.0,)), 3.0, 0.0)  # the idle one does all three seconds
    3.0
    >>> _start(Load(2, (1.0, 2.0)), 3.0, 0.0)
    3.0
    """
    level_s = 0.0 if load.idle else max(0.0, load.free_at_s[0] - now_s)
    pouring = load.idle or 1
    for free_at_s in load.free_at_s[0 if load.idle else 1 :]:
        free_s = max(0.0, free_at_s - now_s)
        room_s = (free_s - level_s) * pouring
        if room_s >= ahead_s:
            break
        ahead_s -= room_s
        level_s, pouring = free_s, pouring + 1
    return level_s + ahead_s / pouring
