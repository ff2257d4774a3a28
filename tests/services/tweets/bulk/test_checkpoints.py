"""How far a file is, and whether it is still the same file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from augury.core.clock import ManualClock
from augury.services.tweets.bulk.checkpoints import (
    MAX_FAULTS,
    TTL_S,
    Checkpoint,
    Done,
    checkpoint_key,
    identity_of,
    load_checkpoint,
    save_checkpoint,
)
from augury.services.tweets.sources.archive_files import ArchiveFault
from augury.stores.memory import MemoryStore


def written(path: Path, content: bytes, time_s: int = 1_700_000_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time_s, time_s))
    return path


def test_the_same_file_is_recognised(tmp_path: Path) -> None:
    """Nothing changed, nothing else."""
    file = written(tmp_path / "a", b"x" * 300_000)
    before = identity_of(file)
    written(tmp_path / "a", b"x" * 300_000)
    assert identity_of(file) == before


@pytest.mark.parametrize(
    ("content", "time_s"),
    [
        (b"y" + b"x" * 299_999, 1_700_000_000),
        (b"x" * 299_999 + b"y", 1_700_000_000),
        (b"x" * 300_001, 1_700_000_000),
        (b"x" * 300_000, 1_700_000_001),
    ],
    ids=["head", "tail", "size", "time"],
)
def test_a_changed_file_is_another(tmp_path: Path, content: bytes, time_s: int) -> None:
    """A change of either end, of the size or of the time is seen."""
    file = written(tmp_path / "a", b"x" * 300_000)
    before = identity_of(file)
    assert identity_of(written(file, content, time_s)) != before


def test_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    """A part that is added to an archive makes another archive of it."""
    written(tmp_path / "data" / "tweets.js", b"[]")
    before = identity_of(tmp_path)
    assert identity_of(tmp_path) == before
    written(tmp_path / "data" / "tweets-part1.js", b"[]")
    assert identity_of(tmp_path) != before


def test_keys_tell_files_models_and_versions_apart(tmp_path: Path) -> None:
    """Each has a place of its own, wherever it is called from."""
    keys = {
        checkpoint_key(path, model, version)
        for path in (tmp_path / "a", tmp_path / "b\n*")
        for model in ("m", "n")
        for version in (1, 2)
    }
    assert len(keys) == 8
    assert all(key.isprintable() and key.startswith("tweets:bulk:") for key in keys)
    assert checkpoint_key(tmp_path / "x" / ".." / "a", "m", 1) in keys


async def test_a_checkpoint_comes_back_and_ends() -> None:
    """What was saved is loaded, for a month."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    done = Done(entries=7, scored=5, known=1, faulty=1, last_id=20)
    done.tell(ArchiveFault("t.jsonl", 3, "no JSON"))
    await save_checkpoint(store, "k", Checkpoint(identity="i", done=done))
    assert await load_checkpoint(store, "k") == Checkpoint(identity="i", done=done)
    clock.advance(TTL_S + 1)
    assert await load_checkpoint(store, "k") is None


async def test_what_cannot_be_read_is_no_checkpoint() -> None:
    """Another release's value costs a fresh beginning, nothing else."""
    store = MemoryStore(clock=ManualClock())
    await store.set("k", b"\xff{")
    assert await load_checkpoint(store, "k") is None


def test_faults_are_bounded() -> None:
    """A file of nonsense does not fill the store."""
    done = Done()
    for line in range(1000):
        done.tell(ArchiveFault("t", line, "no JSON"))
    assert len(done.faults) == MAX_FAULTS
    assert done.faults[-1].line == MAX_FAULTS - 1
