"""Score tweets by the hundred thousand: read, judge and write at once, in bounded memory.

Batches come from a file or a search.  A few of them are judged side by side, so that the model's
instances never idle, while one is written and the next is read; they are written in their order, so
that a position in the file says all that has been done.  What the ledger holds already from the
model version that answers is not judged again: repeating a batch costs little and changes nothing.
It logs nothing, and holds no text for longer than its batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from augury.core.clock import Clock, SystemClock
from augury.core.errors import AuguryError
from augury.core.request import InferRequest, InferResponse, Priority
from augury.core.signature import Signature
from augury.core.tensor import bytes_column
from augury.services.tweets.bulk.checkpoints import Done
from augury.services.tweets.bulk.patience import Patience
from augury.services.tweets.model import Tweet
from augury.services.tweets.records import PredictionRecord, record_of
from augury.services.tweets.sentiments import Sentiment, read_sentiments
from augury.services.tweets.sources.archive_files import ArchiveFault, Entry, Placed

# Enough that texts of like length meet in a batch of the model, which saves padding.
BATCH_TWEETS: Final = 512
# One is judged, one waits for the instances to be free, one is preprocessed.
BATCHES_IN_FLIGHT: Final = 3

Committed = Callable[[Done, int], Awaitable[None]]


class Judge(Protocol):
    """What scoring needs of the engine."""

    async def infer(self, request: InferRequest) -> InferResponse:
        """Answer *request*; what one row meets is in ``errors``, what all meet is raised."""

    def signature(self, model: str) -> Signature:
        """The signature of the version that answers by default."""

    def version(self, model: str) -> int:
        """The version that answers by default."""


class Records(Protocol):
    """What scoring needs of the ledger."""

    async def records(self, tweet_ids: Sequence[int]) -> list[PredictionRecord | None]:
        """What is remembered of each."""

    async def write(self, records: Sequence[PredictionRecord]) -> int:
        """Remember and count them, each once, whatever is repeated; how many changed anything."""


@dataclass(slots=True)
class _Judged:
    """A batch on its way to the store."""

    entries: int
    records: list[PredictionRecord] = field(default_factory=list)
    known: int = 0
    refused: int = 0
    faulty: int = 0
    faults: list[ArchiveFault] = field(default_factory=list)
    held_id: int = 0  # of a tweet whose prediction was there before


class BulkScorer:
    """Judges batches of tweets and writes what comes of them.

    Args:
        judge: Answers from the model.
        ledger: Remembers predictions and adds them up.
        model: A model with the BYTES input ``text`` and the outputs ``label`` and ``scores``; the
            version that answers now is asked to the end.
        patience: Through which the ledger is asked.
        clock: Wall time dates the predictions.
        in_flight: Batches that are judged at once.
    """

    def __init__(
        self,
        judge: Judge,
        ledger: Records,
        *,
        model: str,
        patience: Patience,
        clock: Clock | None = None,
        in_flight: int = BATCHES_IN_FLIGHT,
    ) -> None:
        self._judge = judge
        self._ledger = ledger
        self._patience = patience
        self._clock = clock or SystemClock()
        self._in_flight = in_flight
        self.model = model
        self.version = judge.version(model)
        self._signature = judge.signature(model)

    async def score(
        self,
        batches: AsyncIterator[Sequence[Entry]],
        done: Done,
        committed: Committed,
        stop: asyncio.Event,
    ) -> None:
        """Score all *batches*.

        Args:
            batches: Read one after another; those read before an error are written before it is
                raised.
            done: Counts on.
            committed: Called after each batch has been written, with *done* and the batch's entries.
            stop: Once set, nothing more is read, and what is under way is written.

        Raises:
            Unavailable: The store did not come back in time; *done* tells what was written.
            AuguryError: What *batches* or the model as a whole failed with.
        """
        # One more is held by the writer, and one by the reader until there is room.
        judging: asyncio.Queue[asyncio.Task[_Judged] | None] = asyncio.Queue(
            max(1, self._in_flight - 2)
        )
        started: set[asyncio.Task[Any]] = set()

        def ended(task: asyncio.Task[Any]) -> None:
            started.discard(task)
            if not task.cancelled():
                task.exception()  # seen: after one failure nobody waits for the others

        async def read() -> None:
            try:
                async with aclosing(until(stop, batches)) as wanted:
                    async for batch in wanted:
                        task = asyncio.create_task(self._judge_batch(batch))
                        started.add(task)
                        task.add_done_callback(ended)
                        await judging.put(task)
            except Exception:
                await judging.put(None)
                raise
            await judging.put(None)

        reading = asyncio.create_task(read())
        started.add(reading)
        try:
            while (task := await judging.get()) is not None:
                await self._write(await task, done, committed)
            await reading
        finally:
            left = list(started)
            for one in left:
                one.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _write(self, judged: _Judged, done: Done, committed: Committed) -> None:
        if judged.records:
            await self._patience(lambda: self._ledger.write(judged.records))
            done.last_id = judged.records[-1].tweet_id
        elif judged.held_id:
            done.last_id = judged.held_id
        done.entries += judged.entries
        done.scored += len(judged.records)
        done.known += judged.known
        done.refused += judged.refused
        done.faulty += judged.faulty
        for fault in judged.faults:
            done.tell(fault)
        await committed(done, judged.entries)

    async def _judge_batch(self, entries: Sequence[Entry]) -> _Judged:
        judged = _Judged(len(entries))
        tweets: dict[int, Placed] = {}
        for entry in entries:
            if isinstance(entry, ArchiveFault):
                judged.faulty += 1
                judged.faults.append(entry)
            elif entry.tweet.id in tweets:
                judged.known += 1
            else:
                tweets[entry.tweet.id] = entry
        if tweets:
            ids = list(tweets)
            for record in await self._patience(lambda: self._ledger.records(ids)):
                if record is not None and self._is_current(record):
                    judged.known += 1
                    judged.held_id = record.tweet_id
                    del tweets[record.tweet_id]
        await self._ask(list(tweets.values()), judged)
        if len(judged.faults) > 1:
            order = {(entry.file, entry.line): place for place, entry in enumerate(entries)}
            judged.faults.sort(key=lambda fault: order[fault.file, fault.line])
        return judged

    def _is_current(self, record: PredictionRecord) -> bool:
        return record.model == self.model and record.version == self.version

    async def _ask(self, places: Sequence[Placed], judged: _Judged) -> None:
        """Judge each text once, however many tweets have it: people quote, and robots repeat."""
        texts: dict[bytes, list[Placed]] = {}
        for place in places:
            try:
                texts.setdefault(place.tweet.text.encode(), []).append(place)
            except UnicodeEncodeError:
                self._refuse(place, "half of a surrogate pair, which is no text", judged)
        if not texts:
            return
        # Neighbours of like length share a batch: it is padded less.
        order = sorted(texts, key=len)
        request = InferRequest(
            self.model,
            {"text": bytes_column(order)},
            version=self.version,
            use_cache=False,
            priority=Priority.LOW,
        )
        response = await self._judge.infer(request)
        for text, sentiment in zip(order, read_sentiments(response, self._signature), strict=True):
            if isinstance(sentiment, AuguryError):
                if sentiment.retryable:
                    raise sentiment  # not this text's fault: to be asked again, not to be skipped
                for place in texts[text]:
                    self._refuse(place, sentiment.message, judged)
            else:
                judged.records += [self._record(p.tweet, sentiment) for p in texts[text]]

    @staticmethod
    def _refuse(place: Placed, message: str, judged: _Judged) -> None:
        judged.refused += 1
        judged.faults.append(
            ArchiveFault(place.file, place.line, f"tweet {place.tweet.id}: {message}")
        )

    def _record(self, tweet: Tweet, sentiment: Sentiment) -> PredictionRecord:
        return record_of(
            tweet,
            label=sentiment.label,
            scores=sentiment.scores,
            model=self.model,
            version=self.version,
            predicted_at=datetime.fromtimestamp(self._clock.time(), UTC),
        )


async def until(
    stop: asyncio.Event, batches: AsyncIterator[Sequence[Entry]]
) -> AsyncGenerator[Sequence[Entry], None]:
    """*Batches* until *stop* is set, be it in the middle of waiting for one."""
    stopped = asyncio.create_task(stop.wait())
    taking: asyncio.Task[Sequence[Entry]] | None = None
    try:
        while not stop.is_set():
            taking = asyncio.ensure_future(anext(batches))
            await asyncio.wait([taking, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not taking.done():
                return
            try:
                batch = taking.result()
            except StopAsyncIteration:
                return
            yield batch
    finally:
        pending: list[asyncio.Task[Any]] = [stopped, *([taking] if taking else [])]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
