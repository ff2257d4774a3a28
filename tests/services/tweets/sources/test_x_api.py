"""Against a real server on a real socket; see ``x_server.py``."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from datetime import UTC, datetime

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import (
    AuguryError,
    InvalidInput,
    InvalidSetting,
    NotAllowed,
    NotFound,
    Overloaded,
    UpstreamFailed,
)
from augury.services.tweets.model import Tweet
from augury.services.tweets.sources.x_api import XLimits, XSource
from tests.services.tweets import x_server as server
from tests.services.tweets.conftest import Sleeper
from tests.services.tweets.x_server import TOKEN, XServer


async def test_a_tweet(x: XSource, x_server: XServer) -> None:
    """A tweet comes with its author, time and language; the request asks for them."""
    assert await x.fetch(server.OK) == Tweet(
        id=server.OK,
        text="Good night 😊 #sleep",
        author_id=2244994945,
        username="XDevelopers",
        author_name="Developers",
        created_at=datetime(2018, 10, 10, 20, 19, 24, tzinfo=UTC),
        lang="en",
        source="x",
    )
    query = x_server.asked[0].query
    assert query["expansions"] == ["author_id"]
    assert {"created_at", "note_tweet", "lang"} <= set(query["tweet.fields"][0].split(","))
    assert x_server.asked[0].headers["accept-encoding"] == "identity"


async def test_a_long_post_is_told_in_full(x: XSource) -> None:
    """``note_tweet`` holds what ``text`` cuts off."""
    assert (await x.fetch(server.LONG)).text == "Good night " * 40


async def test_escapes_are_undone(x: XSource) -> None:
    """X escapes ``&``; the author did not."""
    assert (await x.fetch(server.ESCAPED)).text == "Good night & sweet dreams"


async def test_a_tweet_whose_author_is_missing(x: XSource) -> None:
    """A partial answer is an answer."""
    tweet = await x.fetch(server.NO_AUTHOR)
    assert (tweet.author_id, tweet.username) == (2244994945, None)


@pytest.mark.parametrize(
    ("tweet_id", "kind", "words"),
    [
        (server.DELETED, NotFound, "deleted"),
        (server.SUSPENDED, NotFound, "suspended"),
        (server.PROTECTED, NotAllowed, "protected"),
        (server.BAD_ID, InvalidInput, "no tweet id"),
        (server.NO_CREDITS, UpstreamFailed, "credits are used up"),
        (server.FORBIDDEN_APP, UpstreamFailed, "refuses our app"),
        (server.TRUNCATED_JSON, UpstreamFailed, "not its API's JSON"),
        (server.NO_JSON, UpstreamFailed, "not its API's JSON"),
        (server.OVERSIZE, UpstreamFailed, "over 1048576 bytes"),
        (server.REDIRECTS, UpstreamFailed, "not its API's JSON"),
    ],
)
async def test_final_answers_are_not_asked_for_again(
    x: XSource, x_server: XServer, tweet_id: int, kind: type[AuguryError], words: str
) -> None:
    """What will not change is told at once."""
    with pytest.raises(kind, match=words):
        await x.fetch(tweet_id)
    assert x_server.count(tweet_id) == 1


@pytest.mark.parametrize(
    ("tweet_id", "words"),
    [
        (server.DOWN, "X answered 500"),
        (server.RESETS, "the connection broke|cannot be reached"),
        (server.SHORT_BODY, "the connection broke"),
        (server.HANGS_IN_BODY, "it fell silent"),
        (server.HANGS, "it fell silent"),
    ],
)
async def test_what_may_pass_is_asked_three_times(
    x: XSource, x_server: XServer, tweet_id: int, words: str
) -> None:
    """Failures of X and of the network are tried again, then told with their reason."""
    with pytest.raises(UpstreamFailed, match=f"failed 3 times.*{words}"):
        await x.fetch(tweet_id)
    assert x_server.count(tweet_id) == 3


@pytest.mark.parametrize("tweet_id", [server.FLAKY, server.RESETS_ONCE])
async def test_a_second_attempt_that_works_is_the_answer(
    x: XSource, x_server: XServer, tweet_id: int
) -> None:
    """Nobody hears of a failure that passed."""
    assert (await x.fetch(tweet_id)).id == tweet_id
    assert x_server.count(tweet_id) == 2


async def test_the_budget_bounds_everything(x_server: XServer) -> None:
    """However patient the parts, the whole is cut at its budget."""
    limits = XLimits(budget_s=0.3, read_s=10)
    async with XSource(TOKEN, base_url=x_server.url, limits=limits) as x:
        started_s = time.monotonic()
        with pytest.raises(UpstreamFailed, match=r"within 0\.3 s"):
            await x.fetch(server.HANGS)
        assert time.monotonic() - started_s < 5


async def test_nothing_listens() -> None:
    """A refused connection is X's failure, not ours."""
    limits = XLimits(attempts=2, backoff_s=0.01)
    async with XSource(TOKEN, base_url="http://127.0.0.1:9", limits=limits) as x:
        with pytest.raises(UpstreamFailed, match="cannot be reached"):
            await x.fetch(server.OK)


async def test_a_short_limit_is_sat_out(x_server: XServer) -> None:
    """A limit that ends within our patience costs time, not the answer."""
    limits = XLimits(budget_s=20.0, read_s=5.0, rate_limit_wait_s=10.0)
    async with XSource(TOKEN, base_url=x_server.url, limits=limits) as x:
        assert (await x.fetch(server.LIMITED_BRIEFLY)).id == server.LIMITED_BRIEFLY
    assert x_server.count(server.LIMITED_BRIEFLY) == 2


async def test_a_long_limit_is_told_at_once_and_to_all(x: XSource, x_server: XServer) -> None:
    """Nobody waits for 15 minutes, and X is not asked again before its time."""
    x_server.reset_in_s = 900
    with pytest.raises(Overloaded, match="rate limit") as caught:
        await x.fetch(server.LIMITED_LONG)
    assert 890 < (caught.value.retry_after_s or 0) <= 902
    with pytest.raises(Overloaded):
        await x.fetch(server.OK)
    assert len(x_server.asked) == 1


async def test_the_last_request_of_a_window_is_known_as_such(x: XSource, x_server: XServer) -> None:
    """A good answer that says "none left" spares the 429."""
    x_server.reset_in_s = 900
    assert (await x.fetch(server.LAST_OF_WINDOW)).id == server.LAST_OF_WINDOW
    with pytest.raises(Overloaded):
        await x.fetch(server.OK)
    assert len(x_server.asked) == 1


async def test_the_usage_cap_is_named(x: XSource) -> None:
    """Our plan's cap is another thing than the rate limit."""
    with pytest.raises(Overloaded, match="usage cap") as caught:
        await x.fetch(server.USAGE_CAPPED)
    assert caught.value.retry_after_s == 60


async def test_a_limit_ends(x_server: XServer) -> None:
    """After the reset X is asked again."""
    clock = ManualClock(now_s=time.time())
    x_server.reset_in_s = 900
    async with XSource(TOKEN, base_url=x_server.url, clock=clock) as x:
        with pytest.raises(Overloaded):
            await x.fetch(server.LIMITED_LONG)
        clock.advance(902)
        assert (await x.fetch(server.OK)).id == server.OK


async def test_waits_are_full_jitter_and_double(x_server: XServer) -> None:
    """Each wait is anything from nothing to a bound that doubles."""
    clock = ManualClock(now_s=time.time())
    sleeper = Sleeper(clock)
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return high

    limits = XLimits(attempts=4, backoff_s=0.5)
    async with XSource(
        TOKEN, base_url=x_server.url, limits=limits, clock=clock, sleep=sleeper, uniform=uniform
    ) as x:
        with pytest.raises(UpstreamFailed, match="4 times"):
            await x.fetch(server.DOWN)
    assert bounds == [(0, 0.5), (0, 1.0), (0, 2.0)]
    assert sleeper.slept_s == [0.5, 1.0, 2.0]


async def test_an_expired_token_is_our_problem(x_server: XServer) -> None:
    """The caller gets 502, never 401, and the operator learns what to renew."""
    async with XSource("AAAA-expired", base_url=x_server.url) as x:
        with pytest.raises(UpstreamFailed, match="renew AUGURY_X_BEARER_TOKEN") as caught:
            await x.fetch(server.OK)
    assert caught.value.status == 502
    assert len(x_server.asked) == 1


async def test_connections_are_kept(x: XSource, x_server: XServer) -> None:
    """One connection serves one tweet after another."""
    for _ in range(5):
        await x.fetch(server.OK)
    assert x_server.connections == 1


async def test_many_at_once(x: XSource) -> None:
    """Each of many concurrent questions gets its own answer."""
    ids = [server.OK, server.LONG, server.NO_AUTHOR] * 10
    assert [tweet.id for tweet in await asyncio.gather(*map(x.fetch, ids))] == ids


@pytest.mark.parametrize("tweet_id", [server.OK, server.RESETS, server.HANGS, server.DOWN])
async def test_the_token_shows_nowhere(
    x: XSource, tweet_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in a log at any level, not in an error or its locals, not in a repr."""
    caplog.set_level(logging.DEBUG)
    told = repr(x) + str(vars(x))
    try:
        await x.fetch(tweet_id)
    except UpstreamFailed as error:
        lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
        told += "".join(lines) + repr(error.details)
    assert TOKEN not in told + caplog.text


@pytest.mark.parametrize("token", ["", "  ", "a b", "a\nb", "tökén", "a\x00"])
def test_a_token_that_cannot_be_is_refused(token: str) -> None:
    """It is told by its setting, without the token."""
    with pytest.raises(InvalidSetting, match="AUGURY_X_BEARER_TOKEN") as caught:
        XSource(token)
    assert "tökén" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["http://api.x.com", "ftp://localhost", "api.x.com", "http://1.2.3.4"]
)
def test_a_token_does_not_travel_in_the_clear(url: str) -> None:
    """Plain http goes to this machine only."""
    with pytest.raises(InvalidSetting, match="must be https"):
        XSource(TOKEN, base_url=url)


async def test_use_before_opening_is_a_bug() -> None:
    """The pool has an owner."""
    with pytest.raises(RuntimeError, match="async with"):
        await XSource(TOKEN).fetch(1)
