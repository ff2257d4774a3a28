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
from augury.services.tweets.aggregates import AuthorRow, Bucket, Counts, Page, Tally, TopicRow
from augury.services.tweets.ledger.tables import Kind
from augury.services.tweets.records import PredictionRecord
from augury.services.tweets.rising import Rising, RisingRow
from augury.services.tweets.sentiments import Sentiment
from augury.services.tweets.service import TextsAnswer, TweetAnswer

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


class _Judged(_Body):
    sentiment_analyst: str = Field(description="The label: negative, neutral or positive")
    text_input: str = Field(description="The text that was judged")
    scores: dict[str, float] = Field(description="Every label to its probability")
    tweet_id: str
    author: Author
    created_at: datetime | None = Field(description="When the tweet was written, UTC")
    model: str
    version: str


class TweetSentiment(_Judged):
    """The sentiment of one tweet."""

    cached: bool = Field(description="Whether the prediction was remembered")

    @classmethod
    def of(cls, answer: TweetAnswer) -> Self:
        """*answer* for the wire."""
        return cls(**_judged_fields(answer.record), cached=answer.cached)


class RememberedTweet(_Judged):
    """The sentiment of one tweet, as it is remembered."""

    predicted_at: datetime = Field(description="When it was judged, UTC")

    @classmethod
    def of(cls, record: PredictionRecord) -> Self:
        """*record* for the wire."""
        return cls(**_judged_fields(record), predicted_at=record.predicted_at)


def _judged_fields(record: PredictionRecord) -> dict[str, Any]:
    return {
        "sentiment_analyst": record.label,
        "text_input": record.text,
        "scores": record.scores,
        "tweet_id": str(record.tweet_id),
        "author": Author(
            id=None if record.author_id is None else str(record.author_id),
            username=record.username,
            name=record.author_name,
        ),
        "created_at": record.created_at,
        "model": record.model,
        "version": str(record.version),
    }


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
    truncated: bool = Field(description="Always false: all tweets are counted")


class AuthorSentiment(Aggregate):
    """The sentiment of an author's tweets."""

    author_id: str


class TopicSentiment(Aggregate):
    """The sentiment of the tweets on a topic."""

    topic: str


class AllSentiment(Aggregate):
    """The sentiment of all tweets."""


class _List(_Body):
    total: int = Field(description="Rows of the whole list")
    offset: int
    limit: int
    next: int | None = Field(description="Offset of the next page; null on the last")


class TweetList(_List):
    """Predictions."""

    tweets: list[RememberedTweet]

    @classmethod
    def of(cls, page: Page[PredictionRecord]) -> Self:
        """*page* for the wire."""
        return cls(tweets=[RememberedTweet.of(row) for row in page.rows], **page_fields(page))


class ListedAuthor(Summary):
    """An author, with their tweets added up."""

    id: str = Field(description="X's id, as text")
    username: str | None = Field(description="The name after the @, without it")
    name: str | None = Field(description="The name that is shown")
    first_at: datetime | None = Field(description="When the earliest tweet was written")
    last_at: datetime | None = Field(description="When the latest tweet was written")


class AuthorList(_List):
    """Authors."""

    authors: list[ListedAuthor]

    @classmethod
    def of(cls, page: Page[AuthorRow]) -> Self:
        """*page* for the wire."""
        return cls(
            authors=[
                ListedAuthor(
                    id=str(row.author_id),
                    username=row.username,
                    name=row.name,
                    first_at=row.first_at,
                    last_at=row.last_at,
                    **_summary_fields(row.counts),
                )
                for row in page.rows
            ],
            **page_fields(page),
        )


class ListedTopic(Summary):
    """A topic, with the tweets on it added up."""

    topic: str
    kind: Kind
    recent: int | None = Field(description="For rising: its tweets of the window")
    expected: float | None = Field(description="For rising: the mean of its earlier windows")
    score: float | None = Field(description="For rising: the excess in standard deviations")


class TopicList(_List):
    """Topics."""

    topics: list[ListedTopic]
    window_start: datetime | None = Field(description="For rising: begin of the window, UTC")
    window_end: datetime | None = Field(description="For rising: its end, exclusive")


class Erased(_Body):
    """What an erasure did."""

    erased: int = Field(description="Tweets that were erased")


def topic_list(found: Page[TopicRow] | Rising) -> TopicList:
    """*Found* for the wire."""
    page: Page[TopicRow] | Page[RisingRow] = found.page if isinstance(found, Rising) else found
    return TopicList(
        topics=[
            ListedTopic(
                topic=row.topic,
                kind=row.kind,
                recent=row.recent if isinstance(row, RisingRow) else None,
                expected=row.expected if isinstance(row, RisingRow) else None,
                score=row.score if isinstance(row, RisingRow) else None,
                **_summary_fields(row.counts),
            )
            for row in page.rows
        ],
        window_start=found.start if isinstance(found, Rising) else None,
        window_end=found.end if isinstance(found, Rising) else None,
        **page_fields(page),
    )


def page_fields(page: Page[Any]) -> dict[str, Any]:
    """The members that all lists have in common."""
    return {"total": page.total, "offset": page.offset, "limit": page.limit, "next": page.next}


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
        "truncated": False,
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
