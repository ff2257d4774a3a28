"""``augury tweets score``: what is scored, counted, told, and gone on with."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from augury.services.tweets.bulk import checkpoints, scorer
from augury.services.tweets.ledger import Ledger
from tests.app.cli.conftest import RunCli
from tests.app.cli.tweets.conftest import Kept, write_tweets
from tests.e2e.server import clean_environment
from tests.redis_server import RedisServer, require_redis
from tests.services.tweets import x_corpus


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files have several batches too."""
    monkeypatch.setattr(scorer, "BATCH_TWEETS", 8)


def test_a_file_is_scored(cli: RunCli, kept: Kept, tmp_path: Path) -> None:
    """All tweets are in the ledger and in every aggregate, and stdout says how many."""
    file = write_tweets(tmp_path / "t.jsonl", range(40))
    run = cli("tweets", "score", file, "--store", kept.url)
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith(f"40 tweets scored by tweet-sentiment 1 into {kept.url}; 40 rows in")
    kept.assert_counted(40)
    assert kept.keys(checkpoints.PREFIX) == []


def test_as_json(cli: RunCli, kept: Kept, tmp_path: Path) -> None:
    """Programs get the numbers, the model and the store."""
    file = write_tweets(tmp_path / "t.jsonl", range(12))
    report = json.loads(cli("tweets", "score", file, "--store", kept.url, "--json").out)
    assert report.pop("seconds") > 0
    assert report.pop("entries_per_s") > 0
    assert report == {
        "entries": 12,
        "scored": 12,
        "known": 0,
        "refused": 0,
        "faulty": 0,
        "faults": [],
        "resumed_from": 0,
        "interrupted": False,
        "model": "tweet-sentiment",
        "version": 1,
        "store": kept.url,
    }


def test_a_second_run_changes_nothing(cli: RunCli, kept: Kept, tmp_path: Path) -> None:
    """What is known is told as such, and counted once."""
    file = write_tweets(tmp_path / "t.jsonl", range(20))
    cli("tweets", "score", file, "--store", kept.url)
    again = cli("tweets", "score", file, "--store", kept.url)
    assert again.code == 0
    assert "0 tweets scored by tweet-sentiment 1 (20 known before)" in again.out
    kept.assert_counted(20)


def test_faults_are_told_with_their_line(cli: RunCli, kept: Kept, tmp_path: Path) -> None:
    """Exit code 1; the other tweets are scored."""
    file = write_tweets(tmp_path / "t.jsonl", range(20))
    empty = {"id": "7", "text": ""}
    with file.open("a") as out:
        out.write(f"{json.dumps(empty)}\nnot json\n")
    run = cli("tweets", "score", file, "--store", kept.url)
    assert run.code == 1
    assert "t.jsonl:21: tweet 7: " in run.err
    assert "t.jsonl:22: no JSON" in run.err
    assert "20 tweets scored by tweet-sentiment 1 (1 refused, 1 faulty)" in run.out
    kept.assert_counted(20)


def test_many_faults_are_bounded(cli: RunCli, kept: Kept, tmp_path: Path) -> None:
    """A file of nonsense is told by its first lines."""
    file = tmp_path / "t.jsonl"
    file.write_text('{"id": 0}\n' * 400)
    run = cli("tweets", "score", file, "--store", kept.url)
    assert run.code == 1
    assert len(run.err.splitlines()) == 11
    assert run.err.endswith("and 390 more faults\n")


def test_an_archive_of_x_is_scored(cli: RunCli, kept: Kept, tmp_path: Path) -> None:
    """As a zip, with its owner as the author."""
    tweets = [
        {"tweet": {"id_str": str(x_corpus.tweet_id(n)), "full_text": x_corpus.text_of(n)}}
        for n in range(10)
    ]
    account = [{"account": {"accountId": "77", "username": "ada"}}]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("data/tweets.js", f"window.YTD.tweets.part0 = {json.dumps(tweets)}")
        archive.writestr("data/account.js", f"window.YTD.account.part0 = {json.dumps(account)}")
    assert cli("tweets", "score", tmp_path / "a.zip", "--store", kept.url).code == 0
    kept.assert_counted(10)
    assert {record.author_id for record in kept.records(range(10))} == {77}


def test_a_table_is_scored(cli: RunCli, kept: Kept, tmp_path: Path) -> None:
    """CSV with the columns that its header, or the person, names."""
    rows = [x_corpus.line_of(n) for n in range(10)]
    lines = [f'{row["id"]},"{row["text"]}",{row["author_id"]}' for row in rows]
    file = tmp_path / "t.csv"
    file.write_text("\n".join(["id,what,author_id", *lines]), encoding="utf-8")
    refused = cli("tweets", "score", file, "--store", kept.url)
    assert refused.code == 2
    assert "no column of the tweets' text" in refused.errors
    run = cli("tweets", "score", file, "--text-column", "what", "--store", kept.url)
    assert run.code == 0, run.err
    kept.assert_counted(10)


class Crashing:
    """Does something after so many batches have been written, before or after the checkpoint is."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, steps: Mapping[int, Callable[[], object]]
    ) -> None:
        self.saved = 0
        save = checkpoints.save_checkpoint

        async def saved(*args: Any) -> None:
            await save(*args)
            self.saved += 1
            steps.get(self.saved, lambda: None)()

        monkeypatch.setattr(checkpoints, "save_checkpoint", saved)


@pytest.mark.redis
@pytest.mark.parametrize("batch", [1, 4, 10], ids=["first", "middle", "last"])
def test_a_store_that_lost_everything_is_told(
    cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """A Redis that keeps nothing on a disk, killed and started again: exit 1; the next run does all."""
    require_redis()
    file = write_tweets(tmp_path / "t.jsonl", range(80))
    with RedisServer(tmp_path / "redis", appendonly=False) as server:
        kept = Kept(server.url)
        with monkeypatch.context() as patch:
            Crashing(patch, {batch: server.restart})
            run = cli("tweets", "score", file, "--store", kept.url)
        assert run.code == 1
        assert run.out == ""
        assert run.err.endswith(
            "augury: the store has lost what was scored of t.jsonl; run the same command again\n"
        )
        assert "goes on from there" not in run.err
        assert kept.keys(checkpoints.PREFIX) == []
        assert cli("tweets", "score", file, "--store", kept.url).code == 0
        kept.assert_counted(80)


@pytest.mark.redis
def test_a_store_that_lost_the_latest_is_gone_on_with_from_there(
    cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that was saved after the third batch comes back with the checkpoint of that moment."""
    require_redis()
    file = write_tweets(tmp_path / "t.jsonl", range(80))
    with RedisServer(tmp_path / "redis", appendonly=False) as server:
        kept = Kept(server.url)
        with monkeypatch.context() as patch:
            Crashing(patch, {3: lambda: server.ask("SAVE"), 6: server.restart})
            assert cli("tweets", "score", file, "--store", kept.url).code == 1
        run = cli("tweets", "score", file, "--store", kept.url)
        assert run.code == 0
        assert "going on after 24 entries of t.jsonl" in run.err
        kept.assert_counted(80)


@pytest.mark.redis
def test_a_store_that_kept_everything_is_gone_on_with(
    cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that writes to its disk may be killed and started again; the run goes on."""
    require_redis()
    file = write_tweets(tmp_path / "t.jsonl", range(80))
    with RedisServer(tmp_path / "redis") as server:
        kept = Kept(server.url)
        with monkeypatch.context() as patch:
            Crashing(patch, {4: server.restart, 10: server.restart})
            assert cli("tweets", "score", file, "--store", kept.url).code == 0
        kept.assert_counted(80)


class Interrupted:
    """Sends the process a signal when so many batches have been written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, batches: int) -> None:
        self.left = batches
        save = checkpoints.save_checkpoint

        async def saved(*args: Any) -> None:
            await save(*args)
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(checkpoints, "save_checkpoint", saved)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_gone_on_from(
    cli: RunCli,
    kept: Kept,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """The first signal ends in good order and says how to go on; then nothing is done twice."""
    file = write_tweets(tmp_path / "t.jsonl", range(400))
    with monkeypatch.context() as patch:
        Interrupted(patch, number, 5)
        first = cli("tweets", "score", file, "--store", kept.url, "--json")
    assert first.code == 128 + number
    report = json.loads(first.out)
    assert report["interrupted"] is True
    assert 40 <= report["entries"] < 400
    assert "finishing the batch" in first.err
    assert (
        f"interrupted after {report['entries']} of 400 entries of t.jsonl; "
        "the same command goes on from there"
    ) in first.err

    second = cli("tweets", "score", file, "--store", kept.url, "--json")
    assert second.code == 0
    assert f"going on after {report['entries']} entries of t.jsonl" in second.err
    told = json.loads(second.out)
    assert (told["resumed_from"], told["entries"]) == (report["entries"], 400)
    assert (told["scored"], told["known"]) == (400, 0)
    kept.assert_counted(400)


def interrupted(cli: RunCli, kept: Kept, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of *file* that has left a checkpoint."""
    with monkeypatch.context() as patch:
        Interrupted(patch, signal.SIGINT, 2)
        assert cli("tweets", "score", file, "--store", kept.url).code == 130


def test_a_changed_file_begins_anew(
    cli: RunCli, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its position means nothing any more; that is told, and what is known costs little."""
    file = write_tweets(tmp_path / "t.jsonl", range(10, 300))
    interrupted(cli, kept, file, monkeypatch)
    write_tweets(file, range(300))
    run = cli("tweets", "score", file, "--store", kept.url)
    assert run.code == 0
    assert "t.jsonl has changed since" in run.err
    kept.assert_counted(300)


def test_restart_begins_anew(
    cli: RunCli, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On request, the checkpoint is not looked at."""
    file = write_tweets(tmp_path / "t.jsonl", range(300))
    interrupted(cli, kept, file, monkeypatch)
    run = cli("tweets", "score", file, "--store", kept.url, "--restart", "--json")
    report = json.loads(run.out)
    assert (run.code, report["resumed_from"], report["entries"]) == (0, 0, 300)
    assert report["known"] >= 16
    kept.assert_counted(300)


def test_what_was_erased_meanwhile_is_scored_anew(
    cli: RunCli, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint promises nothing that the store does not hold any more."""
    file = write_tweets(tmp_path / "t.jsonl", range(300))
    interrupted(cli, kept, file, monkeypatch)
    kept.ask(Ledger.clear)
    run = cli("tweets", "score", file, "--store", kept.url)
    assert run.code == 0
    assert "has lost what was scored of t.jsonl" in run.err
    kept.assert_counted(300)


def test_what_was_known_and_erased_meanwhile_is_scored_anew(
    cli: RunCli, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of a run that found everything known promises no more than another."""
    file = write_tweets(tmp_path / "t.jsonl", range(100))
    assert cli("tweets", "score", file, "--store", kept.url).code == 0
    interrupted(cli, kept, file, monkeypatch)
    kept.ask(Ledger.clear)
    run = cli("tweets", "score", file, "--store", kept.url)
    assert run.code == 0
    assert "has lost what was scored of t.jsonl" in run.err
    kept.assert_counted(100)


def test_a_store_that_stays_away_says_how_to_go_on(
    cli: RunCli, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, one line of reason, one of what to do; the rest is done by the next run."""
    from augury.core.errors import Unavailable

    file = write_tweets(tmp_path / "t.jsonl", range(200))
    written = 0
    write = Ledger.write

    async def failing(self: Ledger, records: Any) -> int:
        nonlocal written
        written += 1
        if written > 3:
            raise Unavailable("cannot reach the store")
        return await write(self, records)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "write", failing)
        run = cli("tweets", "score", file, "--store", kept.url, "--store-wait", "0.2")
    assert run.code == 1
    assert "cannot reach the store; waiting for the store for up to 0 s" in run.err
    assert "24 of 200 entries of t.jsonl are done; the same command goes on" in run.err
    assert run.err.endswith(
        "augury: the store was away for 0.2 s (--store-wait): cannot reach the store\n"
    )
    assert cli("tweets", "score", file, "--store", kept.url).code == 0
    kept.assert_counted(200)


def test_ctrl_c_while_the_store_is_away(
    cli: RunCli, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five minutes are left at once, with the exit code of an interruption."""
    from augury.core.errors import Unavailable

    async def failing(self: Ledger, records: Any) -> int:
        asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGINT)
        raise Unavailable("cannot reach the store")

    file = write_tweets(tmp_path / "t.jsonl", range(100))
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "write", failing)
        run = cli("tweets", "score", file, "--store", kept.url)
    assert run.code == 130
    assert "interrupted: the store was away: cannot reach the store" in run.err
    assert cli("tweets", "score", file, "--store", kept.url).code == 0
    kept.assert_counted(100)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("-",), 2, "standard input cannot be gone on with"),
        (("nowhere.jsonl",), 2, "no file or folder 'nowhere.jsonl'"),
        (("/dev/null",), 2, "is a pipe or device"),
        (("t.jsonl", "--store", "memory://"), 1, "memory:// is forgotten"),
        (("t.jsonl", "--id-column", "id"), 2, "neither .csv nor .tsv"),
        (("t.jsonl", "--store-wait", "-1"), 2, "store-wait"),
        (("words.txt",), 1, "words.txt is neither a tweets.js"),
    ],
)
def test_wrong_uses(
    cli: RunCli, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """Each is told in one line, before anything is done."""
    write_tweets(tmp_path / "t.jsonl", range(1))
    (tmp_path / "words.txt").write_text("hello\n")
    run = cli("tweets", "score", *arguments)
    assert run.code == code
    assert words in run.errors
    assert "Traceback" not in run.err


def test_a_repository_without_the_model(
    cli: RunCli, repository: Path, kept: Kept, tmp_path: Path
) -> None:
    """--repository names the server's, whose model must be the tweet service's."""
    file = write_tweets(tmp_path / "t.jsonl", range(1))
    run = cli("tweets", "score", file, "--repository", repository, "--store", kept.url)
    assert run.code == 1
    assert "no model 'tweet-sentiment'; here are: " in run.err


def test_an_empty_file(cli: RunCli, kept: Kept, tmp_path: Path) -> None:
    """Nothing to do is no failure."""
    (tmp_path / "t.jsonl").touch()
    run = cli("tweets", "score", "t.jsonl", "--store", kept.url)
    assert run.code == 0
    assert run.out.startswith("0 tweets scored")


def test_progress_is_on_terminals_only(
    cli: RunCli, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar with entries a second and the time that is left."""
    from augury.app.cli import terminal
    from tests.app.cli.test_terminal import Screen

    file = write_tweets(tmp_path / "t.jsonl", range(600))
    screen = Screen(is_terminal=True)
    monkeypatch.setattr(terminal, "BAR_AFTER_S", 0.0)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    assert cli("tweets", "score", file, "--store", kept.url).code == 0
    shown = screen.getvalue()
    assert "Scoring t.jsonl" in shown
    assert " of 600 entries, " in shown
    assert "/s, " in shown
    assert " s left" in shown


def test_two_runs_at_once_count_each_tweet_once(kept: Kept, tmp_path: Path) -> None:
    """Two processes on one file share the work, or repeat it; the counts are right."""
    file = write_tweets(tmp_path / "t.jsonl", range(1200))
    code = "from augury.app.cli import main; main()"
    command = ["tweets", "score", str(file), "--store", kept.url]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, *command],
            cwd=tmp_path,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [run.communicate(timeout=100)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    kept.assert_counted(1200)
