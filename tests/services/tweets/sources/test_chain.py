from __future__ import annotations

from typing import cast

import pytest

from augury.core.errors import AuguryError, NotAllowed, NotFound, Unavailable
from augury.services.tweets.model import Tweet
from augury.services.tweets.records import encode_tweet, tweet_key
from augury.services.tweets.sources.base import TweetSource
from augury.services.tweets.sources.chain import ChainSource, open_sources
from augury.stores.base import KeyValueStore
from augury.stores.memory import MemoryStore
from tests.services.tweets import x_server as server
from tests.services.tweets.conftest import DownStore
from tests.services.tweets.x_server import TOKEN, XServer


class Fixed:
    """Answers with one tweet or error."""

    def __init__(self, answer: Tweet | AuguryError) -> None:
        self.answer = answer

    async def fetch(self, tweet_id: int) -> Tweet:
        if isinstance(self.answer, AuguryError):
            raise self.answer
        return self.answer


TWEET = Tweet(id=1, text="hello")


@pytest.mark.parametrize("error", [NotFound("gone"), Unavailable("down")])
async def test_the_next_is_asked(error: AuguryError) -> None:
    """Not having it, and being down, are no last words."""
    sources: list[TweetSource] = [Fixed(error), Fixed(TWEET)]
    assert await ChainSource(sources).fetch(1) == TWEET


async def test_a_refusal_is_final() -> None:
    """A protected tweet is not looked for elsewhere."""
    with pytest.raises(NotAllowed):
        await ChainSource([Fixed(NotAllowed("protected")), Fixed(TWEET)]).fetch(1)


async def test_the_last_word_is_the_last_sources() -> None:
    """When nobody has it, the last one's reason is told."""
    with pytest.raises(NotFound, match="second"):
        await ChainSource([Fixed(NotFound("first")), Fixed(NotFound("second"))]).fetch(1)


def test_an_empty_chain_is_a_bug() -> None:
    """Somebody must be asked."""
    with pytest.raises(ValueError, match="one source"):
        ChainSource([])


async def test_the_archive_is_asked_first(store: MemoryStore, x_server: XServer) -> None:
    """What was imported costs no question to X; what was not does."""
    tweet = Tweet(id=server.OK, text="from the archive")
    await store.set(tweet_key(tweet.id), encode_tweet(tweet))
    async with open_sources(store, TOKEN, base_url=x_server.url) as source:
        assert await source.fetch(server.OK) == tweet
        assert x_server.asked == []
        assert (await source.fetch(server.LONG)).source == "x"


@pytest.mark.parametrize("token", [None, ""])
async def test_without_a_token_the_way_is_shown(store: MemoryStore, token: str | None) -> None:
    """The message names the setting and the command that would help."""
    async with open_sources(store, token) as source:
        with pytest.raises(NotFound, match=r"AUGURY_X_BEARER_TOKEN.*augury tweets import"):
            await source.fetch(server.OK)


async def test_an_archive_that_is_down_and_nobody_behind_it() -> None:
    """The tweet may well be there: ask again later, which is another thing than its absence."""
    async with open_sources(cast("KeyValueStore", DownStore()), None) as source:
        with pytest.raises(Unavailable, match="the store cannot be reached"):
            await source.fetch(server.OK)


async def test_an_archive_that_is_down_with_x_behind_it(x_server: XServer) -> None:
    """What X says counts, be it that the tweet was deleted."""
    down = cast("KeyValueStore", DownStore())
    async with open_sources(down, TOKEN, base_url=x_server.url) as source:
        assert (await source.fetch(server.OK)).source == "x"
        with pytest.raises(NotFound, match="deleted"):
            await source.fetch(server.DELETED)
