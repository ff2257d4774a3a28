"""Search X: ``GET /2/tweets/search/recent``, the tweets of the last seven days, newest first.

Unlike a request that somebody waits for, a search sits X's rate limit out: its windows last 15
minutes, and ``on_wait`` of the client tells of it.  X bills each tweet that it hands out, so no page
is asked for beyond the limit that the caller set, and what came before an error is not lost: it has
been yielded.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from augury.core.errors import InvalidInput
from augury.services.tweets.model import Tweet
from augury.services.tweets.sources.x_answers import understand_page
from augury.services.tweets.sources.x_client import FIELDS, XClient, XLimits

MIN_PAGE_TWEETS: Final = 10
MAX_PAGE_TWEETS: Final = 100
# X's longest query, of its largest plan; a smaller plan's bound X tells itself.
MAX_QUERY_CHARS: Final = 4096
# Pages without a new tweet, one after another, before we take it that no more come.
_MAX_STALE_PAGES: Final = 5

# A window of X's rate limit lasts 15 minutes; a page of long posts has 100 times 100 KB at most.
SEARCH_LIMITS: Final = XLimits(
    budget_s=3600.0,
    connect_s=10.0,
    read_s=30.0,
    attempts=6,
    backoff_s=1.0,
    rate_limit_wait_s=16 * 60.0,
    max_response_bytes=16 * 1024 * 1024,
    max_connections=1,
)


async def search(client: XClient, query: str, limit: int) -> AsyncGenerator[list[Tweet], None]:
    """Tweets that match *query*, page by page; none twice.

    Args:
        client: Open; made with :data:`SEARCH_LIMITS` or the like.
        query: In X's own language (``#bitcoin lang:en -is:retweet``).
        limit: Tweets at most.

    Yields:
        The new tweets of a page, at least one.

    Raises:
        InvalidInput: The query is empty or too long, or X refuses it; in X's words.
        Overloaded, UpstreamFailed: See ``XClient.ask``.
    """
    query = query.strip()
    if not query:
        raise InvalidInput("the query is empty; search for something, like '#bitcoin'")
    if len(query) > MAX_QUERY_CHARS:
        raise InvalidInput(
            f"the query has {len(query)} characters, X's limit is {MAX_QUERY_CHARS}; split it"
        )
    seen: set[int] = set()
    stale = 0
    parameters = {**FIELDS, "query": query}
    while len(seen) < limit and stale < _MAX_STALE_PAGES:
        # X knows no page of less than 10, whatever is still wanted.
        size = min(max(limit - len(seen), MIN_PAGE_TWEETS), MAX_PAGE_TWEETS)
        parameters["max_results"] = str(size)
        page = await client.ask("/2/tweets/search/recent", parameters, understand_page)
        new = {tweet.id: tweet for tweet in page.tweets if tweet.id not in seen}
        wanted = list(new.values())[: limit - len(seen)]
        seen.update(tweet.id for tweet in wanted)
        stale = 0 if wanted else stale + 1
        if wanted:
            yield wanted
        if page.next_token is None:
            return
        parameters["next_token"] = page.next_token
