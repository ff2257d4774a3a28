"""``augury tweets fetch``, against X's stand-in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from augury.services.tweets.records import TWEET_PREFIX
from augury.services.tweets.sources.archive import ArchiveSource
from tests.app.cli.conftest import Run, RunCli
from tests.app.cli.tweets.conftest import Kept
from tests.services.tweets import x_corpus
from tests.services.tweets.x_server import TOKEN, XServer, running_x_server


@pytest.fixture
def x_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[XServer]:
    with running_x_server() as server:
        monkeypatch.setenv("AUGURY_X_BASE_URL", server.url)
        monkeypatch.setenv("AUGURY_X_BEARER_TOKEN", TOKEN)
        yield server


def fetch(cli: RunCli, kept: Kept, *arguments: object, query: str = "#bitcoin") -> Run:
    return cli("tweets", "fetch", "--query", query, "--store", kept.url, *arguments)


def test_tweets_are_fetched_kept_and_scored(cli: RunCli, kept: Kept, x_server: XServer) -> None:
    """What X finds is in the archive, in the ledger and in every aggregate."""
    run = fetch(cli, kept, "--limit", 1000)
    assert (run.code, run.err) == (0, "")
    assert run.out == (
        f"250 tweets found, 250 new in {kept.url}; 250 scored by tweet-sentiment 1\n"
    )
    kept.assert_counted(250)
    tweet = kept.ask(lambda ledger: ArchiveSource(ledger.store).fetch(x_corpus.tweet_id(7)))
    assert (tweet.text, tweet.source) == (x_corpus.text_of(7), "x")


def test_what_is_known_is_told(cli: RunCli, kept: Kept, x_server: XServer) -> None:
    """The second search tells how many were new."""
    fetch(cli, kept, "--limit", 100)
    report = json.loads(fetch(cli, kept, "--limit", 150, "--json").out)
    assert (report["found"], report["new"]) == (150, 50)
    assert (report["scored"], report["known"]) == (50, 100)
    assert (report["query"], report["version"]) == ("#bitcoin", 1)
    kept.assert_counted(150)


def test_without_scoring(cli: RunCli, kept: Kept, x_server: XServer) -> None:
    """--no-score fills the archive only."""
    run = fetch(cli, kept, "--limit", 20, "--no-score")
    assert run.out == f"20 tweets found, 20 new in {kept.url}\n"
    assert len(kept.keys(TWEET_PREFIX)) == 20
    assert kept.records(range(20)) == []
    assert "model" not in json.loads(fetch(cli, kept, "--no-score", "--json").out)


def test_nothing_found(cli: RunCli, kept: Kept, x_server: XServer) -> None:
    """No tweet is no failure."""
    run = fetch(cli, kept, query="nothing")
    assert run.code == 0
    assert run.out.startswith("0 tweets found, 0 new")


def test_a_refused_query(cli: RunCli, kept: Kept, x_server: XServer) -> None:
    """Wrong use, in X's words."""
    run = fetch(cli, kept, query="(lang:en")
    assert run.code == 2
    assert "missing EOF at '(' (at position 1)" in run.errors


def test_a_rate_limit_is_told_and_sat_out(cli: RunCli, kept: Kept, x_server: XServer) -> None:
    """The wait is a line of its own; nothing is lost by it."""
    x_server.search_left, x_server.reset_in_s = 1, 2.0
    run = fetch(cli, kept, "--limit", 150)
    assert run.code == 0
    assert "X's rate limit is reached; asking again in " in run.err
    kept.assert_counted(150)


def test_what_came_before_a_failure_is_scored(cli: RunCli, kept: Kept, x_server: XServer) -> None:
    """Exit code 1, and both the result and the reason are told."""
    x_server.search_left = 2
    # A monthly cap is not waited for.
    problem = {
        "title": "UsageCapExceeded",
        "type": "https://api.twitter.com/2/problems/usage-capped",
    }
    page = x_server._find({"query": ["#bitcoin"], "max_results": ["100"]})
    x_server.search_faults = [page, (429, problem)]
    run = fetch(cli, kept, "--limit", 1000)
    assert run.code == 1
    assert run.out.startswith("100 tweets found, 100 new")
    assert "X's usage cap of our plan is reached" in run.err
    kept.assert_counted(100)


def test_without_a_token(cli: RunCli, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is named, and what to do without one."""
    monkeypatch.delenv("AUGURY_X_BEARER_TOKEN", raising=False)
    monkeypatch.delenv("TWITTER_BEARER_TOKEN", raising=False)
    run = fetch(cli, kept)
    assert run.code == 1
    assert "AUGURY_X_BEARER_TOKEN is not set" in run.err


def test_an_expired_token(
    cli: RunCli, kept: Kept, x_server: XServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told so, and shown nowhere."""
    monkeypatch.setenv("AUGURY_X_BEARER_TOKEN", "AAAA-expired")
    run = fetch(cli, kept)
    assert run.code == 1
    assert "renew AUGURY_X_BEARER_TOKEN" in run.err
    assert "AAAA" not in run.err


@pytest.mark.parametrize("limit", ["0", "1000001", "many"])
def test_impossible_limits(cli: RunCli, kept: Kept, limit: str) -> None:
    """Wrong use."""
    assert fetch(cli, kept, "--limit", limit).code == 2


def test_a_store_that_forgets_is_refused(cli: RunCli, x_server: XServer) -> None:
    """Before X is asked, and billed."""
    run = cli("tweets", "fetch", "--query", "x", "--store", "memory://")
    assert run.code == 1
    assert "memory:// is forgotten" in run.err
    assert not x_server.asked


def test_ctrl_c_while_waiting_for_x(
    cli: RunCli, kept: Kept, x_server: XServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of an hour is left at once; what was fetched is kept and scored."""
    import os
    import signal

    from augury.app.cli.tweets import session

    told = session.Waiting.x

    def interrupted(self: session.Waiting, seconds: float, why: str) -> None:
        told(self, seconds, why)
        asyncio.get_running_loop().call_later(0.5, os.kill, os.getpid(), signal.SIGINT)

    monkeypatch.setattr(session.Waiting, "x", interrupted)
    x_server.search_left, x_server.reset_in_s = 1, 900.0
    run = fetch(cli, kept, "--limit", 200)
    assert run.code == 130
    assert "interrupted; what was fetched is kept" in run.err
    kept.assert_counted(100)
