"""``augury tune``, from the arguments to the file that it writes; nothing depends on speed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from augury.app.build import bundled_repository
from augury.app.cli import tune as tune_verb
from augury.app.local.tuning.edit import Edit
from augury.app.local.tuning.sweep import Tuning
from tests.app.cli.conftest import Run, RunCli
from tests.models import write_fails_on_negative, write_identity, write_slow

EXAMPLE = "[[examples]]\ninputs.x = [[1, 2]]\n"
QUICK = ("--budget", "1s", "--max-rows", "4")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository with ``identity``, whose model.toml holds an example."""
    path = tmp_path / "models"
    (write_identity(path) / "model.toml").write_text(f"# mine\n{EXAMPLE}", encoding="utf-8")
    return path


def tune(cli: RunCli, models: Path, *arguments: object, slo: str = "10s") -> Run:
    return cli("tune", "identity", "--repository", models, "--slo", slo, *QUICK, *arguments)


def test_it_shows_what_it_would_write(cli: RunCli, models: Path) -> None:
    """A table with the choice marked, bars, and a diff; the file is as it was."""
    run = tune(cli, models)

    assert run.code == 0
    assert "identity 1, answers within 10 s" in run.out
    assert run.out.count("▶") == 1
    assert "rows/s by rows of a batch" in run.out
    assert "+[instances]" in run.out
    assert "1 s at most; answers within 10 s" in run.err
    assert "1 row repeated again and again" in run.err
    assert "not written; --write writes it" in run.err
    assert (models / "identity/model.toml").read_text(encoding="utf-8") == f"# mine\n{EXAMPLE}"


def test_it_writes_what_it_chose(cli: RunCli, models: Path) -> None:
    """With --write model.toml says what the document says, and the server's reader takes it."""
    run = tune(cli, models, "--write", "--deadline", "--json")
    document = json.loads(run.out)
    text = (models / "identity/model.toml").read_text(encoding="utf-8")
    written = tomllib.loads(text)

    assert run.code == 0
    assert document["written"]
    assert document["file"] == str(models / "identity/model.toml")
    assert text.startswith(f"# mine\n{EXAMPLE}")
    chosen = document["chosen"]
    assert written["instances"] == {"count": chosen["count"], "threads": chosen["threads"]}
    assert written["batching"] == {"max_rows": chosen["rows"], "deadline_s": 10.0}
    assert cli("check", models).code == 0


def test_json_tells_everything(cli: RunCli, models: Path) -> None:
    """The document holds the rule, the machine, the data and every point."""
    document = json.loads(tune(cli, models, "--json").out)

    assert document["rule"] == "2 * p99_s <= slo_s"
    assert (document["model"], document["version"], document["slo_s"]) == ("identity", 1, 10.0)
    assert document["data"]["rows"] == 1
    assert {"count", "threads", "rows"} == document["current"].keys()
    assert document["chosen"] in document["points"]
    assert all(point["fits"] for point in document["points"])
    assert not document["written"]
    assert any(line.startswith("+max_rows = ") for line in document["diff"])


def test_a_version_s_folder_and_a_file_of_rows(cli: RunCli, tmp_path: Path) -> None:
    """A model without examples and without model.toml, called by its folder."""
    folder = write_identity(tmp_path / "models") / "1"
    data = tmp_path / "rows.jsonl"
    data.write_text('{"x": [1, 2]}\n{"x": [1]}\n', encoding="utf-8")
    run = cli("tune", folder, "--slo", "10s", *QUICK, "--data", data, "--write")

    assert run.code == 0
    assert "measured 1 row of rows.jsonl" in run.err
    assert "left out 1 row; the first, line 2: " in run.err
    assert tomllib.loads((folder.parent / "model.toml").read_text(encoding="utf-8")).keys() == {
        "instances",
        "batching",
    }


def test_the_bundled_model_is_shown_but_not_written(cli: RunCli) -> None:
    """By its name alone the installed package is left as it is; that is told before measuring."""
    file = bundled_repository() / "tweet-sentiment/model.toml"
    before = file.read_bytes()
    started_s = time.monotonic()
    run = cli("tune", "tweet-sentiment", "--slo", "10s", "--budget", "100s", "--write")

    assert run.code == 1
    assert "is part of the installed package" in run.err
    assert time.monotonic() - started_s < 60
    assert file.read_bytes() == before


@pytest.mark.timeout(180)
def test_a_copy_of_the_bundled_model(cli: RunCli, tmp_path: Path) -> None:
    """Texts through tokeniser and model; the rest of its model.toml stays, comments and all."""
    shutil.copytree(bundled_repository() / "tweet-sentiment", tmp_path / "tweet-sentiment")
    file = tmp_path / "tweet-sentiment/model.toml"
    before = tomllib.loads(file.read_text(encoding="utf-8"))
    run = cli("tune", "./tweet-sentiment", "--slo", "60s", *QUICK, "--write")
    after = tomllib.loads(file.read_text(encoding="utf-8"))

    assert run.code == 0, run.err
    assert "the steps before the model take" in run.err
    assert {name: after[name] for name in before if name != "batching"} == {
        name: before[name] for name in before if name != "batching"
    }
    assert after["batching"]["max_rows"] in (1, 2, 4)


def test_nothing_fits(cli: RunCli, models: Path) -> None:
    """Exit code 1, the fastest is told, and nothing is written even if asked for."""
    run = tune(cli, models, "--write", slo="1us")

    assert run.code == 1
    assert "nothing fits 1 µs; the fastest is " in run.err
    assert (models / "identity/model.toml").read_text(encoding="utf-8") == f"# mine\n{EXAMPLE}"


def test_pictures(cli: RunCli, models: Path, tmp_path: Path) -> None:
    """--plot draws an SVG, or a page with the table; another ending is a wrong use."""
    for name, start in (("p.svg", "<svg"), ("p.html", "<!doctype html>")):
        assert tune(cli, models, "--plot", tmp_path / name).code == 0
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)
    run = tune(cli, models, "--plot", tmp_path / "p.png")
    assert run.code == 2
    assert "ends neither in .svg nor in .html" in run.errors
    run = tune(cli, models, "--plot", tmp_path / "gone/p.svg")
    assert run.code == 2
    assert "No such file or directory" in run.errors
    (tmp_path / "folder.svg").mkdir()
    run = tune(cli, models, "--plot", tmp_path / "folder.svg")
    assert run.code == 2
    assert "measured" not in run.err


def test_a_picture_that_cannot_be_written_is_told_first(
    cli: RunCli, models: Path, tmp_path: Path
) -> None:
    """Not after a minute of measuring; and a file that is there is not emptied by looking."""
    kept = tmp_path / "old.svg"
    kept.write_text("old", encoding="utf-8")
    run = tune(cli, models, "--plot", tmp_path / ("long" * 100 + ".svg"))
    assert run.code == 2
    assert "File name too long" in run.errors
    tune(cli, models, "--plot", kept, slo="soon")
    assert kept.read_text(encoding="utf-8") == "old"


def test_a_plain_number_is_asked_about(cli: RunCli, models: Path) -> None:
    """--slo 50 means fifty seconds, which is rarely what was meant."""
    assert "--slo 50 is 50 seconds; did you mean 50ms?" in tune(cli, models, slo="50").err
    assert "did you mean" not in tune(cli, models, slo="50s").err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--slo", "soon"], "'soon' is no time"),
        (["--slo", "0ms"], "is not between"),
        (["--slo", "1s", "--budget", "9h"], "'9h' is no time"),
        (["--slo", "1s", "--budget", "1ms"], "is not between 0.5 s and 3600 s"),
        ([], "--slo"),
    ],
)
def test_wrong_times(cli: RunCli, models: Path, arguments: list[str], told: str) -> None:
    """A time without sense is a wrong use, told with what is meant."""
    run = cli("tune", "identity", "--repository", models, *arguments)

    assert run.code == 2
    assert told in run.errors


def test_unknown_broken_and_mute_models(cli: RunCli, models: Path) -> None:
    """One line each, as the other verbs tell it."""
    mute = write_fails_on_negative(models)
    broken = write_identity(models, "broken")
    (broken / "1/model.onnx").write_bytes(b"nonsense")
    wrong = write_identity(models, "wrong")
    (wrong / "model.toml").write_text("[instances]\ncount = 'many'\n", encoding="utf-8")

    for model, told in (
        ("nobody", "no model 'nobody'; here are: broken, identity, picky, wrong"),
        ("broken", "ONNX Runtime"),
        (mute.name, "picky has no [[examples]] to measure with"),
        ("wrong", "model.toml:2: instances.count: 'many' is neither a number nor"),
    ):
        run = cli("tune", model, "--repository", models, "--slo", "1s", *QUICK)
        assert run.code == 1
        assert told in run.err


def test_auto_is_what_is_left_out(cli: RunCli, models: Path) -> None:
    """count = "auto" and threads = "auto" say the default aloud, and are replaced by numbers."""
    file = models / "identity/model.toml"
    file.write_text(
        f'instances = {{count = "auto", threads = "auto"}}\n{EXAMPLE}', encoding="utf-8"
    )
    assert cli("check", models).code == 0
    assert tune(cli, models, "--write").code == 0
    written = tomllib.loads(file.read_text(encoding="utf-8"))
    assert all(isinstance(value, int) for value in written["instances"].values())


def test_ctrl_c_writes_nothing(tmp_path: Path) -> None:
    """A real process: what was measured is shown, the file stays, the exit code is 130."""
    folder = write_slow(tmp_path / "models")
    (folder / "model.toml").write_text(EXAMPLE, encoding="utf-8")
    # A shell may have started the tests with SIGINT ignored, which children inherit.
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    arguments = ["--slo", "100s", "--budget", "100s", "--max-rows", "65536", "--json", "--write"]
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", begin + "from augury.app.cli import main; main()"),
            *("tune", str(folder), *arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "slow 1 on" in process.stderr.readline()
    time.sleep(8)  # a look takes half a second
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert "nothing was written" in err
    document = json.loads(out)
    assert document["points"]
    assert not document["complete"]
    assert not document["written"]
    assert (folder / "model.toml").read_text(encoding="utf-8") == EXAMPLE


def test_what_was_measured_is_shown_though_it_cannot_be_written(
    cli: RunCli, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes model.toml in the last moment: their text stays, the table is there."""
    file = models / "identity/model.toml"
    plan_edit = tune_verb._edit

    def too_late(tuning: Tuning, *, deadline: bool) -> Edit | None:
        edit = plan_edit(tuning, deadline=deadline)
        file.write_text("# theirs\n", encoding="utf-8")
        return edit

    monkeypatch.setattr(tune_verb, "_edit", too_late)
    run = tune(cli, models, "--write")

    assert run.code == 1
    assert run.out.count("▶") == 1
    assert "was changed while the model was measured; tune again" in run.err
    assert "not written" in run.err
    assert file.read_text(encoding="utf-8") == "# theirs\n"
