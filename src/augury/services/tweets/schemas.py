"""The bodies of the tweet routes, for the API's document and for checking what comes in.

Names are camelCase, as the seed's clients know them; ids are text, since JavaScript's numbers lose
digits after 2⁵³.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from augury.core.errors import AuguryError
from augury.core.request import Timing
from augury.services.tweets.aggregates import Bucket, Counts, Tally
from augury.services.tweets.records import PredictionRecord
from augury.services.tweets.service import Sentiment, TextsAnswer, TweetAnswer

# An hourly tally of years would be megabytes; 1,000 hours are six weeks, 1,000 weeks 19 years.
MAX_BUCKETS = 1000


def _check_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is a JSON string")
    return value


# Not `str`: pydantic refuses a whole request over one lone surrogate; rows fail alone.
Text = Annotated[Any, BeforeValidator(_check_text), WithJsonSchema({"type": "string"})]


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Author(_Body):
    """Who wrote a tweet; nulls where the source did not tell."""

    id: str | None = Field(description="X's id, as text")
    username: str | None = Field(description="The name after the @, without it")
    name: str | None = Field(description="The name that is shown")


class TweetSentiment(_Body):
    """The sentiment of one tweet."""

    sentiment_analyst: str = Field(description="The label: negative, neutral or positive")
    text_input: str = Field(description="The text that was judged")
    scores: dict[str, float] = Field(description="Every label to its probability")
    tweet_id: str
    author: Author
    created_at: datetime | None = Field(description="When the tweet was written, UTC")
    cached: bool = Field(description="Whether the prediction was remembered")
    model: str
    version: str

    @classmethod
    def of(cls, answer: TweetAnswer) -> Self:
        """*answer* for the wire."""
        record: PredictionRecord = answer.record
        return cls(
            sentiment_analyst=record.label,
            text_input=record.text,
            scores=record.scores,
            tweet_id=str(record.tweet_id),
            author=Author(
                id=None if record.author_id is None else str(record.author_id),
                username=record.username,
                name=record.author_name,
            ),
            created_at=record.created_at,
            cached=answer.cached,
            model=record.model,
            version=str(record.version),
        )


class Texts(_Body):
    """Texts to judge."""

    # Unknown members are most often a misspelt one.
    model_config = ConfigDict(extra="forbid")

    texts: list[Text] = Field(description="1 to 256 texts, unless the server's limit is another")


class TextSentiment(_Body):
    """The sentiment of one text."""

    label: str
    scores: dict[str, float] = Field(description="Every label to its probability")
    cached: bool = Field(description="Whether the prediction was remembered")


class RowFault(_Body):
    """Why one text has no answer; the others have theirs."""

    code: str = Field(description="Stable; programs may switch on it")
    title: str
    detail: str = Field(description="What is wrong, and what to do")


class TextFault(_Body):
    """Stands in the place of a text that was refused."""

    error: RowFault


class Durations(_Body):
    """Where the time went, in milliseconds; the names are those of the native API."""

    model_config = ConfigDict(alias_generator=None)

    preprocess_ms: float
    queue_ms: float
    runtime_ms: float
    total_ms: float

    @classmethod
    def of(cls, timing: Timing) -> Self:
        """*timing* for the wire."""
        return cls(
            preprocess_ms=round(timing.preprocess_s * 1e3, 3),
            queue_ms=round(timing.queue_s * 1e3, 3),
            runtime_ms=round(timing.runtime_s * 1e3, 3),
            total_ms=round(timing.total_s * 1e3, 3),
        )


class TextsSentiment(_Body):
    """The sentiment of several texts, in their order."""

    model: str
    version: str
    results: list[TextSentiment | TextFault]
    timing: Durations

    @classmethod
    def of(cls, answer: TextsAnswer) -> Self:
        """*answer* for the wire."""
        return cls(
            model=answer.model,
            version=str(answer.version),
            results=[_row(result) for result in answer.results],
            timing=Durations.of(answer.timing),
        )


class Summary(_Body):
    """Tweets added up."""

    total: int = Field(description="Tweets counted")
    labels: dict[str, int] = Field(description="Label to the number of tweets that got it")
    shares: dict[str, float] = Field(description="Label to its share of the tweets")
    mean_scores: dict[str, float] = Field(description="Label to its mean probability")


class Stretch(Summary):
    """Tweets of one hour, day or week added up."""

    start: datetime = Field(description="UTC; weeks start on Monday")


class Aggregate(Summary):
    """Tweets added up, in all and over time."""

    bucket: Bucket
    buckets: list[Stretch] = Field(
        description=f"In the order of time, at most the last {MAX_BUCKETS}; empty ones left out"
    )
    buckets_omitted: int = Field(description="Earlier buckets that are not shown")
    undated: int = Field(description="Tweets of unknown time, in no bucket")
    first_at: datetime | None = Field(description="When the earliest tweet was written")
    last_at: datetime | None = Field(description="When the latest tweet was written")
    truncated: bool = Field(description="Whether there were more tweets than were counted")


class AuthorSentiment(Aggregate):
    """The sentiment of an author's tweets."""

    author_id: str


class TopicSentiment(Aggregate):
    """The sentiment of the tweets on a topic."""

    topic: str


def aggregate_fields(tally: Tally) -> dict[str, Any]:
    """The members that both aggregates have in common."""
    stretches = [
        Stretch(start=start, **_summary_fields(counts))
        for start, counts in sorted(tally.buckets.items())
    ]
    return {
        **_summary_fields(tally.all),
        "bucket": tally.bucket,
        "buckets": stretches[-MAX_BUCKETS:],
        "buckets_omitted": max(0, len(stretches) - MAX_BUCKETS),
        "undated": tally.undated,
        "first_at": tally.first_at,
        "last_at": tally.last_at,
        "truncated": tally.truncated,
    }


def _summary_fields(counts: Counts) -> dict[str, Any]:
    return {
        "total": counts.total,
        "labels": counts.labels,
        "shares": {label: round(share, 6) for label, share in counts.shares.items()},
        "mean_scores": {name: round(mean, 6) for name, mean in counts.mean_scores.items()},
    }


def _row(result: Sentiment | AuguryError) -> TextSentiment | TextFault:
    if isinstance(result, AuguryError):
        return TextFault(
            error=RowFault(code=result.code, title=result.title, detail=result.message)
        )
    return TextSentiment(label=result.label, scores=result.scores, cached=result.cached)
