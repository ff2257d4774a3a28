"""Erase what is held.  Who may do so is the edge's matter: these routes need the scope admin."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path

from augury.core.errors import InvalidInput
from augury.services.tweets.api.responses import (
    NO_CREDENTIALS,
    STORE_DOWN,
    Responses,
    ok,
    problems,
    scope_missing,
)
from augury.services.tweets.api.schemas import Erased
from augury.services.tweets.model import id_of_name
from augury.services.tweets.service import TweetService
from augury.services.tweets.urls import parse_tweet_id

_DENIED: Final = (NO_CREDENTIALS, scope_missing("admin"), STORE_DOWN)


def _responses(invalid: str) -> Responses:
    return {**ok({"erased": 1}), **problems((InvalidInput, invalid), *_DENIED)}


def add(routes: APIRouter, service: TweetService) -> None:
    """Add the routes to *routes*."""

    @routes.delete(
        "/tweets/{id}",
        summary="Erase a tweet",
        response_description="How many tweets were erased: 1, or 0 when nothing was held",
        responses=_responses("id is no tweet's id"),
    )
    async def erase_tweet(
        id: Annotated[str, Path(description="The tweet's id", examples=["1050118621198921728"])],
    ) -> Erased:
        """Erase a tweet: its prediction, its part in all counts, and the archive's copy.

        Erasing what is not held is no error. Needs the scope admin.
        """
        return Erased(erased=await service.erase_tweet(parse_tweet_id(id)))

    @routes.delete(
        "/authors/{id}",
        summary="Erase an author",
        response_description="How many tweets were erased",
        responses=_responses("id is neither an id nor a @username"),
    )
    async def erase_author(
        id: Annotated[str, Path(description="X's id of the author, or @username")],
    ) -> Erased:
        """Erase all tweets of an author: predictions, counts, and the archive's copies.

        An author of whom nothing was ever predicted is known by id only, not by name. Erasing what
        is not held is no error. Needs the scope admin.
        """
        author_id = await service.aggregates.find_author(id)
        ids = set() if author_id is None else {author_id}
        if not id.strip().isdigit():
            # Tweets of a file that tells names only are under an id made of the name.
            ids.add(id_of_name(id))
        return Erased(erased=sum([await service.erase_author(one) for one in sorted(ids)]))

    @routes.post(
        "/clear",
        summary="Erase everything",
        response_description="How many tweets were erased",
        responses=_responses("the request has a body that cannot be read"),
    )
    async def clear() -> Erased:
        """Erase all predictions, counts and authors' names, and the imported archive.

        Counts are empty at once; an answer that is under way meanwhile is not remembered. If it
        fails half-way, ask again. Needs the scope admin.
        """
        return Erased(erased=await service.clear())
