"""``augury features``: every verb, what it prints, and its exit codes."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from augury.app.cli import app
from augury.core.errors import AuguryError
from tests.models import write_two_inputs

DEFINITION = """
name = "author_stats"
description = "What an author did lately."
[entity]
author_id = "INT64"
[features.tweets_30d]
dtype = "INT64"
default = 0
[features.topics]
dtype = "FP32"
shape = [2]
"""
ROWS = """author_id,event_time,tweets_30d,topics
7,2026-01-01T09:00:00Z,12,"[0.9, 0.1]"
7,2026-01-15T09:00:00+01:00,31,"[0.8, 0.2]"
8,2026-01-10T00:00:00Z,4,
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a working folder, and with it a store and a history, of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUGURY_STORE", raising=False)
    # The verbs run in this process: what they do to its logs would stay for the tests after these.
    monkeypatch.setattr("augury.app.cli.features.quiet_logs", lambda: None)
    monkeypatch.setattr("augury.app.cli.check.quiet_logs", lambda: None)
    (tmp_path / "author_stats.toml").write_text(DEFINITION)
    (tmp_path / "rows.csv").write_text(ROWS)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["features", *words])


def good(*words: str) -> str:
    """What it prints; it must succeed."""
    done = run(*words)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def fault(*words: str) -> str:
    """The one line that `main` prints for it."""
    done = run(*words)
    assert isinstance(done.exception, AuguryError), (done.output, done.exception)
    return done.exception.message


def usage(*words: str) -> str:
    """What is told of a wrong use, without the frame around it."""
    done = run(*words)
    assert done.exit_code == 2, (done.output, done.exception)
    return " ".join(done.stderr.replace("│", " ").split())


@pytest.fixture
def filled(folder: Path) -> Path:
    good("define", "author_stats.toml")
    good("write", "author_stats", "rows.csv")
    return folder


def test_a_table_goes_from_definition_to_training_set(folder: Path) -> None:
    """Define, write, read, history: the tour of the documentation."""
    assert good("define", "author_stats.toml") == "author_stats defined: 2 features\n"
    assert good("define", "author_stats.toml") == (
        "author_stats is defined so already: 2 features\n"
    )
    written = good("write", "author_stats", "rows.csv")
    assert written == "3 rows written to author_stats, 2 online values new\n"
    again = json.loads(good("write", "author_stats", "rows.csv", "--json"))
    assert (again["written"], again["changed"], again["faulty"]) == (3, 0, 0)

    found = json.loads(good("read", "author_stats", "--entity", "author_id=7", "--json"))
    assert found["values"] == {"tweets_30d": 31, "topics": [0.8, 0.2]}
    assert found["event_time"] == "2026-01-15T08:00:00Z"
    assert "31" in good("read", "author_stats", "--entity", "author_id=7")

    (folder / "labels.csv").write_text(
        "author,timestamp,label\n7,2026-01-10T12:00:00Z,good\n8,2026-01-09T00:00:00Z,bad\n"
        "7,2026-01-15T08:00:00Z,good\n"
    )
    joined = good(
        *("history", "author_stats:tweets_30d", "--entities", "labels.csv"),
        *("--key", "author_id=author", "--output", "train.csv"),
    )
    assert joined == "3 rows written to train.csv\n"
    assert (folder / "train.csv").read_text() == (
        "author,timestamp,label,tweets_30d\n"
        "7,2026-01-10T12:00:00Z,good,12\n"
        "8,2026-01-09T00:00:00Z,bad,0\n"
        "7,2026-01-15T08:00:00Z,good,31\n"
    )


def test_the_options_of_history(filled: Path) -> None:
    """As known then, without defaults, with prefix and event times."""
    pq.write_table(
        pa.table(
            {
                "author_id": [7, 7],
                "at": pa.array(
                    [datetime(2026, 1, 20, tzinfo=UTC), datetime.now(UTC)],
                    pa.timestamp("us", tz="UTC"),
                ),
            }
        ),
        filled / "asked.parquet",
    )
    options = ["--timestamp", "at", "--as-known", "--no-defaults", "--prefix", "--event-times"]

    told = json.loads(
        good(
            *("history", "author_stats", "--entities", "asked.parquet"),
            *("--output", "train.parquet", *options, "--json"),
        )
    )

    assert told == {"rows": 2, "output": "train.parquet"}
    joined = pq.read_table(filled / "train.parquet")
    assert joined.column_names[2:] == [
        "author_stats__tweets_30d",
        "author_stats__topics",
        "author_stats__event_time",
    ]
    assert joined["author_stats__tweets_30d"].to_pylist() == [None, 31]


def test_list_and_show(filled: Path) -> None:
    """What there is, for people and for programs."""
    assert good("list").startswith("author_stats  2 features by author_id  What an author")
    [table] = json.loads(good("list", "--json"))["tables"]
    assert table["features"]["topics"] == {
        "dtype": "FP32",
        "shape": [2],
        "default": None,
        "description": "",
    }
    shown = good("show", "author_stats")
    for line in ("key      author_id  INT64", "feature  topics  FP32[2]", "online   2 rows",
                 "expires  never", "history  1 file,", "tweets_30d  INT64  default 0"):  # fmt: skip
        assert line in shown, shown
    assert json.loads(good("show", "author_stats", "--json"))["online_rows"] == 2


def test_drop_removes_everything_and_only_with_yes(filled: Path) -> None:
    """Neither definition nor rows nor files stay; nothing goes by accident."""
    assert "say --yes" in usage("drop", "author_stats")
    assert len(list((filled / "augury-data/features").iterdir())) == 1

    assert good("drop", "author_stats", "--yes") == "author_stats dropped, 2 online rows removed\n"

    assert list((filled / "augury-data/features").iterdir()) == []
    assert good("list") == "no feature table is defined in this store\n"
    assert "no feature table 'author_stats'" in fault("drop", "author_stats", "--yes")


def test_drop_can_keep_the_history(filled: Path) -> None:
    """The files stay for whoever still trains on them."""
    good("drop", "author_stats", "--yes", "--keep-history")

    assert len(list((filled / "augury-data/features").iterdir())) == 1


def test_expired_rows_are_purged(folder: Path) -> None:
    """Online rows past their time go when asked to."""
    (folder / "author_stats.toml").write_text(
        DEFINITION.replace("[entity]", "ttl_s = 60\n[entity]")
    )
    good("define", "author_stats.toml")
    good("write", "author_stats", "rows.csv")

    assert good("purge", "author_stats") == "2 expired rows of author_stats removed\n"
    assert run("read", "author_stats", "--entity", "author_id=7").exit_code == 1


def test_an_unknown_entity_has_defaults_and_exit_code_1(filled: Path) -> None:
    """Scripts can tell; people see what a request would get."""
    done = run("read", "author_stats", "--entity", "author_id=9", "--json")

    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["found"], told["values"]) == (False, {"tweets_30d": 0, "topics": None})
    assert told["defaults"] == ["tweets_30d"]
    assert (
        "has nothing of this entity"
        in run("read", "author_stats", "--entity", "author_id=9").stderr
    )


_FILES = ["--entities", "rows.csv", "--output", "x.csv"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["read", "author_stats", "--entity", "author=7"],
            "has no key 'author'; it has: author_id",
        ),
        (["read", "author_stats", "--entity", "author_id=x"], "'x', which is no integer"),
        (["read", "author_stats", "--entity", "author_id"], "write NAME=VALUE"),
        (["read", "author_stats", "--entity", "author_id=99999999999999999999"], "does not fit"),
        (
            ["read", "author_stats", "--entity", "author_id=1", "--entity", "author_id=2"],
            "author_id is given twice",
        ),
        (
            ["history", "author_stats", "author_stats", *_FILES],
            "author_stats is named twice",
        ),
        (
            ["history", "author_stats", *_FILES, "--key", "nonsense=x"],
            "none of the tables has a key 'nonsense'",
        ),
    ],
)
def test_wrong_uses_are_exit_code_2(filled: Path, words: list[str], told: str) -> None:
    """What the command line asks for and the table does not have."""
    assert told in usage(*words)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_faulty_rows_are_told_with_their_line(folder: Path, ending: str) -> None:
    """The others are written, and the exit code is 1."""
    good("define", "author_stats.toml")
    records: list[dict[str, Any]] = [
        {"author_id": 1, "event_time": "2026-01-01T00:00:00Z", "tweets_30d": 1},
        {"author_id": 2, "event_time": "2026-01-01T00:00:00", "tweets_30d": 2},
        {"author_id": 3, "event_time": "2026-01-01T00:00:00Z", "tweets_30d": "many"},
        {"author_id": 4, "event_time": "2026-01-01T00:00:00Z", "tweets_30d": 4},
    ]
    if ending == "jsonl":
        lines = [json.dumps(one) for one in records]
        first = 1
    else:
        separator = "," if ending == "csv" else "\t"
        lines = [separator.join(records[0])]
        lines += [separator.join(map(str, one.values())) for one in records]
        first = 2
    (folder / f"bad.{ending}").write_text("\n".join(lines) + "\n")

    done = run("write", "author_stats", f"bad.{ending}")

    assert done.exit_code == 1
    assert "2 rows written to author_stats" in done.stdout
    assert f"bad.{ending}:{first + 1}: event_time: 2026-01-01T00:00:00 has no offset" in done.stderr
    assert f"bad.{ending}:{first + 2}: " in done.stderr
    assert "'many'" in done.stderr or "'tweets_30d' is many" in done.stderr
    assert run("write", "author_stats", f"bad.{ending}", "--utc", "--json").exit_code == 1


def test_parquet_is_read_with_its_types(folder: Path) -> None:
    """Lists, times of any unit and nulls; what would be rounded is refused."""
    good("define", "author_stats.toml")
    moment = pa.array([1_700_000_000_000_000_000, 1_700_000_000_000_001_000])
    table = pa.table(
        {
            "author_id": [1, 2],
            "event_time": moment.cast(pa.timestamp("ns", tz="Europe/Berlin")),
            "topics": [[0.25, 0.75], None],
        }
    )
    pq.write_table(table, folder / "rows.parquet")
    assert "2 rows written" in good("write", "author_stats", "rows.parquet")
    found = json.loads(good("read", "author_stats", "--entity", "author_id=2", "--json"))
    assert found["event_time"] == "2023-11-14T22:13:20.000001Z"

    finer = pa.array([1_700_000_000_000_000_001] * 2).cast(pa.timestamp("ns", tz="UTC"))
    pq.write_table(table.set_column(1, "event_time", finer), folder / "finer.parquet")
    assert "lose data" in fault("write", "author_stats", "finer.parquet")
    (folder / "no.parquet").write_bytes(b"nonsense")
    assert "no.parquet" in fault("write", "author_stats", "no.parquet")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("author_id,tweets_30d\n7,1\n", "no column 'event_time'; here are: author_id, tweets_30d"),
        ("author_id,event_time,tweets\n", "'tweets' is no column of 'author_stats'; it has"),
        ("author_id,event_time,author_id\n", "column 'author_id' is there 2 times"),
        ("", "no column 'author_id'"),
    ],
)
def test_wrong_columns_are_told_before_any_row(filled: Path, text: str, words: str) -> None:
    """A misspelt column is no missing feature."""
    (filled / "bad.csv").write_text(text)

    assert words in fault("write", "author_stats", "bad.csv")


def test_definitions_that_clash_are_refused(filled: Path) -> None:
    """The rows that are there keep their meaning."""
    changed = DEFINITION.replace('dtype = "FP32"', 'dtype = "FP64"')
    (filled / "author_stats.toml").write_text(changed)

    told = fault("define", "author_stats.toml")

    assert "'topics' is FP64[2], it was defined as FP32[2]" in told
    assert "another name" in told


def test_a_store_that_forgets_is_refused() -> None:
    """What is written to memory would be gone with the command."""
    assert "is forgotten when this command ends" in fault("list", "--store", "memory://")


def test_without_the_extra_its_verbs_say_so(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Online values need no extra; the history does, and says which."""
    monkeypatch.setitem(sys.modules, "duckdb", None)

    assert "pip install 'augury[batch]'" in fault("write", "author_stats", "rows.csv")
    told = fault("history", "author_stats", "--entities", "rows.csv", "--output", "out.csv")
    assert "pip install 'augury[batch]'" in told
    assert "3 rows written" in good("write", "author_stats", "rows.csv", "--online-only")


MANIFEST = """
description = "Adds."
[signature.inputs.a]
dtype = "FP32"
shape = [2]
[signature.inputs.author]
dtype = "INT64"
[features.author_stats]
entity = { author_id = "author" }
inputs = { topics = "b" }
[[examples]]
inputs.a = [[1, 2]]
inputs.b = [[10, 20]]
outputs.sum = [[11, 22]]
"""


def test_check_compares_a_model_with_the_tables_of_a_store(filled: Path) -> None:
    """A missing table is a warning, one that does not fit a fault with its line."""
    folder = write_two_inputs(filled / "models")
    (folder / "model.toml").write_text(MANIFEST)
    store = ["--store", "sqlite:///augury-data/store.sqlite3"]

    def check(*words: str) -> Result:
        return CliRunner().invoke(app, ["check", "models", *words])

    assert "is not compared with the table; name its store with --store" in check().stdout
    assert check(*store).stdout.endswith("0 faults, 0 warnings\n")
    (folder / "model.toml").write_text(MANIFEST.replace("topics", "tweets_30d"))
    told = check(*store)
    assert told.exit_code == 1
    assert "model.toml:10: features.author_stats.inputs.tweets_30d: it is INT64 in" in told.stdout
    good("drop", "author_stats", "--yes")
    assert "'author_stats' is not defined in the store" in check(*store).stdout


def test_removing_is_written_down(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is done; refused when that fails, and a table that is not there is no event."""
    monkeypatch.setenv("AUGURY_AUDIT_FILE", "audit.jsonl")
    (filled / "audit.jsonl.lock").mkdir()
    for words in (("drop", "author_stats", "--yes"), ("purge", "author_stats")):
        assert "cannot be written, so nothing was changed" in fault(*words)
    assert json.loads(good("list", "--json"))["tables"]
    assert list((filled / "augury-data" / "features").rglob("*.parquet"))

    (filled / "audit.jsonl.lock").rmdir()
    good("purge", "author_stats")
    good("drop", "author_stats", "--yes")
    assert "no feature table" in fault("drop", "author_stats", "--yes")
    lines = [json.loads(line) for line in (filled / "audit.jsonl").read_text().splitlines()]
    assert [(line["event"], line["action"]) for line in lines] == [
        ("command begun", "features purge"),
        ("command ended", "features purge"),
        ("command begun", "features drop"),
        ("command ended", "features drop"),
    ]
    assert lines[2]["targets"]["table"] == "author_stats"
    assert lines[3]["outcome"] == "done"
