"""Batches of a file's entries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from augury.core.errors import OperatorError
from augury.services.tweets.bulk.batches import batches_of
from augury.services.tweets.model import Tweet
from augury.services.tweets.sources.archive_files import Entry, Placed


def entries(count: int) -> Iterator[Entry]:
    return (Placed("t", n, Tweet(id=n + 1, text="x")) for n in range(count))


@pytest.mark.parametrize(
    ("count", "skip", "sizes"),
    [(0, 0, []), (7, 0, [3, 3, 1]), (7, 4, [3]), (7, 7, []), (7, 99, []), (12_000, 11_999, [1])],
)
async def test_sizes(count: int, skip: int, sizes: list[int]) -> None:
    """Full batches, then the rest; what is skipped is in none."""
    batches = [batch async for batch in batches_of(entries(count), size=3, skip=skip)]
    assert [len(batch) for batch in batches] == sizes
    lines = [entry.line for batch in batches for entry in batch]
    assert lines == list(range(skip, count))


async def test_a_file_that_cannot_be_read_on() -> None:
    """Its error comes after the batches before it."""

    def breaking() -> Iterator[Entry]:
        yield from entries(3)
        raise OperatorError("the disk is gone")

    batches = batches_of(breaking(), size=3)
    assert [entry.line for entry in await anext(batches)] == [0, 1, 2]
    with pytest.raises(OperatorError):
        await anext(batches)
