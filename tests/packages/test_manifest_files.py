"""All faults of a manifest, and the places where its keys stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from augury.core.errors import InvalidPackage
from augury.packages.reader import available_versions, read_manifest, read_manifest_files


def write(tmp_path: Path, model: str | None, version: str | None = None) -> Path:
    """A model's folder with a manifest, and one for version 1."""
    (tmp_path / "1").mkdir()
    if model is not None:
        (tmp_path / "model.toml").write_text(model, encoding="utf-8")
    if version is not None:
        (tmp_path / "1" / "model.toml").write_text(version, encoding="utf-8")
    return tmp_path


def test_all_faults_are_told(tmp_path: Path) -> None:
    """Each fault of each file has its own line; reading the manifest raises the first."""
    path = write(tmp_path, "a = 1\n[cache]\nttl_s = 0\n", "[cache]\nenabled = 3\n")
    files = read_manifest_files(path, 1)

    places = {
        (fault.details["path"], fault.details["line"], fault.fault.partition(":")[0])
        for fault in files.faults()
    }
    assert places == {
        (str(path / "model.toml"), 1, "a"),
        (str(path / "model.toml"), 3, "cache.ttl_s"),
        (str(path / "1" / "model.toml"), 2, "cache.enabled"),
    }
    with pytest.raises(InvalidPackage) as raised:
        read_manifest(path, 1)
    assert raised.value.message == files.faults()[0].message


def test_a_key_is_found_in_the_file_that_has_it(tmp_path: Path) -> None:
    """The version's file wins a key that both have, but not one that it only has the table of."""
    path = write(tmp_path, "[cache]\nttl_s = 1\nenabled = true\n", "\n[cache]\nttl_s = 2\n")
    files = read_manifest_files(path, 1)

    assert files.locate(("cache", "ttl_s")) == (path / "1" / "model.toml", 3)
    assert files.locate(("cache", "enabled")) == (path / "model.toml", 3)
    assert files.locate(("cache", "nope")) == (path / "1" / "model.toml", 2)
    assert files.locate(("nope",)) == (path / "1" / "model.toml", None)


def test_a_table_is_found_by_what_is_in_it(tmp_path: Path) -> None:
    """A table that is only spelt as part of a longer header has that header's line."""
    path = write(tmp_path, '\n[signature.inputs.text]\ndtype = "BYTES"\n')

    assert read_manifest_files(path).locate(("signature", "inputs", "other")) == (
        path / "model.toml",
        2,
    )


def test_both_files_may_be_broken(tmp_path: Path) -> None:
    """Text that is no TOML is told for each file, at its line."""
    path = write(tmp_path, "a = \n", "\n\n[cache\n")

    assert [
        (Path(fault.details["path"]).parent.name == "1", fault.details["line"])
        for fault in read_manifest_files(path, 1).faults()
    ] == [(False, 1), (True, 3)]


def test_no_manifest_is_a_manifest(tmp_path: Path) -> None:
    """Without any file there are the defaults and no faults."""
    files = read_manifest_files(write(tmp_path, None), 1)

    assert files.faults() == []
    assert files.manifest().versions.policy == "latest"
    assert files.locate(("versions",)) == (tmp_path / "model.toml", None)


def test_versions_are_plain_numbers(tmp_path: Path) -> None:
    """Only folders with a plain positive integer for a name are versions."""
    for name in ("10", "2", "01", "0", "-1", "1.0", "٣", "x"):
        (tmp_path / name).mkdir()
    (tmp_path / "3").write_text("a file")

    assert available_versions(tmp_path) == [2, 10]
    assert available_versions(tmp_path / "nope") == []
