"""``augury tweets rebuild``, ``forget`` and ``clear``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from augury.services.tweets.bulk.checkpoints import PREFIX
from augury.services.tweets.ledger import Ledger, tables
from tests.app.cli.conftest import RunCli
from tests.app.cli.tweets.conftest import Kept, write_tweets
from tests.services.tweets import x_corpus


@pytest.fixture
def scored(cli: RunCli, kept: Kept, tmp_path: Path) -> Kept:
    """A store with forty tweets that were scored and imported."""
    file = write_tweets(tmp_path / "t.jsonl", range(40))
    for verb in ("score", "import"):
        assert cli("tweets", verb, file, "--store", kept.url).code == 0
    return kept


def test_counts_that_were_lost_are_rebuilt(cli: RunCli, scored: Kept) -> None:
    """After a rebuild the aggregates are those of the records."""

    async def lose(ledger: Ledger) -> None:
        await ledger.store.drop_tables(tables.generation_prefix(await ledger.generation()))

    scored.ask(lose)
    run = cli("tweets", "rebuild", "--store", scored.url)
    assert run.code == 0
    assert run.out.startswith(f"40 predictions counted anew in {scored.url}, in ")
    scored.assert_counted(40)
    report = json.loads(cli("tweets", "rebuild", "--store", scored.url, "--json").out)
    assert report["records"] == 40


def test_a_tweet_is_forgotten(cli: RunCli, scored: Kept) -> None:
    """By id or address, in the ledger and in the archive."""
    gone = [x_corpus.tweet_id(3), x_corpus.tweet_id(4)]
    run = cli(
        *("tweets", "forget", "--tweet", gone[0], "--tweet", f"https://x.com/a/status/{gone[1]}"),
        *("--store", scored.url),
    )
    assert run.out == f"2 tweets erased from {scored.url}\n"
    assert scored.keys(f"tweets:tweet:{gone[0]}") == []
    assert {record.tweet_id for record in scored.records(range(40))}.isdisjoint(gone)


@pytest.mark.parametrize("by_name", [False, True])
def test_an_author_is_forgotten(cli: RunCli, scored: Kept, by_name: bool) -> None:
    """By id or @name, with all tweets."""
    author = x_corpus.author_of(0)
    theirs = [n for n in range(40) if x_corpus.author_of(n) == author]
    name = f"@author{author}" if by_name else str(author)
    run = cli("tweets", "forget", "--author", name, "--store", scored.url, "--json")
    assert json.loads(run.out) == {"tweets": len(theirs), "store": scored.url}
    assert len(scored.records(range(40))) == 40 - len(theirs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a --tweet or an --author"),
        (("--tweet", "hello"), "is not the address of a tweet"),
        (("--author", "@nobody*"), "nothing is known of an author '@nobody*'"),
    ],
)
def test_wrong_uses_of_forget(
    cli: RunCli, scored: Kept, arguments: tuple[str, ...], words: str
) -> None:
    """Exit code 2, and nothing is erased."""
    run = cli("tweets", "forget", *arguments, "--store", scored.url)
    assert run.code == 2
    assert words in run.errors
    scored.assert_counted(40)


def test_everything_is_cleared(cli: RunCli, scored: Kept) -> None:
    """Predictions, counts, names, the archive, and how far files were scored."""

    async def begin(ledger: Ledger) -> None:
        await ledger.store.set(f"{PREFIX}m:1:x", b"{}")

    scored.ask(begin)
    run = cli("tweets", "clear", "--yes", "--store", scored.url)
    assert run.out == f"40 tweets erased from {scored.url}\n"
    assert set(scored.keys("tweets:")) == {"tweets:generations"}
    scored.assert_counted(0)


def test_clearing_asks(cli: RunCli, scored: Kept) -> None:
    """Without a terminal there is nobody to ask, and nothing is erased."""
    run = cli("tweets", "clear", "--store", scored.url)
    assert run.code == 2
    assert "--yes" in run.errors
    scored.assert_counted(40)
