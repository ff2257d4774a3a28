"""Ask X for one tweet: ``GET /2/tweets/:id``.

Everything that one ``fetch`` does (connecting, retries, waiting for the rate limit) fits into one
time budget; ``x_client`` keeps it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self

from augury.core.clock import Clock
from augury.services.tweets.model import Tweet
from augury.services.tweets.sources.x_answers import understand
from augury.services.tweets.sources.x_client import (
    DEFAULT_BASE_URL,
    FIELDS,
    XClient,
    XLimits,
)

__all__ = ["DEFAULT_BASE_URL", "XLimits", "XSource"]


class XSource:
    """A ``TweetSource`` that asks X.

    Use as an async context manager: it owns connections.

    Args:
        token: Bearer token of an X app; sent to *base_url* and shown nowhere.
        base_url: Where the API is; ``https``, or ``http`` on this machine.
        limits: Bounds of time and size.
        clock: Monotonic for the budget, wall for X's reset times.
        sleep: Waits so many seconds.
        uniform: A random number between its two arguments; jitter.

    Raises:
        InvalidSetting: A token or URL that cannot be.
    """

    def __init__(
        self,
        token: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        limits: XLimits | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._client = XClient(
            token, base_url=base_url, limits=limits, clock=clock, sleep=sleep, uniform=uniform
        )

    def __repr__(self) -> str:
        return f"XSource({self._client!r})"

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._client.__aexit__(*exc_info)

    async def fetch(self, tweet_id: int) -> Tweet:
        return await self._client.ask(
            f"/2/tweets/{tweet_id}", FIELDS, partial(understand, tweet_id)
        )
