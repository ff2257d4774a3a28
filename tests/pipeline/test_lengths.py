"""What a text's bytes say of its length."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from augury.batching.work import longest_row
from augury.core.tensor import bytes_column
from augury.pipeline.lengths import EVERY, SAMPLES, LengthGuess
from augury.pipeline.servable import ModelServable
from tests import models
from tests.pipeline.serving import serving
from tests.pipeline.test_turned_away import MODEL

ROWS = st.lists(st.tuples(st.integers(1, 4000), st.integers(0, 500)), min_size=EVERY, max_size=600)


@given(ROWS)
def test_few_of_the_latest_are_shorter_than_told(rows: list[tuple[int, int]]) -> None:
    """Of those that it was told last, one in twenty at most has less than it says, up to rounding down."""
    guess = LengthGuess()
    for nbytes, length in rows:
        guess.learn(nbytes, length)
    looked_at = rows[: len(rows) // EVERY * EVERY][-SAMPLES:]
    shorter = sum(guess.least(nbytes) > length for nbytes, length in looked_at)
    assert shorter <= len(looked_at) * 0.05
    assert max(guess.least(nbytes) for nbytes, _ in rows) <= max(length for _, length in rows)


def test_it_follows_other_texts() -> None:
    """After as many rows of another kind as it keeps, nothing is left of the first."""
    guess = LengthGuess()
    for _ in range(SAMPLES):
        guess.learn(100, 50)
    assert guess.least(100) == 50
    for _ in range(SAMPLES + EVERY):
        guess.learn(100, 10)
    assert guess.least(100) == 10
    guess.learn(0, 7)  # an empty text says nothing
    assert guess.least(0) == 0


async def test_a_servable_learns_from_single_rows(tmp_path: Path) -> None:
    """The guess is no longer than what its own steps make of such a text, and is made for one row only."""
    folder = models.write_token_sum(tmp_path)
    models.write_tokenizer(folder / "1")
    (folder / "model.toml").write_text(MODEL, encoding="utf-8")
    async with serving(tmp_path) as served:
        with served.engine.lease("tokens") as servable:
            assert isinstance(servable, ModelServable)
            one = {"text": bytes_column([b"one two three one two three"])}
            assert servable.least_length(one, 1) == 0
            for _ in range(EVERY):
                batch = servable.preprocess_now(one, 1, {})
            assert servable.least_length(one, 1) == longest_row(batch.columns) > 1
            assert servable.least_length({"text": bytes_column([b"one", b"two"])}, 2) == 0
