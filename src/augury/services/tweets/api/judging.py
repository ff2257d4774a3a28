"""Ask for the sentiment of a tweet or of texts.  Errors are raised, and told by the edge."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request

from augury.core.caller import caller_of
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
from augury.protocols.asgi import cache_wishes
from augury.protocols.native.errors import problem_response
from augury.services.tweets.api.responses import (
    MODEL_DOWN,
    NO_CREDENTIALS,
    OVER_QUOTA,
    SCORES,
    TWEET,
    ok,
    problems,
    scope_missing,
)
from augury.services.tweets.api.schemas import Texts, TextsSentiment, TweetSentiment
from augury.services.tweets.service import TweetService

_TEXTS: Final = {
    "model": "tweet-sentiment",
    "version": "1",
    "results": [
        {"label": "positive", "scores": SCORES, "cached": False},
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


def add(routes: APIRouter, service: TweetService) -> None:
    """Add the routes to *routes*."""

    @routes.get(
        "/inference",
        summary="The sentiment of a tweet",
        response_description="The label, its scores, and the tweet",
        responses={
            **ok({**TWEET, "cached": False}),
            **problems(
                (InvalidInput, "tweetUrl is not the address of a tweet"),
                NO_CREDENTIALS,
                (NotAllowed, "the tweet is protected"),
                scope_missing("predict"),
                (NotFound, "the tweet was deleted, or is not in the archive and X cannot be asked"),
                (Refused, "the model refuses the tweet's text"),
                (Overloaded, "X's rate limit or our queue is full; see Retry-After"),
                OVER_QUOTA,
                (UpstreamFailed, "X fails, hangs, or refuses our credentials"),
                (
                    Unavailable,
                    "the model is not ready, or the archive is down and X cannot be asked",
                ),
            ),
        },
    )
    async def inference(
        request: Request,
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
        With `Cache-Control: no-cache` a tweet that is held is judged anew, and that is remembered;
        with `no-store` it is not.
        """
        caller_of(request.scope).charge(1)
        wishes = cache_wishes(request.scope["headers"])
        return TweetSentiment.of(
            await service.judge_tweet(tweet_url, use_cache=wishes.use_cache, refresh=wishes.refresh)
        )

    @routes.post(
        "/sentiment",
        summary="The sentiment of texts",
        response_model=TextsSentiment,
        response_description="One result for each text, in their order",
        responses={
            **ok(_TEXTS),
            **problems(
                (InvalidInput, "the body is not {'texts': [...]} with one text or more"),
                NO_CREDENTIALS,
                scope_missing("predict"),
                (TooLarge, "more texts than the limit, or a body over the limit"),
                (Overloaded, "the model's queue is full; see Retry-After"),
                OVER_QUOTA,
                MODEL_DOWN,
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
    async def sentiment(request: Request, body: Texts) -> Any:
        """Judge 1 to 256 texts.

        Texts fail alone: one that the model refuses carries its `error`, the others their answers.
        When none has an answer, the status is that of the first text's error. No tweets are remembered;
        what the model said of a text may be told again (`cached`), unless `Cache-Control` asks for
        `no-cache` or `no-store`.
        """
        service.check_texts(body.texts)
        caller_of(request.scope).charge(len(body.texts))
        wishes = cache_wishes(request.scope["headers"])
        answer = await service.judge_texts(
            body.texts, use_cache=wishes.use_cache, refresh=wishes.refresh
        )
        shown = TextsSentiment.of(answer)
        first = answer.results[0]
        if isinstance(first, AuguryError) and all(
            isinstance(result, AuguryError) for result in answer.results
        ):
            results = shown.model_dump(mode="json", by_alias=True)["results"]
            return problem_response(first, results=results)
        return shown
