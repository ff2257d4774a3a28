"""The business of it: from a tweet's address, or texts, to sentiment.

Stands between ``routes`` and everything else of this folder.  Memory is a help and never a
condition: a store that is down costs a fetch and a prediction, and is counted, but fails nobody;
what is to be remembered waits in a buffer, where a repeated question finds it.  It logs ids and
error codes, never a text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol, Self, cast

from augury.cache.flight import Flight, settled
from augury.core.clock import Clock, SystemClock
from augury.core.errors import AuguryError, InvalidInput, TooLarge
from augury.core.request import InferRequest, InferResponse, Timing
from augury.core.signature import Signature
from augury.core.tensor import bytes_column
from augury.observe.logs import EventLogger, get_logger
from augury.services.tweets.aggregates import Aggregates
from augury.services.tweets.ledger import Ledger
from augury.services.tweets.records import PredictionRecord, record_of
from augury.services.tweets.sentiments import Sentiment, read_sentiments
from augury.services.tweets.sources.base import TweetSource
from augury.services.tweets.sweeper import Sweeper
from augury.services.tweets.urls import parse_tweet_id, shown
from augury.stores.write_behind import WriteBehind

DEFAULT_MODEL: Final = "tweet-sentiment"
DEFAULT_MAX_TEXTS: Final = 256
DEFAULT_BUFFER_ITEMS: Final = 10_000
DEFAULT_BUFFER_BYTES: Final = 64 * 1024 * 1024

# Of a record besides its text: the objects of its members, by tracemalloc, rounded up.
_RECORD_BYTES: Final = 2048
# An erasure waits for the writes that it would otherwise overtake, but not for a store that is down.
_FLUSH_S: Final = 1.0


class Leased(Protocol):
    """A version of the model, for as long as it is held."""

    @property
    def signature(self) -> Signature:
        """What it takes and tells."""


class Predictor(Protocol):
    """What the service needs of the engine."""

    def lease(self, model: str) -> AbstractContextManager[Any]:
        """Hold the version that answers by default, a :class:`Leased`."""

    async def infer_leased(self, servable: Any, request: InferRequest) -> InferResponse:
        """Have what :meth:`lease` gave answer *request*.

        What one row meets is in ``errors``, what all meet is raised.
        """

    def version(self, model: str) -> int:
        """The version that answers by default."""


class _Asked(NamedTuple):
    """A question for a tweet; those that are alike share their answer."""

    tweet_id: int
    use_cache: bool
    refresh: bool


@dataclass(frozen=True, slots=True)
class TextsAnswer:
    """The sentiment of several texts.

    Args:
        model: Name of the model.
        version: The version that answered.
        results: In the order of the texts; an error where a text was refused.
        timing: Where the time went.
    """

    model: str
    version: int
    results: tuple[Sentiment | AuguryError, ...]
    timing: Timing


@dataclass(frozen=True, slots=True)
class TweetAnswer:
    """The sentiment of one tweet.

    Args:
        record: All that there is to tell, and to remember.
        cached: Whether it was remembered.
    """

    record: PredictionRecord
    cached: bool


class TweetService:
    """Predicts and remembers the sentiment of tweets.

    An async context manager: within it, what is to be remembered is written, and what is past its
    retention is erased.

    Args:
        predictor: Answers from the model.
        source: Finds tweets.
        ledger: Remembers predictions.
        model: A model with the BYTES input ``text`` and the outputs ``label`` and ``scores``.
        max_texts: Texts of one request at most.
        clock: Wall time dates the predictions.
        logger: Told when memory is out of reach.
        on_lookup: Told what came of asking memory for a tweet: "hit", "miss" or "unavailable".
        buffer_items: Predictions that wait for the store at most; then the oldest are given up.
        buffer_bytes: Bound of their sizes.
        on_buffer: Told how many wait, and how many were given up in all.
    """

    def __init__(
        self,
        predictor: Predictor,
        source: TweetSource,
        ledger: Ledger,
        *,
        model: str = DEFAULT_MODEL,
        max_texts: int = DEFAULT_MAX_TEXTS,
        clock: Clock | None = None,
        logger: EventLogger | None = None,
        on_lookup: Callable[[str], None] = lambda _: None,
        buffer_items: int = DEFAULT_BUFFER_ITEMS,
        buffer_bytes: int = DEFAULT_BUFFER_BYTES,
        on_buffer: Callable[[int, int], None] = lambda _items, _dropped: None,
    ) -> None:
        self._predictor = predictor
        self._source = source
        self._ledger = ledger
        self._model = model
        self._clock = clock or SystemClock()
        self._log = logger or get_logger(__name__)
        self._on_lookup = on_lookup
        self._buffer = WriteBehind(
            self._write,
            nbytes=lambda record: _RECORD_BYTES + 4 * len(record.text),
            max_items=buffer_items,
            max_bytes=buffer_bytes,
            clock=self._clock,
            on_change=on_buffer,
        )
        self._sweeper = Sweeper(ledger, clock=self._clock)
        self._flights: dict[_Asked, Flight[PredictionRecord]] = {}
        self._stack = AsyncExitStack()
        self.aggregates = Aggregates(ledger)
        self.clock = self._clock
        self.max_texts = max_texts

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._buffer)
        sweeping = asyncio.create_task(self._sweeper.run(), name="tweets-sweeper")
        self._stack.push_async_callback(_ended, sweeping)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for flight in list(self._flights.values()):
            await _ended(flight.future)
        await self._stack.aclose()

    async def judge_tweet(
        self, tweet_url: str, *, use_cache: bool = True, refresh: bool = False
    ) -> TweetAnswer:
        """The sentiment of the tweet that *tweet_url* names; it is remembered.

        A prediction of the version that would answer now is told again.  One of another version is
        made anew from the remembered text, without fetching.  Questions for one tweet that meet
        share one fetch and one prediction.

        Args:
            tweet_url: The address, or the tweet's id.
            use_cache: Whether a remembered prediction will do, and this one is remembered.
            refresh: With *use_cache*, whether it is made anew all the same, and then remembered; a
                tweet whose text is remembered is not fetched for that.

        Raises:
            InvalidInput: The address is not a tweet's, or the model refuses its text.
            AuguryError: What the engine raises for a whole request.
            NotFound, NotAllowed, Overloaded, UpstreamFailed: See ``TweetSource.fetch``.
        """
        tweet_id = parse_tweet_id(tweet_url)
        # Before anything is read: an erasure from here on is younger than this prediction.
        asked_at = datetime.fromtimestamp(self._clock.time(), UTC)
        known = await self._recall(tweet_id)
        if known is not None and use_cache and not refresh and self._is_current(known):
            self._on_lookup("hit")
            return TweetAnswer(known, cached=True)
        asked = _Asked(tweet_id, use_cache, refresh)
        flight = self._flights.get(asked)
        if flight is None or flight.future.cancelled():
            flight = self._take_off(asked, known, asked_at)
        flight.join()
        try:
            await settled([flight.future])
        finally:
            flight.leave()
        return TweetAnswer(flight.future.result(), cached=False)

    def check_texts(self, texts: Sequence[str]) -> None:
        """Refuse what no model need see.

        Raises:
            InvalidInput: No text.
            TooLarge: More than ``max_texts``.
        """
        if not texts:
            raise InvalidInput("texts is empty; send at least one text")
        if len(texts) > self.max_texts:
            raise TooLarge(
                f"{len(texts)} texts in one request, the limit is {self.max_texts} "
                "(AUGURY_MAX_TEXTS); send several requests",
                texts=len(texts),
                limit=self.max_texts,
            )

    async def judge_texts(
        self, texts: Sequence[str], *, use_cache: bool = True, refresh: bool = False
    ) -> TextsAnswer:
        """The sentiment of each of *texts*; nothing is remembered of them here.

        Args:
            texts: 1 to ``max_texts`` of them.
            use_cache: As in ``InferRequest``.
            refresh: Likewise.

        Raises:
            InvalidInput: No text.
            TooLarge: More than ``max_texts``.
            AuguryError: What the engine raises for a whole request.
        """
        self.check_texts(texts)
        encoded = [_encode(text) for text in texts]
        sound = [text for text in encoded if isinstance(text, bytes)]
        if not sound:
            version, judged, timing = self._predictor.version(self._model), [], Timing()
        else:
            request = InferRequest(
                self._model,
                {"text": bytes_column(sound)},
                use_cache=use_cache,
                refresh=refresh,
            )
            # Another version may take over meanwhile, whose classes are called otherwise.
            with self._predictor.lease(self._model) as leased:
                response = await self._predictor.infer_leased(leased, request)
                judged = read_sentiments(response, cast("Leased", leased).signature)
            version, timing = response.version, response.timing
        in_order = iter(judged)
        results = tuple(next(in_order) if isinstance(text, bytes) else text for text in encoded)
        return TextsAnswer(self._model, version, results, timing)

    def remember(self, record: PredictionRecord) -> None:
        """Have *record* written; a question that comes before it is written finds it too."""
        self._buffer.put(str(record.tweet_id), record)

    async def flush(self, timeout_s: float) -> int:
        """Have everything that waits written now; returns how many still wait after *timeout_s*."""
        return await self._buffer.flush(timeout_s)

    async def erase_tweet(self, tweet_id: int) -> int:
        """Erase a tweet: prediction, counts, the archive's copy; returns how many there were.

        Raises:
            Unavailable: The store cannot be reached; ask again.
        """
        waited = await self._buffer.discard(str(tweet_id))
        return max(await self._ledger.erase([tweet_id]), waited)

    async def erase_author(self, author_id: int) -> int:
        """Erase all tweets of an author; returns how many there were.

        Raises:
            Unavailable: The store cannot be reached; ask again.
        """
        await self._buffer.flush(_FLUSH_S)
        return await self._ledger.erase_author(author_id)

    async def clear(self) -> int:
        """Erase everything; returns how many tweets there were.

        Raises:
            Unavailable: The store cannot be reached; ask again.
        """
        await self._buffer.flush(_FLUSH_S)
        return await self._ledger.clear()

    def _is_current(self, record: PredictionRecord) -> bool:
        """Whether *record* is what the model would say now."""
        return record.model == self._model and record.version == self._predictor.version(
            self._model
        )

    def _take_off(
        self, asked: _Asked, known: PredictionRecord | None, asked_at: datetime
    ) -> Flight[PredictionRecord]:
        """Begin to fetch and judge a tweet for all who ask."""
        task = asyncio.create_task(self._judge(asked, known, asked_at), name="tweets-judge")
        flight = self._flights[asked] = Flight(task)

        def landed(done: asyncio.Future[PredictionRecord]) -> None:
            if self._flights.get(asked) is flight:
                del self._flights[asked]
            # Those who wait are told; when they have all gone, nobody else asks for the error.
            if not done.cancelled():
                done.exception()

        task.add_done_callback(landed)
        return flight

    async def _judge(
        self, asked: _Asked, known: PredictionRecord | None, asked_at: datetime
    ) -> PredictionRecord:
        tweet = await self._source.fetch(asked.tweet_id) if known is None else known.tweet
        answer = await self.judge_texts(
            [tweet.text], use_cache=asked.use_cache, refresh=asked.refresh
        )
        (result,) = answer.results
        if isinstance(result, AuguryError):
            raise result
        record = record_of(
            tweet,
            label=result.label,
            scores=result.scores,
            model=answer.model,
            version=answer.version,
            predicted_at=asked_at,
        )
        if asked.use_cache:
            self.remember(record)
        return record

    async def _recall(self, tweet_id: int) -> PredictionRecord | None:
        known = self._buffer.get(str(tweet_id))
        try:
            if known is None:
                known = await self._ledger.record(tweet_id)
                # What was judged, or written anew, while we asked is younger than the answer.
                known = self._buffer.get(str(tweet_id)) or known
        except AuguryError as error:
            self._log.warning("memory not asked", tweet_id=str(tweet_id), error=error.message)
            self._on_lookup("unavailable")
            return None
        if known is None or not self._is_current(known):
            self._on_lookup("miss")
        return known

    async def _write(self, waiting: list[PredictionRecord]) -> None:
        await self._ledger.write(waiting)


async def _ended(task: asyncio.Future[Any]) -> None:
    """End *task*, whatever it does."""
    task.cancel()
    with suppress(asyncio.CancelledError, AuguryError):
        await task


def _encode(text: str) -> bytes | InvalidInput:
    r"""*text* as UTF-8, or why that cannot be (``"\ud800"`` is JSON, but no Unicode)."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        return InvalidInput(
            f"character {error.start} of the text is half of a surrogate pair, "
            f"{shown(text[error.start])}; send the pair, or leave it out",
            position=error.start,
        )
