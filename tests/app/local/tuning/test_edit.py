"""Changes of model.toml: only what was chosen, in one step, or not at all."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.app.local.tuning.edit import _edited, plan_edit, why_not_writable
from augury.core.errors import OperatorError
from augury.packages.reader import ModelPackage, read_manifest, read_package
from tests.models import write_identity

CHANGES = {"instances": {"count": 2, "threads": 1}, "batching": {"max_rows": 16}}

COMMENTED = """\
# Made by hand.
description = "An echo"   # short

[cache]  # kept
enabled = false

[batching]
# why so few: see the wiki
max_rows = 8  # eight
max_queue_rows = 64

[[examples]]
inputs.x = [[1, 2]]
"""


def package_with(tmp_path: Path, manifest: str | None, own: str | None = None) -> ModelPackage:
    folder = write_identity(tmp_path)
    for path, text in ((folder, manifest), (folder / "1", own)):
        if text is not None:
            (path / "model.toml").write_text(text, encoding="utf-8", newline="")
    return read_package(folder, 1)


def test_comments_and_order_stay(tmp_path: Path) -> None:
    """One line is changed and one table added; every other line is as it was."""
    package = package_with(tmp_path, COMMENTED)
    edit = plan_edit(package, CHANGES)
    edit.write()

    text = (tmp_path / "identity/model.toml").read_text(encoding="utf-8")
    assert text == COMMENTED.replace("max_rows = 8  # eight", "max_rows = 16  # eight") + (
        "\n[instances]\ncount = 2\nthreads = 1\n"
    )
    assert [line for line in edit.diff() if line[:1] in "+-"][2:] == [
        "-max_rows = 8  # eight",
        "+max_rows = 16  # eight",
        "+",
        "+[instances]",
        "+count = 2",
        "+threads = 1",
    ]
    manifest = read_manifest(tmp_path / "identity", 1)
    assert (manifest.instances.count, manifest.batching.max_rows) == (2, 16)
    assert list((tmp_path / "identity").glob(".model*")) == []


def test_a_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    """A model without model.toml gets one, in the model's folder, that others may read."""
    edit = plan_edit(package_with(tmp_path, None), CHANGES)
    assert edit.before is None
    assert edit.diff()[0] == "--- /dev/null"
    edit.write()

    file = tmp_path / "identity/model.toml"
    assert tomllib.loads(file.read_text(encoding="utf-8")) == CHANGES
    assert file.stat().st_mode & 0o777 == 0o644


def test_the_mode_and_a_link_stay(tmp_path: Path) -> None:
    """A file that is a link stays one, and its target keeps its mode."""
    package = package_with(tmp_path, None)
    target = tmp_path / "elsewhere.toml"
    target.write_text("[batching]\nmax_rows = 1\n", encoding="utf-8")
    target.chmod(0o640)
    file = tmp_path / "identity/model.toml"
    file.symlink_to(target)
    plan_edit(package, CHANGES).write()

    assert file.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert "max_rows = 16" in target.read_text(encoding="utf-8")


def test_it_goes_where_the_keys_win(tmp_path: Path) -> None:
    """The version's own file, if that one speaks of instances or batches; else the model's."""
    one = plan_edit(package_with(tmp_path / "a", COMMENTED, "[cache]\nttl_s = 5\n"), CHANGES)
    assert one.file == tmp_path / "a/identity/model.toml"
    other = plan_edit(package_with(tmp_path / "b", COMMENTED, "instances.count = 1\n"), CHANGES)
    assert other.file == tmp_path / "b/identity/1/model.toml"
    other.write()
    manifest = read_manifest(tmp_path / "b/identity", 1)
    assert (manifest.instances.threads, manifest.batching.max_rows) == (1, 16)


def test_nothing_to_do(tmp_path: Path) -> None:
    """A file that says so already is left alone."""
    text = "[instances]\ncount=2\nthreads=1\n[batching]\nmax_rows=16\n"
    assert not plan_edit(package_with(tmp_path, text), CHANGES).needed


@pytest.mark.parametrize(
    "before",
    [
        "",
        "# only a comment",
        "instances = {count = 1, threads = 4}\n",
        "instances.count = 1\nbatching.max_rows = 3\n[cache]\nenabled = false\n",
        '[instances]\ncount = "auto"\n# none\n\n[cache]\nenabled = false\n',
        'description = "x"\r\n[batching]\r\nmax_rows = 8\r\n',
        "[[examples]]\ninputs.x = [[1, 2]]",
        "[cache]\nenabled = false\n\n[instances]\n\n[batching]\nmax_rows = 2\n\n[cache2]\n",
        '"instances" = {}\n["batching"]\n"max_rows" = 1\n',
    ],
)
def test_every_way_of_writing_it(before: str) -> None:
    """Inline tables, dotted keys, quoted keys, line ends of Windows: the rest reads as before."""
    after = _edited(before, CHANGES)

    assert after is not None
    wanted = tomllib.loads(before)
    for table, keys in CHANGES.items():
        wanted[table] = {**wanted.get(table, {}), **keys}
    assert tomllib.loads(after) == wanted
    assert ("\r\n" in before) == ("\r\n" in after)
    if "\r\n" in before:
        assert "\n" not in after.replace("\r\n", "")
    for line in before.splitlines():
        assert not line.startswith("#") or line in after


@given(
    description=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    rows=st.integers(1, 65536),
    spaces=st.integers(0, 3),
)
def test_everything_else_reads_as_before(description: str, rows: int, spaces: int) -> None:
    """Whatever stands there, only the two tables change."""
    quoted = description.replace("\\", "\\\\").replace('"', '\\"')
    before = f'description{" " * spaces}= "{quoted}"\n[batching]\nmax_rows ={" " * spaces}{rows}\n'
    after = _edited(before, CHANGES)

    assert after is not None
    assert tomllib.loads(after) == {"description": description, **CHANGES}


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """What somebody wrote while the model was measured is not overwritten."""
    edit = plan_edit(package_with(tmp_path, COMMENTED), CHANGES)
    file = tmp_path / "identity/model.toml"
    file.write_text("description = 'new'\n", encoding="utf-8")

    with pytest.raises(OperatorError, match="was changed while the model was measured"):
        edit.write()
    assert file.read_text(encoding="utf-8") == "description = 'new'\n"


def test_what_does_not_read_back_is_undone(tmp_path: Path) -> None:
    """When the package no longer reads afterwards, the file is as it was before."""
    edit = plan_edit(package_with(tmp_path, COMMENTED), CHANGES)
    own = tmp_path / "identity/1/model.toml"
    own.write_text("[batching]\nmax_rows = 5\n", encoding="utf-8")  # its keys win

    with pytest.raises(OperatorError, match=r"is as it was: \[batching\] max_rows is 5, not 16"):
        edit.write()
    assert (tmp_path / "identity/model.toml").read_text(encoding="utf-8") == COMMENTED


def test_impossible_values_are_refused(tmp_path: Path) -> None:
    """What the server would refuse is never written."""
    package = package_with(tmp_path, COMMENTED)

    with pytest.raises(OperatorError, match="less than or equal to 65536"):
        plan_edit(package, {"batching": {"max_rows": 70_000}})


def test_a_folder_that_is_not_there_cannot_be_written(tmp_path: Path) -> None:
    """A place where no file can be made, whoever asks."""
    assert "read-only" in why_not_writable(tmp_path / "gone/model.toml")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The folder went away meanwhile: one sentence, no traceback, nothing left behind."""
    package = package_with(tmp_path, None)
    edit = plan_edit(package, CHANGES)
    shutil.rmtree(tmp_path / "identity")

    with pytest.raises(OperatorError, match=r"cannot write .*No such file"):
        edit.write()
