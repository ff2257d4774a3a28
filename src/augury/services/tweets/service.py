"""The business of it: from a tweet's address, or texts, to sentiment.

Stands between ``routes`` and everything else of this folder.  Memory is a help and never a
condition: a store that is down costs a fetch and a prediction, and is logged, but fails nobody.
It logs ids and error codes, never a text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from augury.core.clock import Clock, SystemClock
from augury.core.errors import AuguryError, InvalidInput, NotFound, RuntimeFailed, TooLarge
from augury.core.request import InferRequest, InferResponse, Timing
from augury.core.signature import Signature
from augury.core.tensor import bytes_column
from augury.observe.logs import EventLogger, get_logger
from augury.services.tweets import aggregates, records
from augury.services.tweets.aggregates import Bucket, Tally
from augury.services.tweets.model import Tweet
from augury.services.tweets.records import PredictionRecord
from augury.services.tweets.sources.base import TweetSource
from augury.services.tweets.topics import parse_topic
from augury.services.tweets.urls import parse_tweet_id, shown
from augury.stores.base import KeyValueStore

DEFAULT_MODEL: Final = "tweet-sentiment"
DEFAULT_MAX_TEXTS: Final = 256


class Predictor(Protocol):
    """What the service needs of the engine."""

    async def infer(self, request: InferRequest) -> InferResponse:
        """Answer *request*; what one row meets is in ``errors``, what all meet is raised."""

    def signature(self, model: str) -> Signature:
        """The signature of the version that answers by default."""

    def version(self, model: str) -> int:
        """The version that answers by default."""


@dataclass(frozen=True, slots=True)
class Sentiment:
    """What the model makes of one text.

    Args:
        label: The class chosen.
        scores: Every class to its probability.
        cached: Whether the engine remembered it.
    """

    label: str
    scores: dict[str, float]
    cached: bool = False


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
    """Predicts, remembers and adds up the sentiment of tweets.

    Args:
        predictor: Answers from the model.
        source: Finds tweets.
        store: Remembers predictions.
        model: A model with the BYTES input ``text`` and the outputs ``label`` and ``scores``.
        max_texts: Texts of one request at most.
        clock: Wall time dates the predictions.
        logger: Told when the store is down.
        on_lookup: Told what came of asking memory for a tweet: "hit", "miss" or "unavailable".
    """

    def __init__(
        self,
        predictor: Predictor,
        source: TweetSource,
        store: KeyValueStore,
        *,
        model: str = DEFAULT_MODEL,
        max_texts: int = DEFAULT_MAX_TEXTS,
        clock: Clock | None = None,
        logger: EventLogger | None = None,
        on_lookup: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._predictor = predictor
        self._source = source
        self._store = store
        self._model = model
        self._clock = clock or SystemClock()
        self._log = logger or get_logger(__name__)
        self._on_lookup = on_lookup
        self.max_texts = max_texts

    async def judge_tweet(self, tweet_url: str) -> TweetAnswer:
        """The sentiment of the tweet that *tweet_url* names.

        A prediction of the version that would answer now is told again.  One of another version is
        not, but its tweet need not be fetched, and paid for, again.

        Raises:
            InvalidInput: *tweet_url* names no tweet, or its text is no valid Unicode.
            Refused: The model refuses the text.
            NotFound, NotAllowed, Overloaded, UpstreamFailed: See ``TweetSource.fetch``.
        """
        tweet_id = parse_tweet_id(tweet_url)
        known = await self._recall(tweet_id)
        if known is not None and self._is_current(known):
            self._on_lookup("hit")
            return TweetAnswer(known, cached=True)
        tweet = await self._source.fetch(tweet_id) if known is None else known.tweet
        return TweetAnswer(await self._judge(tweet), cached=False)

    async def judge_texts(self, texts: Sequence[str]) -> TextsAnswer:
        """The sentiment of each of *texts*; nothing is remembered of them here.

        Raises:
            InvalidInput: No text.
            TooLarge: More than ``max_texts``.
            AuguryError: What the engine raises for a whole request.
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
        encoded = [_encode(text) for text in texts]
        sound = [text for text in encoded if isinstance(text, bytes)]
        if not sound:
            version, judged, timing = self._predictor.version(self._model), [], Timing()
        else:
            response = await self._predictor.infer(
                InferRequest(self._model, {"text": bytes_column(sound)})
            )
            version, judged, timing = response.version, self._read(response), response.timing
        in_order = iter(judged)
        results = tuple(next(in_order) if isinstance(text, bytes) else text for text in encoded)
        return TextsAnswer(self._model, version, results, timing)

    async def remember(self, record: PredictionRecord) -> None:
        """Write *record*, for 60 days; a store that is down is logged.

        Meant to run after the answer has been sent.
        """
        try:
            await records.remember(self._store, record)
        except AuguryError as error:
            self._log.warning(
                "prediction not remembered", tweet_id=str(record.tweet_id), error=error.message
            )

    async def author(self, author: str, bucket: Bucket) -> tuple[int, Tally]:
        """The id and the tally of an author, given by id or ``@username``.

        Raises:
            NotFound: Nothing is held of them.
            Unavailable: The store cannot be reached.
        """
        author_id = await aggregates.find_author(self._store, author)
        if author_id is not None:
            tally = await aggregates.author_tally(self._store, author_id, bucket)
            if tally.all.total:
                return author_id, tally
        raise NotFound(
            f"no prediction is held for author {shown(author)}; ask /v1/inference for some of their "
            "tweets first (predictions are held for 60 days), and name authors by id or @username",
            author=shown(author),
        )

    async def topic(self, word: str, bucket: Bucket) -> tuple[str, Tally]:
        """The spelling and the tally of a topic.

        Raises:
            InvalidInput: *word* could not be a topic.
            NotFound: Nothing is held on it.
            Unavailable: The store cannot be reached.
        """
        topic = parse_topic(word)
        tally = await aggregates.topic_tally(self._store, topic, bucket)
        if tally.all.total:
            return topic, tally
        raise NotFound(
            f"no prediction is held on the topic {topic!r}; topics are hashtags, cashtags and words "
            "of 3 letters or more of the tweets that /v1/inference was asked for in 60 days",
            topic=topic,
        )

    def _is_current(self, record: PredictionRecord) -> bool:
        """Whether *record* is what the model would say now."""
        return record.model == self._model and record.version == self._predictor.version(
            self._model
        )

    async def _judge(self, tweet: Tweet) -> PredictionRecord:
        answer = await self.judge_texts([tweet.text])
        (result,) = answer.results
        if isinstance(result, AuguryError):
            raise result
        return records.record_of(
            tweet,
            label=result.label,
            scores=result.scores,
            model=answer.model,
            version=answer.version,
            predicted_at=datetime.fromtimestamp(self._clock.time(), UTC),
        )

    async def _recall(self, tweet_id: int) -> PredictionRecord | None:
        try:
            known = await records.recall(self._store, tweet_id)
        except AuguryError as error:
            self._log.warning("memory not asked", tweet_id=str(tweet_id), error=error.message)
            self._on_lookup("unavailable")
            return None
        if known is None or not self._is_current(known):
            self._on_lookup("miss")
        return known

    def _read(self, response: InferResponse) -> list[Sentiment | AuguryError]:
        """The rows of *response* in business terms."""
        if len(response.errors) == response.rows:
            return [response.errors[row] for row in range(response.rows)]
        spec = self._predictor.signature(self._model)
        names = next((output.labels for output in spec.outputs if output.name == "scores"), ())
        labels, scores = response.outputs.get("label"), response.outputs.get("scores")
        if labels is None or scores is None or len(names) != scores.shape[-1]:
            raise RuntimeFailed(
                f"model {self._model!r} tells no sentiment: it needs the outputs 'label' and "
                "'scores', with the names of the classes as labels of 'scores'",
                model=self._model,
            )
        return [
            response.errors.get(row)
            or Sentiment(
                labels[row].decode(),
                # Six digits: more than float32 holds, and no 0.30000001192092896 on the wire.
                {name: round(float(p), 6) for name, p in zip(names, scores[row], strict=True)},
                row in response.cached,
            )
            for row in range(response.rows)
        ]


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
