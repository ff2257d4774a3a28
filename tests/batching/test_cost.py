"""Tests of ``augury.batching.cost``."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augury.batching.cost import (
    KNOWN_ALIKE,
    KNOWN_BATCHES,
    MOST_LENGTH,
    MOST_ROWS,
    CostModel,
)
from augury.batching.residuals import MOST_RUN, SHIFT_RUN, Drift
from tests.batching.simulator import Truth, tweet_length

TWEETS = Truth(a=0.2e-3, d=0.1e-3, b=0.02e-3, c=1e-7, noise=0.1, stalls=0.003)
FLAT = Truth(a=2e-3, d=0.3e-3)


def learn(
    model: CostModel,
    truth: Callable[[random.Random, int, int], float],
    batches: int,
    *,
    seed: int = 1,
    lengthy: bool = True,
) -> None:
    rng = random.Random(seed)
    for _ in range(batches):
        rows = rng.choice((1, 1, 1, 2, 3, 4, 8))
        length = tweet_length(rng) if lengthy else 0
        model.observe(rows, length, truth(rng, rows, length))


def worst(model: CostModel, truth: Truth, *, times: float = 1.0) -> float:
    """The largest relative error over the sizes that tweets have, and four times as many rows."""
    return max(
        abs(model.predict(rows, length) / (times * truth.mean(rows, length)) - 1.0)
        for rows in (1, 2, 4, 8, 32)
        for length in ((8, 24, 60, 100) if truth.b else (0,))
    )


def test_it_knows_nothing_at_first() -> None:
    """Before enough batches it says so, and predicts nothing."""
    model = CostModel()
    knew = []
    assert math.isnan(model.predict(1, 10))
    assert math.isnan(model.tail(1, 10))
    for rows in range(1, KNOWN_BATCHES + 1):
        knew.append(model.known)
        model.observe(rows, 10 * rows, 0.01 * rows)
    assert not any(knew)
    assert model.known
    assert model.predict(2, 20) == pytest.approx(0.02, rel=0.3)


def test_one_shape_is_enough_in_the_end() -> None:
    """A model that only ever sees single rows of one length is known, too."""
    model = CostModel()
    for _ in range(KNOWN_ALIKE):
        model.observe(1, 20, 0.001)
    assert model.known
    assert model.predict(1, 20) == pytest.approx(0.001, rel=1e-3)
    # It cannot know what two rows take, and believes neither extreme.
    assert 0.001 < model.predict(2, 20) < 0.002


def test_it_finds_the_truth_in_the_noise() -> None:
    """With a tenth of noise and a stall now and then, a thousand batches make the error small."""
    model = CostModel()
    learn(model, TWEETS, 1000)
    assert worst(model, TWEETS) < 0.08
    found = model.coefficients
    assert found.a == pytest.approx(TWEETS.a, rel=0.35)
    assert found.b == pytest.approx(TWEETS.b, rel=0.15)


def test_fifty_batches_will_do() -> None:
    """After a second of a busy server the model is good for what it has seen."""
    model = CostModel()
    learn(model, TWEETS, 50)
    assert worst(model, TWEETS) < 0.25


def test_without_lengths_two_coefficients_are_left() -> None:
    """A model without a length axis costs ``a + d·n``."""
    model = CostModel()
    learn(model, FLAT, 400, lengthy=False)
    assert worst(model, FLAT) < 0.06
    found = model.coefficients
    assert (found.b, found.c) == (0.0, 0.0)
    assert found.a == pytest.approx(FLAT.a, rel=0.1)
    assert found.d == pytest.approx(FLAT.d, rel=0.15)
    assert model.predict(3, 0) == model.predict(3, 1)
    assert model.row_s(0) == pytest.approx(FLAT.d, rel=0.15)


def test_a_slower_machine_is_noticed_at_once() -> None:
    """Twice as slow: a few batches later the predictions are, without a long wrong tail."""
    model = CostModel()
    learn(model, TWEETS, 1000)
    spread = model.spread(24)
    learn(model, lambda rng, n, s: 2 * TWEETS(rng, n, s), 2 * SHIFT_RUN, seed=2)
    assert worst(model, TWEETS, times=2) < 0.2
    learn(model, lambda rng, n, s: 2 * TWEETS(rng, n, s), 300, seed=3)
    assert worst(model, TWEETS, times=2) < 0.1
    assert model.spread(24) < 1.3 * spread


def test_a_machine_that_recovers_is_noticed_too() -> None:
    """Ten times as quick as believed: not seen as outliers for ever."""
    model = CostModel()
    learn(model, lambda rng, n, s: 10 * TWEETS(rng, n, s), 200)
    learn(model, TWEETS, 3 * SHIFT_RUN, seed=2)
    assert worst(model, TWEETS) < 0.25


def test_a_slow_drift_is_followed() -> None:
    """A third slower, which no run of outliers shows: a few hundred batches."""
    model = CostModel()
    learn(model, TWEETS, 1000)
    learn(model, lambda rng, n, s: 1.33 * TWEETS(rng, n, s), 500, seed=2)
    assert worst(model, TWEETS, times=1.33) < 0.1


def test_one_shape_for_hours_blows_nothing_up() -> None:
    """What is known of other shapes stays known while they do not come (no wind-up)."""
    model = CostModel()
    learn(model, TWEETS, 500)
    rng = random.Random(5)
    for _ in range(50_000):
        model.observe(1, 20, TWEETS(rng, 1, 20))
    assert worst(model, TWEETS) < 0.15


def test_a_stall_moves_nothing() -> None:
    """Batches that took ten times as long hardly change the model, two of them not the tail."""
    model = CostModel()
    learn(model, dataclasses.replace(TWEETS, stalls=0.0), 512)
    before, tail = model.predict(4, 30), model.tail(4, 30)
    for _ in range(2):
        model.observe(4, 30, 10 * before)
        for _ in range(20):
            model.observe(4, 30, before)
    assert model.predict(4, 30) == pytest.approx(before, rel=0.03)
    assert model.tail(4, 30) == pytest.approx(tail, rel=0.25)


def known_flat() -> CostModel:
    """Takes 8 ms a batch and 1 ms a row."""
    model = CostModel()
    learn(model, Truth(a=8e-3, d=1e-3, noise=0.05, stalls=0.0), 300)
    return model


def test_what_was_stopped_took_at_least_that() -> None:
    """Six times slower, and whatever is computed is stopped at 0.1 s: a few batches tell it."""
    model = known_flat()
    for _ in range(3 * SHIFT_RUN):
        rows = 1
        while model.tail(2 * rows, 1, 0.95) < 0.1:
            rows *= 2
        took_s = 6 * (8e-3 + 1e-3 * rows)
        model.observe(rows, 1, min(took_s, 0.1), at_least=took_s > 0.1)
    assert 0.6 < model.predict(1, 1) / 0.054 < 1.6


def test_what_was_stopped_early_tells_nothing() -> None:
    """A client that has gone before the batch could be over."""
    model = known_flat()
    before = model.to_dict()
    for _ in range(100):
        model.observe(8, 1, 0.5 * model.predict(8, 1), at_least=True)
    assert model.to_dict() == before


def test_one_that_was_stopped_is_an_outlier() -> None:
    """A batch that hung tells little of the others."""
    model = known_flat()
    usual_s = model.predict(8, 1)
    model.observe(8, 1, 1.0, at_least=True)
    learn(model, Truth(a=8e-3, d=1e-3, noise=0.05, stalls=0.0), 3)
    model.observe(8, 1, 1.0, at_least=True)
    assert model.predict(8, 1) == pytest.approx(usual_s, rel=0.1)


def test_a_machine_that_stood_still_is_no_slower_machine() -> None:
    """Eight instances, a second in which nothing runs: eight batches in a row are late, at one time."""
    model = known_flat()
    usual_s = model.predict(8, 1)
    for number in range(8):
        model.observe(8, 1, 1.0 + usual_s, began_s=50.0 + number * 1e-3)
    assert model.predict(8, 1) == pytest.approx(usual_s, rel=0.15)
    for number in range(SHIFT_RUN):
        model.observe(8, 1, 1.0, began_s=60.0 + 2 * number)  # one after the other
    assert model.predict(8, 1) > 10 * usual_s


def test_hours_of_overlapping_batches_are_not_kept() -> None:
    """What waits to be judged is bounded."""
    drift = Drift()
    noted = 0
    for number in range(10_000):
        factor, certain = drift.note(3, 9.0, began_s=1.0, took_s=1e9, stopped=number % 2 == 0)
        assert factor == 1.0
        noted += len(certain)
    assert 10_000 - noted <= MOST_RUN


def test_the_tail_is_the_tail() -> None:
    """One batch in a hundred takes longer than the tail says, one in two longer than the median."""
    model = CostModel()
    truth = Truth(a=0.2e-3, d=0.1e-3, b=0.02e-3, noise=0.2, stalls=0.0)
    learn(model, truth, 3000)
    rng = random.Random(8)
    over = {0.5: 0, 0.9: 0, 0.99: 0}
    trials = 20_000
    for _ in range(trials):
        rows, length = rng.choice((1, 2, 4)), tweet_length(rng)
        took_s = truth(rng, rows, length)
        for quantile in over:
            over[quantile] += took_s > model.tail(rows, length, quantile)
    assert over[0.5] / trials == pytest.approx(0.5, abs=0.08)
    assert over[0.9] / trials == pytest.approx(0.1, abs=0.04)
    assert over[0.99] / trials == pytest.approx(0.01, abs=0.009)


def test_the_tail_has_a_memory_for_each_length() -> None:
    """Where long batches scatter more, only their tail is longer."""
    model = CostModel()
    rng = random.Random(3)
    for _ in range(2000):
        length = rng.choice((20, 90))
        noise = rng.lognormvariate(0.0, 0.05 if length == 20 else 0.4)
        model.observe(1, length, TWEETS.mean(1, length) * noise)
    assert model.spread(20) < 1.4
    assert model.spread(90) > 1.6


def test_spoilt_equations_are_made_anew() -> None:
    """Should rounding ever spoil what was added up, the model stays and learns on."""
    model = CostModel()
    learn(model, TWEETS, 500)
    model._information[3][3] = -1e15
    learn(model, TWEETS, 300, seed=2)
    assert worst(model, TWEETS) < 0.1
    assert model._information[3][3] > 0.0


SIZES = st.integers(1, 300)
BATCHES = st.lists(
    st.tuples(SIZES, st.integers(0, 5000), st.floats(1e-6, 100.0)), min_size=1, max_size=60
)


@settings(deadline=None)
@given(BATCHES, SIZES, SIZES, st.integers(0, 5000), st.integers(0, 5000))
def test_whatever_it_learns_it_stays_sane(
    batches: list[tuple[int, int, float]], rows: int, more: int, length: int, longer: int
) -> None:
    """Predictions are finite and not negative, and more or longer rows never cost less."""
    model = CostModel()
    for batch in batches:
        model.observe(*batch)
    found = model.coefficients
    assert min(found.a, found.d, found.b, found.c) >= 0.0
    if not model.known:
        return
    few, many = sorted((rows, more))
    short, long = sorted((length, longer))
    for predict in (model.predict, model.tail):
        assert 0.0 <= predict(few, short) < math.inf
        assert predict(few, short) <= predict(many, short)
    assert model.predict(few, short) <= model.predict(few, long)
    assert 0.0 <= model.row_s(short) <= model.row_s(long)
    alone = model.rows_s(few, few * max(1, short), few * max(1, short) ** 2)
    assert alone == pytest.approx(few * model.row_s(short))


@pytest.mark.parametrize(
    ("rows", "length", "seconds"),
    [
        (0, 1, 1.0),
        (-1, 1, 1.0),
        (1, -5, 1.0),
        (1, 1, 0.0),
        (1, 1, -1.0),
        (1, 1, math.nan),
        (1, 1, math.inf),
        (MOST_ROWS + 1, 1, 1.0),
        (1, MOST_LENGTH + 1, 1.0),
    ],
)
def test_what_cannot_be_is_not_learnt(rows: int, length: int, seconds: float) -> None:
    """A clock that jumped, or an empty batch, changes nothing."""
    model = CostModel()
    learn(model, TWEETS, 40)
    before = model.to_dict()
    model.observe(rows, length, seconds)
    assert model.to_dict() == before


def test_what_it_knows_outlives_it() -> None:
    """Through JSON and back: the same predictions, known at once, and quick to learn better."""
    model = CostModel()
    learn(model, TWEETS, 1000)
    again = CostModel.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again.known
    for rows, length in ((1, 10), (4, 30), (8, 90), (32, 40)):
        assert again.predict(rows, length) == pytest.approx(model.predict(rows, length), rel=0.02)
        assert again.tail(rows, length) == pytest.approx(model.tail(rows, length), rel=0.25)
    learn(again, lambda rng, n, s: 3 * TWEETS(rng, n, s), 60, seed=4)
    assert worst(again, TWEETS, times=3) < 0.2


def test_an_ignorant_model_can_be_kept_too() -> None:
    """What knows nothing comes back knowing nothing."""
    assert not CostModel.from_dict(CostModel().to_dict()).known


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ({}, "shapes is no list"),
        ({"shapes": 3, "residuals": []}, "shapes is no list"),
        ({"shapes": [[1, 2]], "residuals": []}, "not 3 numbers"),
        ({"shapes": [[1, 2, "x"]], "residuals": []}, "not 3 numbers"),
        ({"shapes": [[1, 2, True]], "residuals": []}, "not 3 numbers"),
        ({"shapes": [[1, 2, -1.0]], "residuals": []}, "is not"),
        ({"shapes": [[1, 2, math.nan]], "residuals": []}, "is not"),
        ({"shapes": [[0, 2, 1.0]], "residuals": []}, "is not"),
        ({"shapes": [[1.5, 2, 1.0]], "residuals": []}, "is not"),
        ({"shapes": [[1, math.inf, 1.0]], "residuals": []}, "is not"),
        ({"shapes": [[1, 1, 1e-320]], "residuals": []}, "is not"),
        ({"shapes": [[1, 1, 10**400]], "residuals": []}, "too large"),
        ({"shapes": [], "residuals": [[10**400]]}, "too large"),
        ({"shapes": [], "residuals": [[-1.0]]}, "residual"),
        ({"shapes": [], "residuals": [[math.nan]]}, "residual"),
        ({"shapes": [], "residuals": {"a": 1}}, "residuals is no list"),
    ],
)
def test_nonsense_from_the_disk_is_refused(kept: dict[str, Any], told: str) -> None:
    """The message says what is wrong."""
    with pytest.raises(ValueError, match=told):
        CostModel.from_dict(kept)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(SIZES, st.integers(1, 5000), st.floats(1e-6, 1000.0)), min_size=1, max_size=80
    ),
    st.lists(st.floats(1e-3, 1e3), max_size=300),
    st.integers(1, 500),
    st.integers(0, 5000),
)
def test_whatever_was_kept_makes_sane_costs(
    shapes: list[tuple[int, int, float]], residuals: list[float], rows: int, length: int
) -> None:
    """Any table of numbers that is accepted predicts finite times that are not negative."""
    kept = {"shapes": [list(shape) for shape in shapes], "residuals": [[r] for r in residuals]}
    model = CostModel.from_dict(kept)
    assert 0.0 <= model.predict(rows, length) < math.inf
    assert 0.0 <= model.tail(rows, length) < math.inf
