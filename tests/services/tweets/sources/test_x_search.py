"""Against a real server on a real socket; see ``x_server.py``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import AuguryError, InvalidInput, Overloaded, UpstreamFailed
from augury.services.tweets.model import Tweet
from augury.services.tweets.sources.x_answers import understand_page
from augury.services.tweets.sources.x_client import XClient, XLimits
from augury.services.tweets.sources.x_search import search
from tests.services.tweets import x_corpus
from tests.services.tweets.conftest import Sleeper
from tests.services.tweets.x_server import TOKEN, XServer

LIMITS = XLimits(budget_s=5.0, read_s=0.5, attempts=4, backoff_s=0.01, rate_limit_wait_s=960.0)
Waits = list[tuple[float, str]]


@asynccontextmanager
async def client(
    server: XServer, waits: Waits | None = None, **options: Any
) -> AsyncIterator[XClient]:
    told: Waits = [] if waits is None else waits
    options = {"limits": LIMITS, **options}
    async with XClient(
        TOKEN, base_url=server.url, on_wait=lambda s, why: told.append((s, why)), **options
    ) as opened:
        yield opened


async def found(x: XClient, query: str, limit: int) -> list[Tweet]:
    return [tweet async for page in search(x, query, limit) for tweet in page]


async def test_all_pages_are_read(x_server: XServer) -> None:
    """A search goes through all pages, with authors, and asks for as much as X gives at once."""
    async with client(x_server) as x:
        tweets = await found(x, "#bitcoin", 1000)
    assert [tweet.id for tweet in tweets] == [x_corpus.tweet_id(n) for n in range(250)]
    assert tweets[7].text == x_corpus.text_of(7)
    assert tweets[7].username == f"author{tweets[7].author_id}"
    assert tweets[7].source == "x"
    assert [asked.query["max_results"] for asked in x_server.asked] == [["100"]] * 3
    assert {"author_id", "note_tweet"} <= set(x_server.asked[0].query["tweet.fields"][0].split(","))


@pytest.mark.parametrize(("limit", "sizes"), [(3, ["10"]), (100, ["100"]), (130, ["100", "30"])])
async def test_no_more_is_asked_for_than_wanted(
    x_server: XServer, limit: int, sizes: list[str]
) -> None:
    """X bills each tweet: pages are as small as X allows, and what is beyond the limit is cut."""
    async with client(x_server) as x:
        tweets = await found(x, "#bitcoin", limit)
    assert len(tweets) == limit
    assert [asked.query["max_results"][0] for asked in x_server.asked] == sizes


async def test_a_tweet_on_two_pages_is_told_once(x_server: XServer) -> None:
    """Pages move while tweets arrive; each tweet counts once, towards the limit too."""
    x_server.overlap = 20
    async with client(x_server) as x:
        tweets = await found(x, "#bitcoin", 240)
    assert [tweet.id for tweet in tweets] == [x_corpus.tweet_id(n) for n in range(240)]


async def test_pages_that_bring_nothing_new_end(x_server: XServer) -> None:
    """A server that repeats one page for ever is left after five of them."""
    x_server.overlap = 10_000
    async with client(x_server) as x:
        tweets = await found(x, "#bitcoin", 1000)
    assert len(tweets) == 100
    assert len(x_server.asked) == 6


async def test_nothing_found(x_server: XServer) -> None:
    """An empty result is no error."""
    async with client(x_server) as x:
        assert await found(x, "nothing", 100) == []


async def test_a_refused_query_is_told_in_x_words(x_server: XServer) -> None:
    """The message says where in the query the fault is, and X is asked once."""
    async with client(x_server) as x:
        with pytest.raises(InvalidInput, match=r"missing EOF at '\(' \(at position 10\)"):
            await found(x, "#bitcoin (lang:en", 100)
    assert len(x_server.asked) == 1


@pytest.mark.parametrize("query", ["", "   ", "x" * 4097])
async def test_impossible_queries_are_not_asked(x_server: XServer, query: str) -> None:
    """X need not be asked what we know."""
    async with client(x_server) as x:
        with pytest.raises(InvalidInput, match="query"):
            await found(x, query, 100)
    assert not x_server.asked


async def test_a_rate_limit_is_sat_out_and_told(x_server: XServer) -> None:
    """After the last search of a window the next waits for its end, and says how long."""
    clock = ManualClock(now_s=time.time())
    sleeper = Sleeper(clock)
    waits: Waits = []
    x_server.search_left, x_server.reset_in_s = 2, 900
    limits = XLimits(budget_s=3600.0, rate_limit_wait_s=960.0)
    async with client(x_server, waits, clock=clock, sleep=sleeper, limits=limits) as x:
        pages = search(x, "#bitcoin", 1000)
        await anext(pages)
        await anext(pages)
        x_server.search_left = None  # the window is over by the time that has been slept
        assert len(await anext(pages)) == 50
    ((wait_s, why),) = waits
    assert 890 < wait_s < 905
    assert "rate limit" in why
    assert len(x_server.asked) == 3


async def test_a_429_is_sat_out(x_server: XServer) -> None:
    """Other searches of our app may have used the window up."""
    x_server.search_left = 0
    waits: Waits = []
    async with client(x_server, waits) as x:
        assert len(await found(x, "#bitcoin", 10)) == 10
    assert [why for _, why in waits] == ["X's rate limit is reached"]


async def test_the_usage_cap_ends_the_search(x_server: XServer) -> None:
    """Nobody waits for the end of a month."""
    problem = {
        "title": "UsageCapExceeded",
        "type": "https://api.twitter.com/2/problems/usage-capped",
    }
    x_server.search_faults = [(429, problem)]
    async with client(x_server) as x:
        with pytest.raises(Overloaded, match="usage cap"):
            await found(x, "#bitcoin", 10)
    assert len(x_server.asked) == 1


async def test_failures_that_pass_are_tried_again(x_server: XServer) -> None:
    """5xx cost a wait with back-off, told with its reason."""
    x_server.search_faults = [(503, {}), (500, b"<html>")]
    waits: Waits = []
    async with client(x_server, waits) as x:
        assert len(await found(x, "#bitcoin", 10)) == 10
    assert [why for _, why in waits] == ["X answered 503", "X answered 500"]


async def test_failures_that_stay_are_told(x_server: XServer) -> None:
    """What came before stands; the error tells how often X was asked."""
    async with client(x_server) as x:
        pages = search(x, "#bitcoin", 1000)
        assert len(await anext(pages)) == 100
        x_server.search_faults = [(503, {})] * 4
        with pytest.raises(UpstreamFailed, match="failed 4 times, at last so: X answered 503"):
            await anext(pages)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {}, "renew AUGURY_X_BEARER_TOKEN"),
        (402, {"title": "CreditsDepleted"}, "credits are used up"),
        (403, {"title": "Client Forbidden"}, "Client Forbidden.*does not include searching"),
        (404, {"title": "Not Found"}, "X answered 404 Not Found"),
        (200, {}, "X answered 200"),
        (200, b"<html>captive portal</html>", "not its API's JSON"),
        (302, b"", "not its API's JSON"),
        (400, {"detail": "bad\x1b[2J\nquery"}, r"bad \[2J query"),
    ],
)
async def test_refusals_are_told_at_once(
    x_server: XServer, status: int, body: Any, words: str
) -> None:
    """What will not change is not asked again, and no terminal obeys X's words."""
    x_server.search_faults = [(status, body)]
    async with client(x_server) as x:
        with pytest.raises(AuguryError, match=words):
            await found(x, "#bitcoin", 10)
    assert len(x_server.asked) == 1


def test_partial_errors_beside_tweets_are_no_failure() -> None:
    """X keeps back what it may not show, and tells so beside the rest."""
    body = b'{"data": [{"id": "7", "text": "a &amp; b"}], "errors": [{"title": "Forbidden"}]}'
    page = understand_page(status=200, headers={}, body=body, now_s=0.0)
    assert page.tweets[0].text == "a & b"  # type: ignore[union-attr]
