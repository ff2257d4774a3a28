"""The policies beside each other, on a server in virtual time; what the default one promises."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest

from tests.batching.policies.making import make
from tests.batching.simulator import Outcome, Server, Truth, hindsight, tweets

# A small model: 0.8 ms for an average tweet, to be answered within 100 ms.
SMALL = Truth(a=0.2e-3, d=0.05e-3, b=0.022e-3, c=5e-8)
# A RoBERTa-base on one core: 22 ms, within 250 ms; a batch saves next to nothing.
LARGE = Truth(a=0.8e-3, d=0.5e-3, b=0.85e-3, c=1e-6)
# An accelerator: a batch costs 10 ms, a row next to nothing. Without stalls: one of 50 ms would take half of
# the time that everybody has.
STEEP = Truth(a=10e-3, d=0.05e-3, b=0.002e-3, stalls=0.0)
# A batch costs 8 ms, a row one more: batches are as long as their deadline allows.
FIXED = Truth(a=8e-3, d=1e-3)
CASES = {"small": (SMALL, 0.1, 1.2), "large": (LARGE, 0.25, 40.0), "steep": (STEEP, 0.1, 1.0)}
OTHERS = ("fixed", "delayed", "aimd", "quantile")


@cache
def served(case: str, policy: str, load: float, cv2: float) -> Outcome:
    """*load*, as a part of what a tight loop makes, on two instances."""
    truth, slo_s, seconds = CASES[case]
    server = Server(policy, truth, objective_s=slo_s / 2)
    server.warm_up()
    rate = load * truth.capacity(2)
    return server.serve(tweets(rate, seconds, slo_s=slo_s, cv2=cv2), slo_s, skip_s=0.2 * seconds)


@pytest.mark.parametrize("cv2", [1.0, 4.0])
@pytest.mark.parametrize("load", [0.5, 0.9, 1.5])
@pytest.mark.parametrize("case", CASES)
def test_no_other_policy_answers_more_in_time(case: str, load: float, cv2: float) -> None:
    """Light load, heavy load and overload; small, large and steep models; even and bursty arrivals."""
    best = served(case, "deadline", load, cv2)
    for other in OTHERS:
        assert best.in_time >= 0.99 * served(case, other, load, cv2).in_time


@pytest.mark.parametrize("cv2", [1.0, 4.0])
@pytest.mark.parametrize("case", CASES)
def test_overload_has_manners(case: str, cv2: float) -> None:
    """At three times what it can do it still does nine tenths of it, and keeps its word to those whom
    it let in.
    """
    truth, slo_s, _ = CASES[case]
    peak = max(served(case, "deadline", load, cv2).goodput for load in (0.5, 0.9, 1.5))
    over = served(case, "deadline", 3.0, cv2)
    assert over.goodput >= 0.9 * peak
    assert over.goodput >= 0.85 * truth.capacity(2)
    assert over.latency(0.98) <= slo_s
    assert sorted(over.answered)[int(0.99 * len(over.answered))] <= slo_s


@pytest.mark.parametrize(
    ("case", "cv2", "load"),
    [
        ("small", 1.0, 0.9),
        ("small", 4.0, 0.9),
        ("large", 1.0, 0.8),
        # 0.8 cannot be had here: see test_what_nobody_could_sustain.
        ("large", 4.0, 0.6),
        ("steep", 1.0, 0.8),
    ],
)
def test_what_it_sustains(case: str, cv2: float, load: float) -> None:
    """At this part of what a tight loop makes, 99 % of all requests are answered in time."""
    assert served(case, "deadline", load, cv2).part_in_time >= 0.99


def test_what_nobody_could_sustain() -> None:
    """250 ms are eleven rows of 22 ms, and bursts of gaps with CV² = 4 bring more than that at once: at 0.8
    of the tight loop even hindsight answers fewer than 99 % in time, and the policy comes near to it.
    """
    best = hindsight(LARGE, 0.8 * LARGE.capacity(2), 120.0, slo_s=0.25, cv2=4.0)
    assert 0.98 < best < 0.99
    assert served("large", "deadline", 0.8, 4.0).part_in_time > best - 0.025


def test_the_peers_ways_collapse() -> None:
    """What the other policies do at three times the load, and why there is admission at all."""
    for other in OTHERS:
        assert (
            served("small", other, 3.0, 1.0).goodput
            < 0.5 * served("small", "deadline", 3.0, 1.0).goodput
        )


def test_bulk_work_fills_what_is_left() -> None:
    """Low priority without deadlines neither starves nor makes the others late."""
    server = Server("deadline", SMALL, max_queue_rows=100_000)
    server.warm_up()
    rate = SMALL.capacity(2)
    bulk = list(tweets(0.6 * rate, 4.0, slo_s=None, priority=2, seed=5))
    asked = list(tweets(0.4 * rate, 4.0, slo_s=0.1))
    both = sorted([*bulk, *asked], key=lambda piece: piece.enqueued_s)
    server.serve(iter(both), 0.1)
    in_time = sum(p.ended_s is not None and p.ended_s <= (p.deadline_s or 0.0) for p in asked)
    assert in_time >= 0.99 * len(asked)
    assert all(piece.ended_s is not None for piece in bulk)
    delays = sorted(piece.ended_s - piece.enqueued_s for piece in bulk if piece.ended_s)
    assert delays[len(delays) // 2] < 2.0


def test_two_kinds_of_deadlines() -> None:
    """Patient callers leave room to those in a hurry, and nearly all of both are in time."""
    server = Server("deadline", SMALL)
    server.warm_up()
    rate = 0.45 * SMALL.capacity(2)
    hurried = list(tweets(rate, 4.0, slo_s=0.03, seed=5, cv2=4.0))
    patient = list(tweets(rate, 4.0, slo_s=0.5, seed=6, cv2=4.0))
    both = sorted([*hurried, *patient], key=lambda piece: piece.enqueued_s)
    server.serve(iter(both), 0.5)
    for pieces in (hurried, patient):
        good = sum(p.ended_s is not None and p.ended_s <= (p.deadline_s or 0.0) for p in pieces)
        assert good >= 0.99 * len(pieces)


@pytest.mark.parametrize("times", [2.0, 6.0, 10.0])
@pytest.mark.parametrize("truth", [SMALL, FIXED], ids=["small", "fixed"])
def test_a_slower_machine_does_not_break_it(truth: Truth, times: float) -> None:
    """Up to ten times slower from one moment to the next, under heavy load, so that batches are stopped at
    their deadline one after the other: goodput is soon what it would be had it always been so slow.
    """
    slow = dataclasses.replace(
        truth, a=times * truth.a, d=times * truth.d, b=times * truth.b, c=times * truth.c
    )
    rate = 0.8 * truth.capacity(2)
    lengths = truth is SMALL
    slo_s = 0.1 if lengths else 0.25
    always = Server("deadline", slow)
    always.warm_up()
    usual = always.serve(tweets(rate, 5.0, slo_s=slo_s, lengths=lengths), slo_s, skip_s=3.0)
    server = Server("deadline", truth)
    server.warm_up()
    server.serve(tweets(rate, 1.5, slo_s=slo_s, lengths=lengths), slo_s)
    server.truth = slow
    start_s = server.now_s
    arrivals = tweets(rate, 5.0, slo_s=slo_s, lengths=lengths, start_s=start_s, seed=4)
    after = server.serve(arrivals, slo_s, skip_s=start_s + 3.0)
    assert after.goodput >= 0.75 * usual.goodput
    assert after.stopped <= 30


def test_the_simulator_counts_everybody() -> None:
    """Each request is refused, given up or answered."""
    for policy in ("deadline", *OTHERS):
        assert make(policy) is not None
        outcome = served("small", policy, 1.5, 4.0)
        assert outcome.offered == outcome.refused + outcome.given_up + len(outcome.answered)
