"""A store on disk, files of tweets, and what the ledger says after a run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from augury.core.clock import SystemClock
from augury.services.tweets.ledger import Ledger
from augury.services.tweets.records import PredictionRecord
from augury.stores.registry import open_store
from tests.services.tweets import recount, x_corpus

T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """A store that several runs share."""

    url: str

    def ask(self, question: Callable[[Ledger], Awaitable[T]]) -> T:
        """What *question* finds in the ledger."""

        async def asked() -> T:
            store: Any = await open_store(self.url, clock=SystemClock(), on_corrupt=lambda *_: None)
            try:
                return await question(Ledger(store, clock=SystemClock()))
            finally:
                await store.close()

        return asyncio.run(asked())

    def records(self, numbers: Iterable[int]) -> list[PredictionRecord]:
        """The records of tweets of the corpus, those that there are."""
        ids = [x_corpus.tweet_id(number) for number in numbers]
        return [record for record in self.ask(lambda led: led.records(ids)) if record is not None]

    def assert_counted(self, count: int) -> None:
        """The corpus' first *count* tweets are written, and each is counted once everywhere."""
        records = self.records(range(count))
        assert len(records) == count
        want = recount.by_hand(records)
        assert self.ask(lambda ledger: recount.as_told(ledger, want)) == want

    def keys(self, prefix: str) -> list[str]:
        """Keys of the store."""

        async def scan(ledger: Ledger) -> list[str]:
            return [key async for key, _ in ledger.store.scan(prefix)]

        return self.ask(scan)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(f"sqlite:///{tmp_path / 'kept.sqlite3'}")


def write_tweets(path: Path, numbers: Iterable[int], *, authors: int = 50) -> Path:
    """Tweets of the corpus as JSONL."""
    lines = (json.dumps(x_corpus.line_of(number, authors)) for number in numbers)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path
