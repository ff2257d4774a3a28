from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from augury.core.errors import NotFound, OperatorError
from augury.services.tweets.model import Tweet
from augury.services.tweets.sources.archive import ArchiveSource, import_tweets
from augury.services.tweets.sources.archive_files import ArchiveFault
from augury.stores.memory import MemoryStore


def some_tweets(count: int) -> list[Tweet]:
    return [Tweet(id=number, text=f"tweet {number}", author_id=9) for number in range(1, count + 1)]


async def test_what_is_imported_can_be_fetched(store: MemoryStore) -> None:
    """An imported tweet comes back as it was."""
    report = await import_tweets(some_tweets(1234), store)
    assert (report.imported, report.skipped, report.faulty) == (1234, 0, 0)
    assert await ArchiveSource(store).fetch(1234) == some_tweets(1234)[-1]


async def test_a_tweet_that_is_not_there(store: MemoryStore) -> None:
    """It is named."""
    with pytest.raises(NotFound, match="tweet 5 is not in the archive"):
        await ArchiveSource(store).fetch(5)


async def test_a_value_of_another_release_is_not_there(store: MemoryStore) -> None:
    """What cannot be read is as if it were absent."""
    await store.set("tweets:tweet:5", b"{}")
    with pytest.raises(NotFound):
        await ArchiveSource(store).fetch(5)


async def test_importing_again_skips(store: MemoryStore) -> None:
    """Only what is new or changed is written."""
    await import_tweets(some_tweets(10), store)
    changed = Tweet(id=3, text="edited")
    report = await import_tweets([*some_tweets(2), changed, Tweet(id=99, text="new")], store)
    assert (report.imported, report.skipped) == (2, 2)
    assert (await ArchiveSource(store).fetch(3)).text == "edited"


async def test_a_tweet_twice_in_one_file_counts_once(store: MemoryStore) -> None:
    """The later one stays."""
    report = await import_tweets([Tweet(id=1, text="a"), Tweet(id=1, text="b")], store)
    assert (report.imported, report.skipped) == (1, 1)
    assert (await ArchiveSource(store).fetch(1)).text == "b"


async def test_faults_are_counted_and_the_first_hundred_kept(store: MemoryStore) -> None:
    """A file of nonsense does not fill the memory."""
    faults = [ArchiveFault("f", line, "no id") for line in range(1, 1200)]
    report = await import_tweets([*faults, *some_tweets(1)], store)
    assert (report.imported, report.faulty, len(report.faults)) == (1, 1199, 100)
    assert str(report.faults[0]) == "f:1: no id"


async def test_progress_adds_up(store: MemoryStore) -> None:
    """Every entry, good or not, is told as done."""
    done: list[int] = []
    await import_tweets([*some_tweets(999), ArchiveFault("f", 1, "no id")], store, done.append)
    assert sum(done) == 1000
    assert len(done) == 2


async def test_the_file_is_read_off_the_loop(store: MemoryStore) -> None:
    """Reading blocks a thread, not the server."""
    threads = set()

    def reading() -> Iterator[Tweet]:
        threads.add(threading.current_thread())
        yield from some_tweets(1)

    await import_tweets(reading(), store)
    assert threading.main_thread() not in threads


async def test_a_failing_file_fails_the_import(store: MemoryStore) -> None:
    """What came before stays."""

    def broken() -> Iterator[Tweet]:
        yield from some_tweets(500)
        raise OperatorError("disk on fire")

    with pytest.raises(OperatorError, match="fire"):
        await import_tweets(broken(), store)
    assert (await ArchiveSource(store).fetch(500)).id == 500
