"""Files of history: whole or not there, merged when there are many, never losing a row."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augury.core.errors import InvalidSetting
from augury.features.asof import TableJoin, join_to_table
from augury.features.history import COMPACT_FILES, History, require_batch
from augury.features.tables import FeatureTable, parse_definition, table_of
from augury.features.writing import Row

_TABLE = table_of(
    parse_definition(
        {"name": "t", "entity": {"who": "INT64"}, "features": {"value": {"dtype": "INT64"}}}
    ),
    "00000000",
)


def _append(history: History, number: int, *, table: FeatureTable = _TABLE) -> None:
    row = Row((number % 5,), number, {"value": number}, 0)
    history.append(table, [row], 1_000 + number)


def _rows(history: History) -> list[tuple[int, int]]:
    found = []
    for file in history.files(_TABLE):
        table = pq.read_table(file, columns=["who", "value"]).to_pylist()
        found += [(row["who"], row["value"]) for row in table]
    return sorted(found)


def test_many_small_files_become_one(tmp_path: Path) -> None:
    """Past the bound all rows lie in one file; below it nothing happens."""
    history = History(tmp_path)
    for number in range(COMPACT_FILES):
        _append(history, number)
    assert history.compact(_TABLE) == 0
    _append(history, COMPACT_FILES)

    assert history.compact(_TABLE) == COMPACT_FILES + 1

    assert len(history.files(_TABLE)) == 1
    assert _rows(history) == sorted((n % 5, n) for n in range(COMPACT_FILES + 1))
    assert history.compact(_TABLE, force=True) == 0


def test_merging_leaves_out_only_what_says_the_same_again(tmp_path: Path) -> None:
    """A batch that was written twice takes its room once; a correction stays, and its undoing."""
    history = History(tmp_path)
    for written, value in ((10, 1), (11, 1), (12, 2), (13, 2), (14, 1)):
        history.append(_TABLE, [Row((7,), 5, {"value": value}, 0)], written)

    history.compact(_TABLE, force=True)

    table = pq.read_table(history.files(_TABLE)[0])
    written = table["written_time"].cast(pa.int64()).to_pylist()
    assert list(zip(written, table["value"].to_pylist(), strict=True)) == [
        (10, 1),
        (12, 2),
        (14, 1),
    ]


def test_readers_and_writers_go_on_while_files_are_merged(tmp_path: Path) -> None:
    """No join fails or misses a row because its files are merged away under it."""
    history = History(tmp_path)
    for number in range(40):
        _append(history, number)
    moments = pa.array([39] * 5, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    entities = pa.table({"who": list(range(5)), "timestamp": moments})
    done = threading.Event()
    faults: list[BaseException] = []

    def churn() -> None:
        number = 40
        try:
            while not done.is_set():
                _append(history, number)
                history.compact(_TABLE, force=True)
                number += 1
        except BaseException as error:  # noqa: BLE001 - told below
            faults.append(error)

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(25):
            joined = join_to_table(history, [TableJoin(_TABLE)], entities)
            assert joined["value"].to_pylist() == [35, 36, 37, 38, 39]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert faults == []


def test_a_half_written_file_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full in the middle leaves the history as it was."""
    history = History(tmp_path)
    _append(history, 1)

    def full(table: pa.Table, where: str, **options: object) -> None:
        Path(where).write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        _append(history, 2)

    assert _rows(history) == [(1, 1)]
    assert [one.name for one in history.folder(_TABLE).iterdir() if "part" in one.name] == []


def test_a_killed_writer_s_leftovers_are_not_read(tmp_path: Path) -> None:
    """What lies aside is not part of the history."""
    history = History(tmp_path)
    _append(history, 1)
    (history.folder(_TABLE) / ".00000000000000000009-aa.parquet.part").write_bytes(b"PAR1")
    (history.folder(_TABLE) / "notes.txt").write_text("not ours")

    assert _rows(history) == [(1, 1)]
    assert history.compact(_TABLE, force=True) == 0


def test_tables_of_one_name_do_not_mix(tmp_path: Path) -> None:
    """A table that was dropped and defined anew starts without history."""
    history = History(tmp_path)
    _append(history, 1)
    other = table_of(
        parse_definition(
            {"name": "t", "entity": {"who": "INT64"}, "features": {"value": {"dtype": "FP32"}}}
        ),
        "11111111",
    )

    assert history.files(other) == []


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to read a traceback to learn of the extra."""
    monkeypatch.setitem(sys.modules, "duckdb", None)

    with pytest.raises(InvalidSetting, match=r"pip install 'augury\[batch\]'"):
        require_batch()
