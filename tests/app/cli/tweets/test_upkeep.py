"""``augury tweets rebuild``, ``forget`` and ``clear``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from augury.services.tweets.aggregates import Aggregates
from augury.services.tweets.bulk.checkpoints import PREFIX
from augury.services.tweets.ledger import Ledger, tables
from augury.services.tweets.model import id_of_name
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


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_author_known_by_name_only_is_counted_and_forgotten(
    cli: RunCli, kept: Kept, tmp_path: Path, kind: str
) -> None:
    """A file that tells names and no ids: its authors are listed, added up, and erased by name."""
    file = tmp_path / f"t.{kind}"
    rows = [(20, "I love it", "@Ada"), (21, "I hate it", "ada"), (22, "A train", "bob")]
    if kind == "csv":
        lines = ["id,text,user", *(",".join(map(str, row)) for row in rows)]
    else:
        names = ("id", "text", "username")
        lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    file.write_text("\n".join(lines))
    column = ("--author-column", "user") if kind == "csv" else ()
    assert cli("tweets", "score", file, *column, "--store", kept.url).code == 0

    async def authors(ledger: Ledger) -> dict[int, int]:
        page = await Aggregates(ledger).authors(offset=0, limit=10)
        return {row.author_id: row.counts.total for row in page.rows}

    ada, bob = id_of_name("ada"), id_of_name("bob")
    assert kept.ask(authors) == {ada: 2, bob: 1}
    assert kept.ask(lambda ledger: Aggregates(ledger).find_author("@ADA")) == ada
    run = cli("tweets", "forget", "--author", "@ada", "--store", kept.url)
    assert (run.code, run.out) == (0, f"2 tweets erased from {kept.url}\n")
    assert kept.ask(authors) == {bob: 1}


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


def audited(file: Path) -> list[dict[str, Any]]:
    """The lines of an audit file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_erasing_is_written_down(
    cli: RunCli, scored: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is erased and by whom, before it is; then that it was."""
    file = tmp_path / "audit.jsonl"
    monkeypatch.setenv("AUGURY_AUDIT_FILE", str(file))
    tweet, author = x_corpus.tweet_id(3), x_corpus.author_of(0)
    words = ("--tweet", tweet, "--author", author, "--store", scored.url)
    assert cli("tweets", "forget", *words).code == 0
    run = cli("tweets", "clear", "--yes", "--store", scored.url)
    assert run.code == 0
    assert "command begun" not in run.err
    begun, ended, cleared, done = audited(file)
    assert (begun["event"], begun["action"]) == ("command begun", "tweets forget")
    assert begun["caller"].startswith("cli:")
    assert begun["targets"] == {
        "store": scored.url,
        "tweets": f"1: {tweet}",
        "authors": f"1: {author}",
    }
    assert (ended["event"], ended["outcome"]) == ("command ended", "done")
    assert ended["call"] == begun["call"] != cleared["call"] == done["call"]
    assert cleared["action"] == "tweets clear"


def test_nothing_is_erased_that_cannot_be_written_down(
    cli: RunCli, scored: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit file is in the way of itself."""
    (tmp_path / "audit.jsonl.lock").mkdir()
    monkeypatch.setenv("AUGURY_AUDIT_FILE", str(tmp_path / "audit.jsonl"))
    for words in (("forget", "--tweet", x_corpus.tweet_id(3)), ("clear", "--yes")):
        run = cli("tweets", *words, "--store", scored.url)
        assert run.code == 1
        assert "cannot be written, so nothing was changed" in run.err
    scored.assert_counted(40)


def test_clearing_asks(cli: RunCli, scored: Kept) -> None:
    """Without a terminal there is nobody to ask, and nothing is erased."""
    run = cli("tweets", "clear", "--store", scored.url)
    assert run.code == 2
    assert "--yes" in run.errors
    scored.assert_counted(40)
