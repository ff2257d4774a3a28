"""The tweet routes.  They translate and nothing more; errors are raised, and told by the edge."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, BackgroundTasks, Path, Query

from augury.core.errors import (
    AuguryError,
    InvalidInput,
    NotAllowed,
    NotFound,
    Overloaded,
    Refused,
    TooLarge,
    Unavailable,
    UpstreamFailed,
)
from augury.protocols.native.errors import problem_response
from augury.services.tweets.aggregates import Bucket
from augury.services.tweets.schemas import (
    AuthorSentiment,
    Texts,
    TextsSentiment,
    TopicSentiment,
    TweetSentiment,
    aggregate_fields,
)
from augury.services.tweets.service import TweetService

# Shared by the examples, so that they tell one story.
_SCORES: Final = {"negative": 0.010312, "neutral": 0.094127, "positive": 0.895561}
_TWEET: Final = {
    "sentimentAnalyst": "positive",
    "textInput": "Good night 😊",
    "scores": _SCORES,
    "tweetId": "1050118621198921728",
    "author": {"id": "2244994945", "username": "XDevelopers", "name": "Developers"},
    "createdAt": "2018-10-10T20:19:24Z",
    "cached": False,
    "model": "tweet-sentiment",
    "version": "1",
}
_TEXTS: Final = {
    "model": "tweet-sentiment",
    "version": "1",
    "results": [
        {"label": "positive", "scores": _SCORES, "cached": False},
        {
            "error": {
                "code": "invalid_input",
                "title": "Invalid input",
                "detail": "the text is empty",
            }
        },
    ],
    "timing": {"preprocess_ms": 0.21, "queue_ms": 0.05, "runtime_ms": 3.1, "total_ms": 3.4},
}
_SUMMARY: Final = {
    "total": 4,
    "labels": {"negative": 1, "neutral": 0, "positive": 3},
    "shares": {"negative": 0.25, "neutral": 0.0, "positive": 0.75},
    "meanScores": {"negative": 0.2301, "neutral": 0.1544, "positive": 0.6155},
}
_AGGREGATE: Final = {
    **_SUMMARY,
    "bucket": "day",
    "buckets": [{"start": "2018-10-10T00:00:00Z", **_SUMMARY}],
    "bucketsOmitted": 0,
    "undated": 0,
    "firstAt": "2018-10-10T08:02:11Z",
    "lastAt": "2018-10-10T20:19:24Z",
    "truncated": False,
}

_PROBLEM: Final = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457; `code` is stable, `detail` says what to do.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
    },
}

BucketQuery = Annotated[Bucket, Query(description="Length of a stretch of time, in UTC")]


def _ok(example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"example": example}}}}


def _problems(
    *whens: tuple[type[AuguryError], str],
) -> dict[int | str, dict[str, Any]]:
    """The documented errors: each with when it comes."""
    return {
        kind.status: {
            "description": f"{kind.title}: {when}",
            "content": {
                "application/problem+json": {
                    "schema": _PROBLEM,
                    "example": {
                        "type": f"urn:augury:error:{kind.code}",
                        "title": kind.title,
                        "status": kind.status,
                        "detail": when,
                        "code": kind.code,
                    },
                }
            },
        }
        for kind, when in whens
    }


_STORE_DOWN: Final = (Unavailable, "the model is not ready, or the store cannot be reached")


def router(service: TweetService) -> APIRouter:
    """The routes of *service*."""
    routes = APIRouter(prefix="/v1", tags=["tweets"])

    @routes.get(
        "/inference",
        summary="The sentiment of a tweet",
        response_description="The label, its scores, and the tweet",
        responses={
            **_ok(_TWEET),
            **_problems(
                (InvalidInput, "tweetUrl is not the address of a tweet"),
                (NotAllowed, "the tweet is protected"),
                (NotFound, "the tweet was deleted, or is not in the archive and X cannot be asked"),
                (Refused, "the model refuses the tweet's text"),
                (Overloaded, "X's rate limit or our queue is full; see Retry-After"),
                (UpstreamFailed, "X fails, hangs, or refuses our credentials"),
                (Unavailable, "the model is not ready"),
            ),
        },
    )
    async def inference(
        background: BackgroundTasks,
        tweet_url: Annotated[
            str,
            Query(
                alias="tweetUrl",
                description="The address of a tweet at x.com or twitter.com, or its bare id",
                examples=["https://x.com/XDevelopers/status/1050118621198921728"],
            ),
        ],
    ) -> TweetSentiment:
        """Fetch a tweet (from the imported archive, else from X), judge it, and remember that.

        The prediction is held for 60 days, under its author and its topics.  Asked again, it is
        told from memory (`cached`), without asking X, until another version of the model serves.
        """
        answer = await service.judge_tweet(tweet_url)
        if not answer.cached:
            background.add_task(service.remember, answer.record)
        return TweetSentiment.of(answer)

    @routes.post(
        "/sentiment",
        summary="The sentiment of texts",
        response_model=TextsSentiment,
        response_description="One result for each text, in their order",
        responses={
            **_ok(_TEXTS),
            **_problems(
                (InvalidInput, "the body is not {'texts': [...]} with one text or more"),
                (TooLarge, "more texts than the limit, or a body over the limit"),
                (Overloaded, "the model's queue is full; see Retry-After"),
                (Unavailable, "the model is not ready"),
            ),
        },
        openapi_extra={
            "requestBody": {
                "content": {
                    "application/json": {"example": {"texts": ["Good night 😊", ""]}},
                }
            }
        },
    )
    async def sentiment(body: Texts) -> Any:
        """Judge 1 to 256 texts.

        Texts fail alone: one that the model refuses carries its `error`, the others their answers.
        When none has an answer, the status is that of the first text's error. Nothing is remembered.
        """
        answer = await service.judge_texts(body.texts)
        shown = TextsSentiment.of(answer)
        first = answer.results[0]
        if isinstance(first, AuguryError) and all(
            isinstance(result, AuguryError) for result in answer.results
        ):
            results = shown.model_dump(mode="json", by_alias=True)["results"]
            return problem_response(first, results=results)
        return shown

    @routes.get(
        "/authors/{id}/sentiment",
        summary="The sentiment of an author's tweets",
        response_description="Counts, shares and mean scores, in all and over time",
        responses={
            **_ok({"authorId": "2244994945", **_AGGREGATE}),
            **_problems(
                (InvalidInput, "bucket is not hour, day or week"),
                (NotFound, "nothing is held of this author"),
                _STORE_DOWN,
            ),
        },
    )
    async def author_sentiment(
        id: Annotated[
            str, Path(description="X's id of the author, or @username", examples=["@XDevelopers"])
        ],
        bucket: BucketQuery = "day",
    ) -> AuthorSentiment:
        """Add up the predictions that are held of one author's tweets, by the tweets' time."""
        author_id, tally = await service.author(id, bucket)
        return AuthorSentiment(author_id=str(author_id), **aggregate_fields(tally))

    @routes.get(
        "/topics/{word}/sentiment",
        summary="The sentiment of the tweets on a topic",
        response_description="Counts, shares and mean scores, in all and over time",
        responses={
            **_ok({"topic": "#bitcoin", **_AGGREGATE}),
            **_problems(
                (InvalidInput, "word could not be a topic, or bucket is not hour, day or week"),
                (NotFound, "nothing is held on this topic"),
                _STORE_DOWN,
            ),
        },
    )
    async def topic_sentiment(
        word: Annotated[
            str,
            Path(
                description="A word, #hashtag or $cashtag (# is written %23 in a URL); "
                "without a sign, tweets that merely speak of it count too",
                examples=["#bitcoin"],
            ),
        ],
        bucket: BucketQuery = "day",
    ) -> TopicSentiment:
        """Add up the predictions that are held of the tweets on one topic, by the tweets' time."""
        topic, tally = await service.topic(word, bucket)
        return TopicSentiment(topic=topic, **aggregate_fields(tally))

    return routes
