"""Tests of ``augury.packages.digest``."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from augury.core.errors import InvalidPackage
from augury.packages import digest
from augury.packages.digest import content_digest, file_stamps
from augury.packages.reader import read_package
from tests import models

TOML = """
description = "before"
[signature.inputs.x]
dtype = "FP32"
shape = [2]
[cache]
ttl_s = 60
"""


def write(repository: Path) -> Path:
    """A package with a file beside the model; returns the version's folder."""
    folder = models.write_identity(repository)
    (folder / "model.toml").write_text(TOML)
    (folder / "1" / "data").mkdir()
    (folder / "1" / "data" / "words.txt").write_text("one two")
    return folder / "1"


def told(version: Path) -> str:
    return content_digest(read_package(version.parent, int(version.name)))


def replace_in_toml(before: str, after: str) -> Callable[[Path], object]:
    def change(version: Path) -> None:
        file = version.parent / "model.toml"
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda version: (version / "data" / "words.txt").write_text("one twp"),
        lambda version: (version / "data" / "words.txt").rename(version / "data" / "word.txt"),
        lambda version: (version / "more.bin").write_bytes(b""),
        lambda version: (version / "model.onnx").write_bytes(b"another"),
        lambda version: (version / "model.toml").write_text("[signature.inputs.x]\nshape = [-1]\n"),
        replace_in_toml("shape = [2]", "shape = [-1]"),
        replace_in_toml("shape = [2]", 'shape = [2]\ndescription = "of the input"'),
    ],
)
def test_what_may_change_the_answer_changes_the_digest(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    """Any byte or name of the version's files, and the deciding tables."""
    version = write(tmp_path)
    before = told(version)
    change(version)
    assert told(version) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda version: (version / "provenance.json").write_text("{}"),
        lambda version: (version / "README.md").write_text("About it"),
        lambda version: (version / "model.toml").write_text("[cache]\nttl_s = 7\n"),
        lambda version: (version / "data" / "words.txt").touch(),
        replace_in_toml("before", "after"),
        replace_in_toml("ttl_s = 60", 'policy = "lfu"\n[batching]\nmax_rows = 3'),
    ],
)
def test_what_cannot_change_it_does_not(tmp_path: Path, change: Callable[[Path], object]) -> None:
    """Descriptions, and the tables that only decide how fast an answer comes."""
    version = write(tmp_path)
    before = told(version)
    change(version)
    assert told(version) == before


def test_it_is_the_same_everywhere(tmp_path: Path) -> None:
    """Another folder, another time: what counts is the content."""
    version = write(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert told(version) == told(tmp_path / "two" / "identity" / "1")
    assert len(told(version)) == 64


def test_stamps_tell_a_change_while_it_is_loaded(tmp_path: Path) -> None:
    """Of any file that the digest covers, without reading it."""
    version = write(tmp_path)
    package = read_package(version.parent, 1)
    before = file_stamps(package)
    assert [name for name, _, _ in before] == ["data/words.txt", "model.onnx"]
    (version / "data" / "words.txt").write_text("another")
    assert file_stamps(package) != before


def test_a_folder_with_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is refused with the limit, rather than read for minutes."""
    version = write(tmp_path)
    monkeypatch.setattr(digest, "MAX_FILES", 1)
    with pytest.raises(InvalidPackage, match="more than 1 files"):
        told(version)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Is told as the package's fault."""
    version = write(tmp_path)
    package = read_package(version.parent, 1)
    shutil.rmtree(version)
    with pytest.raises(InvalidPackage, match="cannot be read"):
        content_digest(package)
