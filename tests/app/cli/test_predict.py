"""``augury predict``, through the real engine."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.app.cli.conftest import RunCli


def test_rows_are_answered_in_their_order(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """Thousands of rows come back in the order of the file, as JSON lines."""
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"x": [{n}, 0.5]}}\n' for n in range(5000)))
    run = cli("predict", "identity", "--repository", repository, "--input", file)

    assert run.code == 0
    assert [row["y"] for row in run.rows] == [[float(n), 0.5] for n in range(5000)]
    assert re.fullmatch(r"5,000 rows in \d+\.\d s \([\d,]+ rows/s\)\n", run.err)


def test_a_failing_row_fails_alone(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """Rows that the model, the signature or JSON refuse carry errors; their neighbours answers."""
    file = tmp_path / "rows.jsonl"
    file.write_bytes(
        b'{"x": [1, 1]}\n{"x": [-1, 1]}\n{"x": [1]}\n\n{"z": 1}\nnope\n\xff\n{"x": [2, 2]}\n'
    )
    run = cli("predict", "picky", "--repository", repository, "--input", file)

    assert run.code == 1
    assert run.rows[0] == run.rows[-1] == {"y": [1.0, 1.0]}
    codes = [(row["error"]["line"], row["error"]["code"]) for row in run.rows[1:-1]]
    assert codes == [
        (2, "runtime_failed"),
        (3, "shape_mismatch"),
        (5, "missing_input"),
        (6, "malformed_body"),
        (7, "malformed_body"),
    ]
    assert "7 rows" in run.err
    assert "5 failed" in run.err
    assert "line 2: " in run.err


def test_tsv_without_header(cli: RunCli, tmp_path: Path) -> None:
    """A number names a column of a file without header; the bundled model is at hand."""
    file = tmp_path / "tweets.tsv"
    file.write_text('1\tGood night 😊\n2\tWhat a terrible, "awful day\n', encoding="utf-8")
    run = cli("predict", "tweet-sentiment", "--input", file, "--text-column", 2)

    assert run.code == 0
    assert [row["label"] for row in run.rows] == ["positive", "negative"]
    assert list(run.rows[0]["scores"]) == ["negative", "neutral", "positive"]


def test_csv_in_and_out(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """CSV has a header, quoted cells over several lines, and a column for each score and error."""
    file = tmp_path / "rows"
    file.write_bytes(
        b'\xef\xbb\xbfid,said\n1,"a ""good""\nday"\n2,rain\n3\n4,\xff\n5,"no"x\n6,good\n'
    )
    run = cli(
        *("predict", "mood", "--repository", repository, "--input", file),
        *("--format", "csv", "--text-column", "said"),
    )
    header, *records = csv.reader(run.out.splitlines())

    assert header == ["label", "bad", "good", "error"]
    assert [record[0] for record in records] == ["good", "bad", "", "", "", "good"]
    assert [record[3].partition(":")[0] for record in records[2:5]] == [
        "line 5",
        "line 6",
        "line 7",
    ]
    assert float(records[0][2]) == pytest.approx(0.9)
    assert run.code == 1


def test_the_output_file_tells_its_format(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """Answers go to a file in the format of its ending; --json overrules it."""
    file = tmp_path / "rows.txt"
    file.write_text("a good day\n\nrain")
    where = ("predict", repository / "mood", "--input", file, "--output")

    assert cli(*where, tmp_path / "out.tsv").out == ""
    lines = (tmp_path / "out.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["label", "good", "bad", "bad"]
    cli(*where, tmp_path / "out.tsv", "--json")
    answers = [json.loads(line) for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert [answer["label"] for answer in answers] == ["good", "bad", "bad"]


@pytest.mark.parametrize("model", ["mood", "mood@1", "{}/mood", "{}/mood@1", "{}/mood/2"])
def test_ways_to_call_a_model(cli: RunCli, repository: Path, tmp_path: Path, model: str) -> None:
    """A model is called by name, name@version, or the path of its or its version's folder."""
    (tmp_path / "rows.txt").write_text("good")
    named = model.format(repository)
    run = cli("predict", named, "--repository", repository, "--input", "rows.txt")

    assert [row["label"] for row in run.rows] == ["good"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nope", "no model 'nope'; here are: identity, mood, picky"),
        ("mood@3", "model 'mood' has no version or label '3'; here are: 1, 2"),
        ("./nope", "no model './nope'"),
    ],
)
def test_unknown_model(cli: RunCli, repository: Path, model: str, message: str) -> None:
    """A model or version that is not there is told in one line with those that are."""
    run = cli("predict", model, "--repository", repository, "--input", "/dev/null")

    assert run.code == 1
    assert message in run.err
    assert run.err.count("\n") == 1


def test_model_that_does_not_load(cli: RunCli, tmp_path: Path) -> None:
    """Why a model cannot be loaded is the only line on stderr."""
    folder = tmp_path / "models" / "broken" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"nonsense")
    run = cli("predict", "broken", "--repository", "models", "--input", "/dev/null")

    assert run.code == 1
    assert run.err.count("\n") == 1
    assert "model.onnx: ONNX Runtime" in run.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text-column", "tweet"], "no column 'tweet' in the first line (id, text)"),
        (["--text-column", "0"], "columns are counted from 1"),
        (["--format", "jsonl", "--text-column", "2"], "JSON lines have names, not numbers"),
        (["--format", "txt", "--text-column", "2"], "a txt file has no columns"),
        (["--format", "xml"], "'xml' is not one of"),
        (["--output", "rows.csv"], "is the input itself"),
        (["--input", "nope.csv"], "no file 'nope.csv'"),
    ],
)
def test_wrong_options(
    cli: RunCli, repository: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    """What cannot be meant is exit code 2, says why, and writes nothing."""
    (tmp_path / "rows.csv").write_text("id,text\n1,good\n")
    run = cli("predict", "mood", "--repository", repository, "--input", "rows.csv", *options)

    assert run.code == 2
    assert message in run.errors
    assert run.out == ""
    assert (tmp_path / "rows.csv").read_text() == "id,text\n1,good\n"


def test_column_for_a_model_without_text(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """--text-column is refused where the model has no single text input."""
    (tmp_path / "rows.csv").write_text('x\n"[1, 2]"\n')
    where = ("predict", "identity", "--repository", repository, "--input", "rows.csv")

    assert cli(*where).rows == [{"y": [1.0, 2.0]}]
    assert cli(*where, "--text-column", "x").code == 2


def test_line_without_end(
    cli: RunCli, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line over the limit is skipped as one failed row, and is never held in memory."""
    monkeypatch.setenv("AUGURY_MAX_BODY_BYTES", "1024")
    (tmp_path / "rows.txt").write_text("good\n" + "x" * 100_000 + "\ngood\n")
    run = cli("predict", "mood", "--repository", repository, "--input", "rows.txt")

    assert [row.get("label") for row in run.rows] == ["good", None, "good"]
    assert run.rows[1]["error"]["line"] == 2
    assert run.rows[1]["error"]["code"] == "too_large"


def test_a_small_queue_refuses_no_row(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """The window of rows under way stays below the model's queue."""
    folder = tmp_path / "models" / "mood"
    (folder / "1").mkdir(parents=True)
    source = repository / "mood"
    (folder / "1" / "model.onnx").write_bytes((source / "1" / "model.onnx").read_bytes())
    tight = "[batching]\nmax_rows = 4\nmax_queue_rows = 5\n"
    (folder / "model.toml").write_text((source / "model.toml").read_text() + tight)
    (tmp_path / "rows.txt").write_text("good\n" * 500)
    run = cli("predict", "mood", "--repository", "models", "--input", "rows.txt")

    assert run.code == 0
    assert len(run.rows) == 500


def start(*arguments: object, **streams: object) -> subprocess.Popen[bytes]:
    """``augury predict`` in a process of its own, which Ctrl-C reaches.

    What a shell starts in the background, these tests perhaps, is told to ignore it.
    """
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", f"{begin}from augury.app.cli import main; main()", "predict"]
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [*command, *map(str, arguments)], stderr=subprocess.PIPE, **streams
    )


def test_answers_come_while_standard_input_is_open(repository: Path) -> None:
    """A row from a slow pipe is answered at once; Ctrl-C then ends it with 130 and no traceback."""
    process = start(
        *("mood", "--repository", repository), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b'{"text": "good"}\n')
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    started_s = time.monotonic()
    process.wait(timeout=20)  # its input stays open meanwhile: an end would be no interruption
    _, err = process.communicate()

    assert answer["label"] == "good"
    assert process.returncode == 130
    assert err.startswith(b"interrupted after 1 row in")
    assert err.count(b"\n") == 1
    assert time.monotonic() - started_s < 10


def test_reader_that_leaves(repository: Path, tmp_path: Path) -> None:
    """When whoever reads the answers goes away, that is quiet and no failure."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"x": [1, 2]}\n' * 100_000)
    process = start(
        *("identity", "--repository", repository, "--input", file), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=20)

    assert process.returncode == 0
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk_is_one_line(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """A disk that is full is told in one line, exit code 1."""
    (tmp_path / "rows.txt").write_text("good\n")
    run = cli(
        *("predict", "mood", "--repository", repository, "--input", "rows.txt"),
        *("--output", "/dev/full", "--json"),
    )

    assert run.code == 1
    assert run.err == f"augury: {os.strerror(28)}\n"
