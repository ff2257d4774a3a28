"""``augury tweets import``: what lands in the store, and what is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from augury.core.clock import SystemClock
from augury.services.tweets.sources.archive import ArchiveSource
from augury.stores.registry import open_store

GOOD = {
    "id": "1050118621198921728",
    "text": "What a lovely day",
    "author_id": "2244994945",
    "author_name": "someone",
    "created_at": "2018-10-10T20:19:24Z",
}


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`augury tweets import` with *words*, in *folder*."""
    command = [sys.executable, "-c", "from augury.app.cli import main; main()", "tweets", "import"]
    return subprocess.run(
        [*command, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


async def test_imported_tweets_are_in_the_store(tmp_path: Path) -> None:
    """What was imported is what the server's archive finds in the same store."""
    file = tmp_path / "tweets.jsonl"
    file.write_text(json.dumps(GOOD) + "\n", encoding="utf-8")
    url = f"sqlite:///{tmp_path / 'kept.sqlite3'}"

    done = run(str(file), "--store", url, folder=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"1 tweet imported into {url}\n"
    store = await open_store(url, clock=SystemClock(), on_corrupt=lambda *_: None)
    try:
        tweet = await ArchiveSource(store).fetch(int(GOOD["id"]))
    finally:
        await store.close()
    assert (tweet.text, tweet.author_id) == (GOOD["text"], int(GOOD["author_id"]))


def test_a_faulty_entry_is_told_with_its_line_and_the_others_are_kept(tmp_path: Path) -> None:
    """One bad line costs that line and the exit code, nothing else."""
    file = tmp_path / "tweets.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{{not json\n", encoding="utf-8")

    done = run(str(file), "--store", f"sqlite:///{tmp_path / 's'}", "--json", folder=tmp_path)

    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert (report["imported"], report["faulty"], report["faults"][0]["line"]) == (1, 1, 2)


def test_a_second_import_changes_nothing(tmp_path: Path) -> None:
    """Importing the same file twice skips what is there."""
    file = tmp_path / "tweets.jsonl"
    file.write_text(json.dumps(GOOD) + "\n", encoding="utf-8")
    url = f"sqlite:///{tmp_path / 's'}"
    run(str(file), "--store", url, folder=tmp_path)

    again = run(str(file), "--store", url, folder=tmp_path)

    assert again.returncode == 0
    assert "0 tweets imported" in again.stdout
    assert "1 entry skipped" in again.stdout


def test_a_store_that_forgets_is_refused(tmp_path: Path) -> None:
    """Importing into memory would lose the tweets with the command's end."""
    file = tmp_path / "tweets.jsonl"
    file.write_text(json.dumps(GOOD) + "\n", encoding="utf-8")

    done = run(str(file), "--store", "memory://", folder=tmp_path)

    assert done.returncode == 1
    assert "memory:// is forgotten" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_a_wrong_use(tmp_path: Path) -> None:
    """Exit code 2 and the file's name."""
    done = run("nowhere.jsonl", folder=tmp_path)

    assert done.returncode == 2
    assert "nowhere.jsonl" in done.stderr
