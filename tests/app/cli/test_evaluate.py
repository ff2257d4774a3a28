"""``augury evaluate``, through the real engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.app.cli.conftest import RunCli

# Real tweets lie beside the project, never in it.
TWEETS = Path(__file__).parents[4] / "shared" / "data" / "tweets-val.tsv"

ROWS = "text\tlabel\na good day\tgood\nrain\tbad\nfog\tgood\nsnow\tbad\n"


def test_measures_are_those_of_the_answers(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """Three of four right: the measures in JSON follow from the model's answers."""
    (tmp_path / "rows.tsv").write_text(ROWS)
    run = cli("evaluate", "mood", "--repository", repository, "--data", "rows.tsv", "--json")
    report = json.loads(run.out)

    assert run.code == 0
    assert report["rows"] == 4
    assert report["accuracy"] == 0.75
    assert report["macro_recall"] == 0.75
    assert report["confusion"] == [[2, 0], [1, 1]]
    assert report["true_distribution"] == [0.5, 0.5]
    assert report["predicted_distribution"] == [0.75, 0.25]
    assert report["ece"] == pytest.approx(0.15, abs=1e-6)
    assert report["model"] == "mood"
    assert report["version"] == "2"
    assert report["rows_per_s"] > 0


def test_tables(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """For people: every class's measures, the confusion and the calibration as tables."""
    (tmp_path / "rows.tsv").write_text(ROWS)
    run = cli("evaluate", "mood", "--repository", repository, "--data", "rows.tsv")
    lines = [" ".join(line.split()) for line in run.out.splitlines()]

    assert "bad 0.6667 1.0000 0.8000 2 50.0% 75.0%" in lines
    assert "good 1 1" in lines
    assert "0.87 to 0.93 4 0.900 0.750 -0.150" in lines
    assert "macro recall 0.7500" in run.out
    assert "rows/s" in run.err


def test_unknown_label(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """A label that the model does not have is told with its line and value."""
    (tmp_path / "rows.tsv").write_text(ROWS + "hail\tugly\n")
    run = cli("evaluate", "mood", "--repository", repository, "--data", "rows.tsv")

    assert run.code == 1
    assert "line 6: label 'ugly' is none of the model's: bad, good" in run.err
    assert run.out == ""


def test_failed_rows_are_left_out(cli: RunCli, tmp_path: Path) -> None:
    """A row without an answer is counted, but not measured; the exit code is 1."""
    rows = [
        {"text": "Good night 😊", "label": "positive", "id": 1},
        {"text": " ", "label": "neutral"},
    ]
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "rows.jsonl").write_text(text + '\n{"text": "no label"}\n')
    run = cli("evaluate", "tweet-sentiment", "--data", "rows.jsonl", "--json")
    report = json.loads(run.out)

    assert run.code == 1
    assert report["rows"] == 1
    assert report["failed_rows"] == 2
    assert "line 2: 'text' is empty" in run.err


def test_predictions_are_saved(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """--save-predictions writes each row's line, true label and answer, in the ending's format."""
    (tmp_path / "rows.tsv").write_text(ROWS)
    where = ("evaluate", "mood", "--repository", repository, "--data", "rows.tsv")

    assert cli(*where, "--save-predictions", "out.csv").code == 0
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "line,truth,label,bad,good,error"
    assert [line.split(",")[:3] for line in lines[1:3]] == [
        ["2", "good", "good"],
        ["3", "bad", "bad"],
    ]
    assert cli(*where, "--save-predictions", "out.jsonl").code == 0
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert (first["line"], first["truth"], first["label"]) == (2, "good", "good")


def test_model_without_labels(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """A model that is no classifier is refused with what its manifest lacks."""
    (tmp_path / "rows.csv").write_text('x,label\n"[1, 2]",good\n')
    run = cli("evaluate", "identity", "--repository", repository, "--data", "rows.csv")

    assert run.code == 1
    assert "none of the model's outputs (y) has labels" in run.err


def test_no_rows(cli: RunCli, repository: Path, tmp_path: Path) -> None:
    """A file without rows is a failure, not a table of zeros."""
    (tmp_path / "rows.tsv").write_text("text\tlabel\n")
    run = cli("evaluate", "mood", "--repository", repository, "--data", "rows.tsv")

    assert run.code == 1
    assert "nothing to measure" in run.err


@pytest.mark.skipif(not TWEETS.exists(), reason="the tweets are not part of the project")
def test_bundled_model_is_as_good_as_its_record(cli: RunCli) -> None:
    """Served, the bundled model has the macro recall that its provenance claims."""
    columns = ("--text-column", 3, "--label-column", 2)
    report = json.loads(
        cli("evaluate", "tweet-sentiment", "--data", TWEETS, *columns, "--json").out
    )
    listed = json.loads(cli("models", "--json").out)["models"][0]["versions"][0]

    assert report["macro_recall"] == pytest.approx(listed["macro_recall"]["val.int8"], abs=0.002)
