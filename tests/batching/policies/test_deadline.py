"""Tests of ``augury.batching.policies.deadline``: its rules one by one."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augury.batching.cost import CostModel
from augury.batching.policies.base import BatchDone, BatchPolicy, Load
from augury.batching.policies.deadline import (
    MOST_PATIENCE_S,
    MOST_PROBE_S,
    PROBE_S,
    DeadlineFirst,
)
from tests.batching.policies.making import IDLE, TWO_IDLE, learnt, make, queued
from tests.batching.simulator import Piece, Server, Truth, tweets

# A tenth of a second a batch, whatever is in it; a row costs a millisecond whatever its company; both.
ONCE = Truth(a=0.1, d=0.0001)
EACH = Truth(a=0.0, d=0.03)
TOKENS = Truth(a=0.004, d=0.0, b=0.0001)


def test_the_earliest_deadline_goes_first() -> None:
    """Whoever came first; work without a deadline has its patience, an hour is cut short."""
    policy = make("deadline", patience_s=0.25)
    soon = policy.urgency(Piece(enqueued_s=10.1, deadline_s=10.2))
    none = policy.urgency(Piece(enqueued_s=10.0))
    later = policy.urgency(Piece(enqueued_s=10.0, deadline_s=10.3))
    hour = policy.urgency(Piece(enqueued_s=10.0, deadline_s=3610.0))
    assert soon < none < later < hour
    assert hour - none == pytest.approx(MOST_PATIENCE_S - 0.25)


def test_while_it_knows_nothing_it_does_what_is_safe() -> None:
    """No refusals, companions of like length, no share, no waiting."""
    policy = make("deadline", max_rows=8)
    pieces = [Piece(length=n, deadline_s=1e-6) for n in (20, 90, 21, 5, 20)]
    queue = queued(policy, *pieces)
    assert policy.admit(Piece(length=20, deadline_s=1e-9), queue, Load(1, (9.0,)), 0.0) is None
    choice = policy.choose(queue, TWO_IDLE, 0.0)
    assert [piece.length for piece in choice.batch] == [20, 20, 21]
    assert (choice.reason, choice.hopeless) == ("padding", ())


def test_what_costs_the_same_goes_together() -> None:
    """Where a batch costs much and a row little, all that waits goes, up to max_rows."""
    policy = make("deadline", learnt(ONCE), max_rows=16)
    assert len(policy.choose(queued(policy, *[Piece() for _ in range(9)]), IDLE, 0.0).batch) == 9
    choice = policy.choose(queued(policy, *[Piece() for _ in range(40)]), IDLE, 0.0)
    assert (len(choice.batch), choice.reason) == (16, "full")


def test_what_gains_nothing_goes_apart() -> None:
    """Where a row costs the same in company, a batch would only make it wait."""
    policy = make("deadline", learnt(EACH))
    choice = policy.choose(queued(policy, *[Piece() for _ in range(9)]), IDLE, 0.0)
    assert (len(choice.batch), choice.reason) == (1, "gain")


def test_a_batch_is_long_enough_some_time() -> None:
    """Rows are added while what a batch costs matters beside what they cost."""
    policy = make("deadline", learnt(Truth(a=0.01, d=0.02)))
    choice = policy.choose(queued(policy, *[Piece() for _ in range(64)]), IDLE, 0.0)
    assert 12 <= len(choice.batch) <= 20
    assert choice.reason == "gain"


def test_companions_are_of_like_length() -> None:
    """A long row among short ones would make all of them long."""
    policy = make("deadline", learnt(TOKENS))
    pieces = [Piece(length=n) for n in (20, 160, 21, 19, 80, 20)]
    choice = policy.choose(queued(policy, *pieces), IDLE, 0.0)
    assert sorted(piece.length for piece in choice.batch) == [19, 20, 20, 21]
    assert choice.reason == "padding"


def test_padding_is_measured_in_time() -> None:
    """Where tokens cost nothing beside the batch, lengths do not matter."""
    policy = make("deadline", learnt(Truth(a=0.1, d=0.0001, b=1e-6)))
    choice = policy.choose(queued(policy, *[Piece(length=n) for n in (5, 160, 80)]), IDLE, 0.0)
    assert (len(choice.batch), choice.reason) == (3, "idle")


def test_idle_instances_share() -> None:
    """Two rows, two idle instances: each takes one, since both are done the sooner for it."""
    policy = make("deadline", learnt(Truth(a=0.01, d=0.01)))
    queue = queued(policy, Piece(), Piece())
    first = policy.choose(queue, TWO_IDLE, 0.0)
    assert (len(first.batch), first.reason) == (1, "idle")
    assert len(policy.choose(queue, Load(2, (0.02,)), 0.0).batch) == 1


def test_idle_instances_do_not_share_what_costs_the_same() -> None:
    """Together is as quick there, and leaves the other instance to those who come next."""
    policy = make("deadline", learnt(ONCE))
    assert len(policy.choose(queued(policy, Piece(), Piece()), TWO_IDLE, 0.0).batch) == 2


def test_company_must_not_make_the_tightest_late() -> None:
    """Rows are added only while the first can still be in time."""
    policy = make("deadline", learnt(Truth(a=0.1, d=0.01)))
    tight = Piece(deadline_s=0.2)
    queue = queued(policy, tight, *[Piece(deadline_s=2.0) for _ in range(30)])
    choice = policy.choose(queue, IDLE, 0.0)
    assert choice.batch[0] is tight
    assert 6 <= len(choice.batch) <= 10
    assert choice.reason == "deadline"


def test_the_hopeless_are_told_and_the_others_served() -> None:
    """Who waited too long to be in time is not computed; the next one is."""
    policy = make("deadline", learnt(EACH))
    hopeless = [Piece(deadline_s=0.31 + n / 1e3) for n in range(3)]
    good = Piece(deadline_s=0.5)
    queue = queued(policy, *hopeless, good)
    choice = policy.choose(queue, IDLE, 0.3)
    assert list(choice.hopeless) == hopeless
    assert choice.batch == [good]
    assert not queue


def test_nothing_but_hopeless_work() -> None:
    """Then there is no batch, and the queue is empty."""
    policy = make("deadline", learnt(EACH))
    queue = queued(policy, Piece(deadline_s=0.31))
    choice = policy.choose(queue, IDLE, 0.3)
    assert (len(choice.hopeless), choice.batch) == (1, [])
    assert not queue


def test_late_work_without_a_deadline_is_never_hopeless() -> None:
    """Nobody said when it must be done."""
    policy = make("deadline", learnt(EACH))
    assert len(policy.choose(queued(policy, Piece()), IDLE, 1e6).batch) == 1


def test_admission_reckons_with_what_is_ahead() -> None:
    """Ten rows of 30 ms before it, on one instance: 0.3 s are too few, 0.4 s are enough."""
    policy = make("deadline", learnt(EACH))
    queue = queued(policy, *[Piece(deadline_s=0.1 + n / 1e3) for n in range(10)])
    refused = policy.admit(Piece(deadline_s=0.3), queue, IDLE, 0.0)
    assert refused is not None
    assert 0.02 < refused < 0.1
    assert policy.admit(Piece(deadline_s=0.4), queue, IDLE, 0.0) is None
    # Two instances are twice as quick, and the more urgent does not wait for the less urgent.
    assert policy.admit(Piece(deadline_s=0.3), queue, TWO_IDLE, 0.0) is None
    assert policy.admit(Piece(deadline_s=0.09), queue, IDLE, 0.0) is None


def test_admission_reckons_with_what_is_under_way() -> None:
    """The first instance that will be free counts."""
    policy = make("deadline", learnt(EACH))
    queue = queued(policy)
    assert policy.admit(Piece(deadline_s=0.1), queue, Load(2, (0.02, 5.0)), 0.0) is None
    assert policy.admit(Piece(deadline_s=0.1), queue, Load(2, (0.08, 5.0)), 0.0) is not None


def test_no_deadline_no_refusal() -> None:
    """However much waits; that is for the limit of rows to say."""
    policy = make("deadline", learnt(EACH))
    queue = queued(policy, *[Piece() for _ in range(1000)])
    assert policy.admit(Piece(), queue, Load(1, (99.0,)), 0.0) is None


def test_a_single_row_does_not_wait() -> None:
    """Steady arrivals are no reason to wait, however much a batch costs: an instance is idle."""
    policy = make("deadline", learnt(ONCE))
    for now_s in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        queue = queued(policy, Piece(enqueued_s=now_s))
        assert len(policy.choose(queue, IDLE, now_s).batch) == 1


def bursts(count: int, rows: int, gap_s: float, pause_s: float) -> list[Piece]:
    """Bursts of *rows* single rows each, at a distance of *gap_s*."""
    starts = (pause_s * number for number in range(1, count + 1))
    return [
        Piece(enqueued_s=start + gap_s * row, deadline_s=start + gap_s * row + 0.5)
        for start in starts
        for row in range(rows)
    ]


def test_waiting_pays_in_bursts() -> None:
    """A client that sends 16 rows one by one, each batch costing 50 ms: after a few bursts it waits
    the millisecond in which they come, and all are answered together, the sooner for it.
    """
    truth = Truth(a=0.05, d=0.0001, noise=0.02, stalls=0.0)
    server = Server("deadline", truth, instances=1)
    server.warm_up()
    outcome = server.serve(iter(bursts(60, 16, 0.0002, 0.4)), 0.5)
    late = outcome.answered[len(outcome.answered) // 2 :]
    assert sum(late) / len(late) < 0.062  # apart: the first after 50 ms, fifteen others after 100
    assert outcome.batches[-1] == ("timeout", 16)
    eager = Server("aimd", truth, instances=1, objective_s=3.0)
    eager.warm_up()
    apart = eager.serve(iter(bursts(60, 16, 0.0002, 0.4)), 0.5)
    assert sum(late) / len(late) < 0.75 * sum(apart.answered) / len(apart.answered)


def test_no_waiting_where_the_deadline_forbids() -> None:
    """Bursts or not: who is in a hurry goes."""
    policy = make("deadline", learnt(ONCE))
    for piece in bursts(20, 8, 0.0002, 1.0):
        policy.urgency(piece)
    patient = policy.choose(queued(policy, Piece(enqueued_s=99.0, deadline_s=99.9)), IDLE, 99.0)
    assert patient.batch == []
    assert patient.look_again_s is not None
    assert 99.0 < patient.look_again_s < 99.01
    hurried = Piece(enqueued_s=199.0, deadline_s=199.1035)
    assert policy.choose(queued(policy, hurried), IDLE, 199.0).batch == [hurried]


def test_too_gloomy_an_estimate_recovers() -> None:
    """Slower by fifty times for a minute, so that nobody can be in time: when the machine is itself
    again, one row that is tried all the same shows it, and soon all are let in again.
    """
    truth = Truth(a=0.001, d=0.004, noise=0.05, stalls=0.0)
    server = Server("deadline", Truth(a=0.05, d=0.2, noise=0.05, stalls=0.0))
    server.warm_up()
    slow = server.serve(tweets(50, 60.0, slo_s=0.1, lengths=False), 0.1)
    assert slow.in_time == 0
    server.truth = truth
    start_s = server.now_s
    late = server.serve(tweets(50, 60.0, slo_s=0.1, lengths=False, start_s=start_s), 0.1)
    first = min(late.answered, default=0.0)
    assert 0.0 < first < 0.1
    assert late.refused < 50 * 20.0  # no longer than the interval between two trials
    again = server.serve(
        tweets(50, 10.0, slo_s=0.1, lengths=False, start_s=server.now_s, seed=3), 0.1
    )
    assert again.part_in_time > 0.99
    assert server.cost.predict(1, 0) == pytest.approx(truth.mean(1, 0), rel=0.3)


@pytest.mark.parametrize("stops", [False, True])
def test_the_impossible_is_tried_seldom(stops: bool) -> None:
    """Where the estimate is right, and nobody can be in time, it costs two parts in a hundred, whether
    the runtime can stop what is late or not.
    """
    truth = Truth(a=0.0, d=0.2, noise=0.05, stalls=0.0)
    server = Server("deadline", truth, instances=1, stops=stops)
    server.warm_up()
    outcome = server.serve(tweets(50, 100.0, slo_s=0.1, lengths=False), 0.1)
    assert outcome.in_time == 0
    tried = outcome.given_up if stops else len(outcome.answered)
    took_s = 0.11 if stops else 0.2
    assert 5 <= tried <= 100.0 / (50 * took_s) + 3
    assert 50 * took_s > PROBE_S


def gloomy(seconds: float) -> CostModel:
    """Says that a row takes so long."""
    return learnt(Truth(a=0.0, d=seconds))


def test_a_probe_that_leaves_is_no_probe() -> None:
    """The client of the one that was tried has gone: the next one is tried instead, at once."""
    policy = make("deadline", gloomy(1000.0))
    queue = queued(policy)
    first = Piece(deadline_s=0.5)
    assert policy.admit(first, queue, IDLE, 0.0) is None
    assert policy.admit(Piece(deadline_s=0.51), queue, IDLE, 0.01) == math.inf
    first.gone = True
    assert policy.admit(Piece(deadline_s=0.52), queue, IDLE, 0.02) is None
    # Nor is one whose time is up.
    assert policy.admit(Piece(deadline_s=0.9), queue, IDLE, 0.51) == math.inf
    assert policy.admit(Piece(deadline_s=0.9), queue, IDLE, 0.53) is None


def probed(policy: BatchPolicy, now_s: float, took_s: float, *, stopped: bool = False) -> None:
    """One row is let in at *now_s*, computed at once, and takes *took_s*."""
    piece = Piece(enqueued_s=now_s, deadline_s=now_s + 0.5)
    assert policy.admit(piece, queued(policy), IDLE, now_s) is None
    choice = policy.choose(queued(policy, piece), IDLE, now_s)
    assert choice.batch == [piece]
    policy.observed(BatchDone(1, 1, 1000.0, took_s, 0.0, now_s, stopped))


def admits(policy: BatchPolicy, now_s: float) -> bool:
    piece = Piece(enqueued_s=now_s, deadline_s=now_s + 0.5)
    return policy.admit(piece, queued(policy), IDLE, now_s) is None


def test_what_was_said_by_nobody_who_measured_it_is_not_believed_for_hours() -> None:
    """A kept file, or a wrong formula, says 1,000 s: the pause is by what the last one really took."""
    policy = make("deadline", gloomy(1000.0))
    probed(policy, 0.0, 0.5, stopped=True)
    assert not admits(policy, 50 * 0.5 - 1.0)
    assert admits(policy, 50 * 0.5 + 1.0)
    unmeasured = make("deadline", gloomy(1000.0))
    piece = Piece(deadline_s=0.5)
    unmeasured.admit(piece, queued(unmeasured), IDLE, 0.0)
    unmeasured.choose(queued(unmeasured, piece), IDLE, 0.0)
    assert not admits(unmeasured, MOST_PROBE_S - 1.0)
    assert admits(unmeasured, MOST_PROBE_S + 1.0)


def test_a_probe_that_was_in_time_brings_the_next_one() -> None:
    """Though it took hardly less than predicted: the estimate was wrong where it matters."""
    policy = make("deadline", gloomy(0.55))
    piece = Piece(deadline_s=0.5)
    assert policy.admit(piece, queued(policy), IDLE, 0.0) is None
    policy.choose(queued(policy, piece), IDLE, 0.0)
    policy.observed(BatchDone(1, 1, 0.55, 0.45, 0.0, 0.0))
    assert admits(policy, 0.46)


def test_scatter_alone_is_no_reason_to_refuse_all() -> None:
    """20 ms in the mean, but one in ten took 200: within 0.1 s most are in time, and while they are
    computed the scatter is measured anew.
    """
    cost = learnt(Truth(a=0.0, d=0.02))
    for number in range(300):
        cost.observe(1, 1, 0.2 if number % 10 == 0 else 0.02)
    assert cost.predict(1, 1) < 0.03
    assert cost.tail(1, 1, 0.95) > 0.15
    policy = make("deadline", cost)
    pieces = [Piece(enqueued_s=n / 10, deadline_s=n / 10 + 0.1) for n in range(5)]
    for piece in pieces:
        assert policy.admit(piece, queued(policy), IDLE, piece.enqueued_s) is None
        queue = queued(policy, piece)
        assert policy.choose(queue, IDLE, piece.enqueued_s + 0.05).batch == [piece]
    # Not behind so much that it would have to be quicker than usual.
    assert policy.admit(Piece(deadline_s=0.1), queued(policy), Load(1, (0.09,)), 0.0) is not None


def test_what_could_never_be_in_time_is_told_so() -> None:
    """No wait helps; unlike where it is only too late for this one."""
    policy = make("deadline", learnt(EACH))
    queue = queued(policy, *[Piece(deadline_s=0.1 + n / 1e3) for n in range(20)])
    policy.admit(Piece(deadline_s=0.01), queue, IDLE, 0.0)  # a probe
    assert policy.admit(Piece(deadline_s=0.01), queue, IDLE, 0.0) == math.inf
    late = policy.admit(Piece(deadline_s=0.3), queue, IDLE, 0.0)
    assert late is not None
    assert late < 1.0


def test_admission_reckons_with_the_event_loop() -> None:
    """A loop that is 40 ms behind has kept the request so long, and will keep the answer so long."""
    policy = make("deadline", learnt(EACH))
    queue = queued(policy)
    behind = Load(1, (), 0.04)
    assert policy.admit(Piece(deadline_s=0.1), queue, IDLE, 0.0) is None
    late = policy.admit(Piece(deadline_s=0.1), queue, behind, 0.0)
    assert late == pytest.approx(0.03 + 0.08 - 0.1, abs=0.005)
    assert policy.admit(Piece(deadline_s=0.13), queue, behind, 0.0) is None
    # And what waits is given up when the way back is too long.
    piece = Piece(deadline_s=0.1)
    assert policy.choose(queued(policy, piece), IDLE, 0.04).batch == [piece]
    assert policy.choose(queued(policy, piece), behind, 0.04).hopeless == (piece,)


def test_the_margin_learns_from_those_let_in_too_lightly() -> None:
    """Work that turns out hopeless makes admission careful; a minute makes it bold again."""
    policy = make("deadline", learnt(EACH))
    assert isinstance(policy, DeadlineFirst)
    first = policy.margin
    for number in range(200):
        come_s = number / 10.0
        hopeless = Piece(enqueued_s=come_s, deadline_s=come_s + 0.5)
        policy.choose(queued(policy, hopeless), IDLE, come_s + 0.49)
    most = policy.margin
    assert most > first + 1.0
    for number in range(600):
        come_s = 20.0 + number / 10.0
        piece = Piece(enqueued_s=come_s, deadline_s=come_s + 0.5)
        policy.choose(queued(policy, piece), IDLE, come_s)
    assert policy.margin < 1.0 + (most - 1.0) * 0.2
    quiet = Piece(enqueued_s=500.0, deadline_s=500.5)
    policy.choose(queued(policy, quiet), IDLE, 500.0)
    assert policy.margin < 1.01


def test_the_margin_learns_nothing_from_what_never_fitted() -> None:
    """It was late for what it takes, not for having waited."""
    policy = make("deadline", learnt(EACH))
    assert isinstance(policy, DeadlineFirst)
    first = policy.margin
    for number in range(200):
        come_s = number / 100.0
        never = Piece(enqueued_s=come_s, deadline_s=come_s + 0.01)
        policy.choose(queued(policy, never), IDLE, come_s)
    assert policy.margin <= first


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    priority=st.integers(1, 2),
    ageing_s=st.floats(0.0, 1.0),
    known=st.booleans(),
)
def test_nothing_starves(seed: int, priority: int, ageing_s: float, known: bool) -> None:
    """Under a permanent overload of the highest priority, with and without deadlines, a row of low
    priority is computed when its patience and its ageing are over, and one backlog has gone.
    """
    rng = random.Random(seed)
    policy = make("deadline", learnt(EACH) if known else None, ageing_s=ageing_s, max_rows=4)
    queue = queued(policy)
    low = Piece(priority=priority)
    slo_s = 0.3
    now_s = 0.0
    for number in itertools.count():
        for _ in range(3):  # three come while one is computed
            high = Piece(priority=0, enqueued_s=now_s)
            high.deadline_s = now_s + slo_s if rng.random() < 0.5 else None
            if policy.admit(high, queue, IDLE, now_s) is None and len(queue) < 20:
                queue.push(high, policy.urgency(high))
        if number == 5:
            low.enqueued_s = now_s
            queue.push(low, policy.urgency(low))
        queue.drop_dead(now_s)
        choice = policy.choose(queue, IDLE, now_s)
        if low in choice.batch:
            break
        now_s += 0.03
        waited_s = now_s - low.enqueued_s if number >= 5 else 0.0
        assert waited_s < 0.25 + priority * ageing_s + 20 * 0.03 + 0.1
