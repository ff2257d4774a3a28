"""Tests of ``augury.pipeline.transforms.tweet_normalise``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from augury.core.errors import AuguryError, InvalidInput, Refused, TooLarge
from augury.core.signature import Signature
from augury.core.tensor import bytes_column
from augury.pipeline.transforms.base import Batch, TransformContext
from augury.pipeline.transforms.tweet_normalise import TweetNormalise
from augury.pipeline.transforms.tweet_text import normalise_tweet

CONTEXT = TransformContext(Path(), Signature((), ()))


def run(*texts: bytes, refused: int | None = None, **options: Any) -> Batch:
    batch = Batch({"text": bytes_column(texts)}, len(texts))
    if refused is not None:
        batch.refuse(refused, Refused("before"))
    TweetNormalise(TweetNormalise.Options(**options), CONTEXT)(batch)
    return batch


def test_texts_are_normalised() -> None:
    """By the one function that training uses too."""
    text = "@ada look: https://t.co/x &amp; more"
    assert run(text.encode()).array("text").tolist() == [normalise_tweet(text).encode()]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (b"\xff", InvalidInput, "not valid UTF-8"),
        (b"\xed\xa0\x80", InvalidInput, "not valid UTF-8"),
        (b"", InvalidInput, "'text' is empty"),
        (b" \n\t", InvalidInput, "'text' is empty"),
        (b"x" * 11, TooLarge, "'text' has 11 characters, the limit is 10"),
    ],
)
def test_a_row_is_refused_alone(text: bytes, error: type[AuguryError], words: str) -> None:
    """With a reason that a person can act on."""
    batch = run(b"good", text, "é😊".encode(), max_chars=10)
    assert list(batch.errors) == [1]
    assert type(batch.errors[1]) is error
    assert words in batch.errors[1].message
    assert batch.array("text")[0] == b"good"


def test_characters_are_counted_not_bytes() -> None:
    """Ten of them may be forty bytes."""
    assert run("😊".encode() * 10, max_chars=10).errors == {}


def test_rows_refused_before_are_left_alone() -> None:
    """The first reason stands."""
    batch = run(b"\xff", b"good", refused=0)
    assert {row: type(error) for row, error in batch.errors.items()} == {0: Refused}
    assert run(b"\xff", b"\xff").array("text").shape == (2,)
