"""Tests of ``augury.packages.reader``."""

from __future__ import annotations

from pathlib import Path

import pytest

from augury.core.errors import InvalidPackage
from augury.packages.reader import (
    MAX_MANIFEST_BYTES,
    available_versions,
    find_model_file,
    is_model_name,
    parse_version,
    read_manifest,
    read_manifest_files,
    read_package,
)
from tests.models import write_identity


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_identity(tmp_path)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("1", 1),
        ("42", 42),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("0", None),
        ("01", None),
        ("-1", None),
        ("+1", None),
        ("1.0", None),
        ("1_0", None),
        (" 1", None),
        ("1\n", None),
        ("v1", None),
        ("٣", None),
        ("", None),
    ],
)
def test_a_version_is_a_plain_positive_integer(name: str, version: int | None) -> None:
    """Of up to 18 digits, without a leading zero."""
    assert parse_version(name) == version


@pytest.mark.parametrize(
    ("name", "well"),
    [
        ("a", True),
        ("tweet-sentiment_2.onnx", True),
        ("7b", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        (".hidden", False),
        ("-a", False),
        ("_a", False),
        ("a b", False),
        ("a/b", False),
        ("ä", False),
        ("a\n", False),
    ],
)
def test_model_names(name: str, well: bool) -> None:
    """They stand in URLs and file names, and need no quoting there."""
    assert is_model_name(name) == well


def test_available_versions(tmp_path: Path) -> None:
    """Folders only, in the order of numbers."""
    for name in ("10", "9", "03", ".1", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "4").write_text("a file")
    assert available_versions(tmp_path) == [9, 10]
    assert available_versions(tmp_path / "nowhere") == []


def test_a_bare_file_is_a_package(model: Path) -> None:
    """A model file in a numbered folder needs nothing else."""
    package = read_package(model, 1)
    assert (package.name, package.version, package.runtime) == ("identity", 1, "onnx")
    assert package.model_file == model / "1" / "model.onnx"
    assert package.provenance == {}


def test_the_version_s_keys_win(model: Path) -> None:
    """Tables are merged key by key, anything else is replaced."""
    (model / "model.toml").write_text(
        'description = "old"\n[cache]\nttl_s = 5\nenabled = false\n'
        "[[examples]]\ninputs.x = [1]\n[[examples]]\ninputs.x = [2]\n"
    )
    (model / "1" / "model.toml").write_text(
        'description = "new"\n[cache]\nttl_s = 7\n[[examples]]\ninputs.x = [3]\n'
    )
    manifest = read_manifest(model, 1)
    assert manifest.description == "new"
    assert (manifest.cache.ttl_s, manifest.cache.enabled) == (7, False)
    assert [example.inputs for example in manifest.examples] == [{"x": [3]}]
    assert read_manifest(model).description == "old"
    assert read_manifest(model, 2).description == "old"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a = \n", 1, "not valid TOML"),
        ("[cache]\nttl_s = 1\nttl_s = 2\n", 3, "not valid TOML"),
        ('description = "open', 1, "not valid TOML"),
        ("a = '''\n\n", 2, "not valid TOML"),
        ("\n[cahce]\n", 2, "cahce: unknown key"),
        ("[cache]\nttl_s = -1\n", 2, "cache.ttl_s: "),
        ("cache.ttl_s = 0\n", 1, "cache.ttl_s: "),
        ("cache = 3\n", 1, "cache: "),
        ("[cache]\nttl = 1\n", 2, "cache.ttl: unknown key"),
        ("[signature.inputs.x]\nshape = [1]\n", 1, "signature.inputs.x.dtype: Field required"),
        ('[signature.inputs.x]\n\ndtype = "F"\n', 3, "unknown dtype 'F'"),
        ("[[examples]]\ninputs.x = [1]\n\n[[examples]]\natol = -1\n", 4, "examples.1.inputs"),
        ('[versions]\npolicy = "specific"\n', 1, "belong together"),
        ('# no inputs\n[[preprocess]]\nuse = "tokenize"\n', None, "declare them"),
        ("[versions.labels]\nstable = 0\n", 2, "versions.labels.stable"),
        ("versions = {labels = {stable = 0}}\n", 1, "versions.labels.stable"),
    ],
)
def test_every_fault_names_file_and_line(
    model: Path, text: str, line: int | None, words: str
) -> None:
    """A person can go there and mend it."""
    file = model / "model.toml"
    file.write_text(text)
    with pytest.raises(InvalidPackage, match=words) as raised:
        read_package(model, 1)
    assert raised.value.details == {"path": str(file), "line": line}
    where = f"{file}:{line}: " if line else f"{file}: "
    assert raised.value.message.startswith(where)


def test_the_faulty_file_of_two_is_named(model: Path) -> None:
    """The fault is where the key that won is written."""
    (model / "model.toml").write_text("[cache]\nttl_s = -1\n")
    (model / "1" / "model.toml").write_text('description = "x"\n\n\n[cache]\nttl_s = -2\n')
    with pytest.raises(InvalidPackage) as raised:
        read_package(model, 1)
    assert raised.value.details == {"path": str(model / "1" / "model.toml"), "line": 5}
    (model / "1" / "model.toml").write_text('description = "x"\n')
    with pytest.raises(InvalidPackage) as raised:
        read_package(model, 1)
    assert raised.value.details == {"path": str(model / "model.toml"), "line": 2}


def test_all_faults_can_be_asked_for(model: Path) -> None:
    """A person mends them in one go; two broken files are both told."""
    (model / "model.toml").write_text("[cache]\nttl_s = -1\n[batching]\nmax_rows = 0\n")
    faults = read_manifest_files(model).faults()
    assert sorted(fault.details["line"] for fault in faults) == [2, 4]
    (model / "model.toml").write_text("x =\n")
    (model / "1" / "model.toml").write_text("y =\n")
    files = read_manifest_files(model, 1)
    assert [Path(fault.details["path"]).parent.name for fault in files.faults()] == [
        "identity",
        "1",
    ]
    with pytest.raises(InvalidPackage):
        files.manifest()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"\xef\xbb\xbfa = 1", "not valid TOML"),
        (b"#" * (MAX_MANIFEST_BYTES + 1), "larger than 1048576 bytes"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
    ],
)
def test_what_is_no_manifest_is_told(model: Path, content: bytes, words: str) -> None:
    """Neither a huge file nor a strange one raises anything else."""
    (model / "model.toml").write_bytes(content)
    with pytest.raises(InvalidPackage, match=words):
        read_manifest(model)


def test_a_folder_for_a_manifest_is_told(model: Path) -> None:
    """What cannot be read is no missing file."""
    (model / "model.toml").mkdir()
    with pytest.raises(InvalidPackage, match="cannot be read: Is a directory"):
        read_manifest(model)


def test_no_model_file(tmp_path: Path, model: Path) -> None:
    """The message tells what would do."""
    (tmp_path / "empty" / "1").mkdir(parents=True)
    with pytest.raises(InvalidPackage, match=r"no model file; expected one of: model\.onnx"):
        read_package(tmp_path / "empty", 1)
    with pytest.raises(InvalidPackage, match="no such folder"):
        read_package(model, 2)
    (model / "1" / "model.toml").write_text('runtime = "abacus"')
    with pytest.raises(InvalidPackage, match="unknown runtime 'abacus'; here are: onnx"):
        read_package(model, 1)
    (model / "1" / "model.toml").write_text('runtime = "onnx"')
    path, runtime = find_model_file(model / "1", read_manifest(model, 1))
    assert (path.name, runtime) == ("model.onnx", "onnx")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "must hold a JSON object"),
    ],
)
def test_broken_provenance(model: Path, text: str, words: str) -> None:
    """The record of the training is an object or nothing."""
    (model / "1" / "provenance.json").write_text(text)
    with pytest.raises(InvalidPackage, match=words):
        read_package(model, 1)


def test_provenance_is_read(model: Path) -> None:
    """Whatever the training wrote down is there."""
    (model / "1" / "provenance.json").write_text('{"code": "abc"}')
    assert read_package(model, 1).provenance == {"code": "abc"}


def test_a_runtime_of_another_package_finds_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed runtime that we do not know loads the one file that is called model."""
    info = tmp_path / "site" / "abacus-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: abacus\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[augury.runtimes]\nabacus = abacus:Abacus\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    version = tmp_path / "beads" / "1"
    version.mkdir(parents=True)
    (version / "model.toml").write_text('runtime = "abacus"')

    with pytest.raises(InvalidPackage, match=r"exactly one model\.\* \(here are 0\)"):
        read_package(version.parent, 1)
    (version / "model.beads").write_bytes(b"12")
    package = read_package(version.parent, 1)

    assert (package.runtime, package.model_file) == ("abacus", version / "model.beads")
