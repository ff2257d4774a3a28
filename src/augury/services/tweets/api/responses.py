"""What the API's document tells of answers and errors: examples and problems."""

from __future__ import annotations

from typing import Any, Final

from augury.core.errors import (
    AuguryError,
    NotAllowed,
    Overloaded,
    Unauthenticated,
    Unavailable,
)

# Shared by the examples, so that they tell one story.
SCORES: Final = {"negative": 0.010312, "neutral": 0.094127, "positive": 0.895561}
AUTHOR: Final = {"id": "2244994945", "username": "XDevelopers", "name": "Developers"}
TWEET: Final = {
    "sentimentAnalyst": "positive",
    "textInput": "Good night 😊",
    "scores": SCORES,
    "tweetId": "1050118621198921728",
    "author": AUTHOR,
    "createdAt": "2018-10-10T20:19:24Z",
    "model": "tweet-sentiment",
    "version": "1",
}
SUMMARY: Final = {
    "total": 4,
    "labels": {"negative": 1, "neutral": 0, "positive": 3},
    "shares": {"negative": 0.25, "neutral": 0.0, "positive": 0.75},
    "meanScores": {"negative": 0.2301, "neutral": 0.1544, "positive": 0.6155},
}
AGGREGATE: Final = {
    **SUMMARY,
    "bucket": "day",
    "buckets": [{"start": "2018-10-10T00:00:00Z", **SUMMARY}],
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

Responses = dict[int | str, dict[str, Any]]
When = tuple[type[AuguryError], str]

STORE_DOWN: Final[When] = (Unavailable, "the store cannot be reached")
MODEL_DOWN: Final[When] = (Unavailable, "the model is not ready")
# The edge raises these before a route is asked.
NO_CREDENTIALS: Final[When] = (Unauthenticated, "the server wants credentials, and none came")
OVER_QUOTA: Final[When] = (Overloaded, "the quota of the key is used up; see Retry-After")


def scope_missing(scope: str) -> When:
    """For credentials that do not reach as far as *scope*."""
    return NotAllowed, f"the credentials are without the scope {scope}"


def ok(example: dict[str, Any]) -> Responses:
    """The good answer."""
    return {200: {"content": {"application/json": {"example": example}}}}


def page(name: str, row: dict[str, Any], **more: Any) -> Responses:
    """The good answer of a list; *more* are members beside it."""
    return ok({name: [row], **more, "total": 41, "offset": 0, "limit": 20, "next": 20})


def problems(*whens: When) -> Responses:
    """The errors: each with when it comes; of one status, the later ones are added to the first."""
    told: Responses = {}
    for kind, when in whens:
        if kind.status in told:
            told[kind.status]["description"] += f"; or {when}"
            continue
        told[kind.status] = {
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
    return told
