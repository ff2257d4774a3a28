"""Ask one source after another: what was imported first, X after it, because X costs money."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from augury.core.clock import Clock
from augury.core.errors import AuguryError, NotFound, Unavailable
from augury.services.tweets.model import Tweet
from augury.services.tweets.sources.archive import ArchiveSource
from augury.services.tweets.sources.base import TweetSource
from augury.services.tweets.sources.x_answers import TOKEN_SETTING
from augury.services.tweets.sources.x_api import DEFAULT_BASE_URL, XLimits, XSource
from augury.stores.base import KeyValueStore


class ChainSource:
    """A ``TweetSource`` that asks others in their order until one has the tweet.

    A source that has not got it, or whose store is down, is passed over; any other error is final.
    When nobody has it, the last one's reason is told.  But where nobody stands behind a store that is
    down (see ``XWithoutToken``), the tweet may well be in it: then that is told.

    Args:
        sources: One or more.
    """

    def __init__(self, sources: Sequence[TweetSource]) -> None:
        if not sources:
            raise ValueError("a chain needs one source or more")
        self._sources = tuple(sources)

    async def fetch(self, tweet_id: int) -> Tweet:
        last: AuguryError | None = None
        down: Unavailable | None = None
        for source in self._sources:
            try:
                return await source.fetch(tweet_id)
            except Unavailable as error:
                last = down = down or error
            except NotFound as error:
                last = down if down is not None and isinstance(source, XWithoutToken) else error
        assert last is not None  # noqa: S101 - the constructor refuses an empty chain
        raise last


class XWithoutToken:
    """Stands in the chain where X would, and tells how to get there."""

    async def fetch(self, tweet_id: int) -> Tweet:
        raise NotFound(
            f"tweet {tweet_id} is not in the archive, and without {TOKEN_SETTING} we cannot ask X: "
            "set it, or import the tweets with `augury tweets import FILE`",
            tweet=str(tweet_id),
        )


@asynccontextmanager
async def open_sources(
    store: KeyValueStore,
    token: str | None,
    *,
    base_url: str = DEFAULT_BASE_URL,
    limits: XLimits | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[TweetSource]:
    """The archive in *store*, and X behind it when there is a *token*.

    Raises:
        InvalidSetting: A token or URL that cannot be, or httpx2 is not installed.
    """
    archive = ArchiveSource(store)
    if not token:
        yield ChainSource([archive, XWithoutToken()])
        return
    async with XSource(token, base_url=base_url, limits=limits, clock=clock) as x:
        yield ChainSource([archive, x])
