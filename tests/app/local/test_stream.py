"""Rows through the engine: the window, the order, and what ends it early."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from augury.app.local.feed import RowFeed
from augury.app.local.rows import Row
from augury.app.local.selection import select_package
from augury.app.local.stream import Answers, open_model
from augury.app.settings import Settings
from augury.core.errors import OperatorError
from tests.models import write_classifier, write_identity


def numbered(count: int) -> Iterator[Row]:
    return (Row(n + 1, 10, {"x": [n, 0]}) for n in range(count))


async def test_the_feed_holds_no_more_than_its_bound() -> None:
    """Rows are read ahead up to the bound, in rows or bytes, and not beyond until some are taken."""
    read: list[int] = []

    def rows() -> Iterator[Row]:
        for row in numbered(100):
            read.append(row.line)
            yield row

    taken = 0
    async with RowFeed(rows(), max_rows=8, max_bytes=50) as feed:
        while batch := await feed.take():
            taken += len(batch)
            assert sum(row.nbytes for row in batch) <= 50
            await asyncio.sleep(0)
            # Five rows of 10 bytes are held, and one more is in the reader's hand.
            assert len(read) <= taken + 6
    assert taken == 100


async def test_a_row_over_the_bound_goes_alone() -> None:
    """A row larger than the bound is handed over by itself rather than never."""
    rows = iter([Row(1, 10), Row(2, 1000), Row(3, 10)])
    async with RowFeed(rows, max_rows=8, max_bytes=50) as feed:
        assert [row.line for batch in [await feed.take(), await feed.take()] for row in batch][
            :2
        ] == [
            1,
            2,
        ]


async def test_the_feed_tells_what_ended_it() -> None:
    """Rows before a failure are handed over, then the failure is raised."""

    def rows() -> Iterator[Row]:
        yield Row(1, 10)
        raise OSError(5, "disk")

    async with RowFeed(rows(), max_rows=8, max_bytes=50) as feed:
        assert [row.line for row in await feed.take()] == [1]
        with pytest.raises(OSError, match="disk"):
            await feed.take()


async def test_leaving_ends_the_reading_thread() -> None:
    """A feed that is left early does not keep its thread."""
    async with RowFeed(numbered(1_000_000), max_rows=8, max_bytes=500) as feed:
        await feed.take()
    for thread in threading.enumerate():
        if thread.name == "augury-read":
            thread.join(timeout=5)
            assert not thread.is_alive()


async def test_rows_of_different_shape_do_not_meet(tmp_path: Path) -> None:
    """An input of open size takes rows of any size in one file, as if each came alone."""
    folder = write_identity(tmp_path, size=None)
    lengths = [1, 3, 2, 3, 1, 5, 2]
    rows = (Row(n, 10 * size, {"x": [n] * size}) for n, size in enumerate(lengths))
    answers: list[Answers] = []
    async with open_model(Settings(), select_package(str(folder), tmp_path)) as local:
        await local.answer_rows(rows, answers.append)
        documents = [
            one for part in answers for one in part.documents(local.package, local.signature)
        ]

    assert [document["y"] for document in documents] == [
        [n] * size for n, size in enumerate(lengths)
    ]


async def test_what_the_writer_raises_ends_it(tmp_path: Path) -> None:
    """A failure to write stops the reading, and reaches the caller as it is."""
    folder = write_identity(tmp_path)

    def write(answers: Answers) -> None:
        raise BrokenPipeError

    async with open_model(Settings(), select_package(str(folder), tmp_path)) as local:
        with pytest.raises(BrokenPipeError):
            await local.answer_rows(numbered(100_000), write)


async def test_a_package_that_fails_its_example(tmp_path: Path) -> None:
    """A model that contradicts its own example is not opened."""
    wrong = '[[examples]]\ninputs.text = ["fog"]\noutputs.scores = [[0.5, 0.5]]\n'
    folder = write_classifier(tmp_path, manifest=wrong)
    with pytest.raises(OperatorError, match="example 1: output 'scores' is"):
        async with open_model(Settings(), select_package(str(folder), tmp_path)):
            pass
