"""Tests of ``augury.lifecycle.sources.directory``."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from augury.lifecycle.sources.base import Wanted
from augury.lifecycle.sources.directory import DirectorySource


def write(root: Path, name: str = "m", *versions: str, toml: str = "") -> Path:
    """A model's folder; nothing here looks into the model files."""
    folder = root / name
    folder.mkdir(exist_ok=True)
    for version in versions or ("1",):
        (folder / version).mkdir(exist_ok=True)
        (folder / version / "model.onnx").write_bytes(b"weights")
    if toml:
        (folder / "model.toml").write_text(toml)
    return folder


def chosen(wanted: Wanted, name: str = "m") -> list[int]:
    return sorted(wanted.versions.get(name, {}))


def test_the_newest_version_is_wanted(tmp_path: Path) -> None:
    """By number, not by name."""
    write(tmp_path, "m", "9", "10")
    wanted = DirectorySource(tmp_path).wanted()
    assert chosen(wanted) == [10]
    aspired = wanted.versions["m"][10]
    assert aspired.fault == ""
    assert aspired.package is not None
    assert aspired.package.path == tmp_path / "m" / "10"
    assert wanted.labels == {"m": {}}
    assert wanted.warnings == ()


def test_policies_and_labels(tmp_path: Path) -> None:
    """``[versions]`` chooses; a label of a version that is not there is told."""
    toml = '[versions]\npolicy = "latest(2)"\n[versions.labels]\nstable = 1\nlost = 7\n'
    write(tmp_path, "m", "1", "2", "3", "4", toml=toml)
    wanted = DirectorySource(tmp_path).wanted()
    assert chosen(wanted) == [1, 3, 4]
    assert wanted.labels == {"m": {"stable": 1}}
    assert wanted.warnings == (
        f"{tmp_path / 'm'}: label 'lost' names version 7, which is not served",
    )


def test_a_policy_that_chooses_nothing_is_told(tmp_path: Path) -> None:
    """A model that vanishes without a word would cost somebody an afternoon."""
    write(tmp_path, "m", "1", toml='[versions]\npolicy = "specific"\nspecific = [2]\n')
    wanted = DirectorySource(tmp_path).wanted()
    assert not wanted.versions
    assert "chooses none of the versions 1" in wanted.warnings[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".git", "its name starts with a dot"),
        ("my model", "not a model's name"),
        ("-m", "not a model's name"),
        ("empty", "it holds no version"),
    ],
)
def test_folders_that_are_no_models_are_ignored_with_a_warning(
    tmp_path: Path, name: str, words: str
) -> None:
    """A person sees why a folder is not served."""
    write(tmp_path)
    (tmp_path / name).mkdir()
    wanted = DirectorySource(tmp_path).wanted()
    assert list(wanted.versions) == ["m"]
    assert [words in warning and name in warning for warning in wanted.warnings] == [True]


@pytest.mark.parametrize("name", ["01", "v2", "1.0", "-3", "0", "1" * 19, ".2", "2.tmp"])
def test_folders_that_are_no_versions_are_ignored_with_a_warning(tmp_path: Path, name: str) -> None:
    """Half-copied ones among them: rename a folder when it is whole."""
    write(tmp_path, "m", "1", name)
    wanted = DirectorySource(tmp_path).wanted()
    assert chosen(wanted) == [1]
    assert [name in warning for warning in wanted.warnings] == [True]


def test_files_are_no_folders(tmp_path: Path) -> None:
    """A README beside the models, or a file called 2, is nobody's concern."""
    write(tmp_path)
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / "m" / "2").write_text("hello")
    wanted = DirectorySource(tmp_path).wanted()
    assert chosen(wanted) == [1]
    assert wanted.warnings == ()


def test_a_version_that_cannot_be_read_carries_its_fault(tmp_path: Path) -> None:
    """It is wanted all the same, so that the reason is seen."""
    folder = write(tmp_path, "m", "1", "2", toml='[versions]\npolicy = "all"\n')
    (folder / "2" / "model.onnx").unlink()
    versions = DirectorySource(tmp_path).wanted().versions["m"]
    assert versions[1].package is not None
    assert versions[2].package is None
    assert "no model file" in versions[2].fault


def test_a_broken_manifest_is_the_newest_version_s_fault(tmp_path: Path) -> None:
    """Nobody can tell what is wanted; file and line are told."""
    folder = write(tmp_path, "m", "1", "2", toml="[versions\n")
    write(tmp_path, "n")
    wanted = DirectorySource(tmp_path).wanted()
    assert chosen(wanted) == [2]
    assert wanted.versions["m"][2].fault.startswith(f"{folder / 'model.toml'}:1: ")
    assert wanted.unclear == {"m"}
    assert "m" not in wanted.labels
    assert len(wanted.warnings) == 1
    assert chosen(wanted, "n") == [1]


def test_a_version_s_own_manifest_is_its_own_fault(tmp_path: Path) -> None:
    """The model's other versions are not touched."""
    folder = write(tmp_path, "m", "1", "2", toml='[versions]\npolicy = "all"\n')
    (folder / "1" / "model.toml").write_text("x =\n")
    wanted = DirectorySource(tmp_path).wanted()
    assert wanted.unclear == frozenset()
    assert "not valid TOML" in wanted.versions["m"][1].fault
    assert wanted.versions["m"][2].fault == ""


def test_the_earlier_repository_wins(tmp_path: Path) -> None:
    """One name, one model; an empty folder does not hide the other's."""
    roots = [tmp_path / "a", tmp_path / "b"]
    for root in roots:
        root.mkdir()
    write(roots[0], "m", "1")
    write(roots[1], "m", "2")
    (roots[0] / "n").mkdir()
    write(roots[1], "n", "3")
    wanted = DirectorySource(*roots).wanted()
    assert (chosen(wanted), chosen(wanted, "n")) == ([1], [3])
    assert f"{roots[1] / 'm'}: ignored, an earlier repository has this model" in wanted.warnings


def test_a_repository_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    """It raises: an empty answer would unload everything."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        DirectorySource(tmp_path / "nowhere").wanted()


def test_a_model_that_cannot_be_listed_just_now_is_unclear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no file descriptor left, what is served of it stays, and the others are told as ever."""
    write(tmp_path, "m", "1")
    write(tmp_path, "n", "2")
    listing = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == "m":
            raise OSError(errno.EMFILE, "Too many open files", str(path))
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    wanted = DirectorySource(tmp_path).wanted()

    assert wanted.unclear == {"m"}
    assert chosen(wanted, "n") == [2]
    assert "Too many open files; what is served stays" in wanted.warnings[0]


def fingerprint(root: Path) -> str:
    return DirectorySource(root).wanted().versions["m"][1].fingerprint


def test_the_fingerprint_stands_while_nothing_changes(tmp_path: Path) -> None:
    """Otherwise a broken version would be loaded again and again."""
    write(tmp_path)
    assert fingerprint(tmp_path) == fingerprint(tmp_path)


@pytest.mark.parametrize("change", ["content", "time", "more", "less", "moved", "toml", "deep"])
def test_the_fingerprint_changes_with_the_files(tmp_path: Path, change: str) -> None:
    """Content, time, name and place of every file that makes the version."""
    folder = write(tmp_path, toml='description = "m"\n')
    deep = folder / "1" / "weights" / "a"
    deep.mkdir(parents=True)
    (deep / "w.bin").write_bytes(b"1")
    (folder / "1" / "extra").write_bytes(b"1")
    before = fingerprint(tmp_path)
    if change == "content":
        (folder / "1" / "model.onnx").write_bytes(b"more weights")
    elif change == "time":
        os.utime(folder / "1" / "model.onnx", ns=(1, 1))
    elif change == "more":
        (folder / "1" / "tokenizer.json").write_text("{}")
    elif change == "less":
        (folder / "1" / "extra").unlink()
    elif change == "moved":
        (folder / "1" / "extra").rename(folder / "1" / "other")
    elif change == "toml":
        (folder / "model.toml").write_text('description = "mm"\n')
    else:
        (deep / "w.bin").write_bytes(b"22")
    assert fingerprint(tmp_path) != before


def test_a_dangling_link_is_no_obstacle(tmp_path: Path) -> None:
    """What cannot be looked at is left out."""
    folder = write(tmp_path)
    (folder / "1" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "gone" not in fingerprint(tmp_path)
