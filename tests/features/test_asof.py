"""The point-in-time join, against one in plain Python that nobody can get wrong."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augury.features.asof import JoinOptions, TableJoin, join_to_file, join_to_table
from augury.features.entities import UnfitEntities
from augury.features.history import History
from augury.features.tables import FeatureTable, InvalidTable, parse_definition, table_of
from augury.features.times import show
from augury.features.writing import Row

TTL_S = 4e-6  # four of the ticks in which the tests' events happen
UTC_US = pa.timestamp("us", tz="UTC")


def _table(name: str, entity: str, *, ttl_s: float = 0, default: int | None = None) -> FeatureTable:
    feature: dict[str, Any] = {"dtype": "INT64"} | ({} if default is None else {"default": default})
    return table_of(
        parse_definition(
            {
                "name": name,
                "ttl_s": ttl_s,
                "entity": {"who": entity},
                "features": {f"{name}_value": feature},
            }
        ),
        "00000000",
    )


@dataclass(frozen=True)
class Event:
    """A row of history."""

    entity: int | bytes
    event_us: int
    written_us: int
    value: int | None


def brute_force(
    table: FeatureTable,
    events: list[Event],
    who: int | bytes | None,
    at_us: int | None,
    *,
    as_known: bool,
) -> int | None:
    """The join's answer for one row, one event after another."""
    spec = table.features[f"{table.name}_value"]
    best: Event | None = None
    for event in events:
        if at_us is None or event.entity != who or event.event_us > at_us:
            continue
        if as_known and event.written_us > at_us:
            continue
        if best is None or (event.event_us, event.written_us) >= (best.event_us, best.written_us):
            best = event
    value = None
    if best is not None and at_us is not None:
        expired = table.ttl_us is not None and at_us - best.event_us > table.ttl_us
        value = None if expired else best.value
    return value if value is not None else spec.default  # type: ignore[return-value]


def _append(history: History, table: FeatureTable, events: list[Event]) -> None:
    """Write *events*, a file for each moment of writing."""
    by_moment: dict[int, dict[tuple[Any, int], Row]] = {}
    for event in events:
        values: dict[str, Any] = {} if event.value is None else {f"{table.name}_value": event.value}
        row = Row((event.entity,), event.event_us, values, 0)
        by_moment.setdefault(event.written_us, {})[event.entity, event.event_us] = row
    for written_us, rows in by_moment.items():
        history.append(table, list(rows.values()), written_us)


def _unique(events: list[Event]) -> list[Event]:
    """Of events that are written at one moment, the last."""
    return list({(one.entity, one.event_us, one.written_us): one for one in events}.values())


_TICKS = st.integers(-5, 12)
_NUMBERS = st.sampled_from([1, 2, -3])
_NAMES = st.sampled_from([b"a", b"A", b"*", b"a\nb", b"\x00", b"'; DROP TABLE f0; --"])


def _events(entities: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Event]]:
    value = st.none() | st.integers(0, 9)
    return st.lists(st.builds(Event, entities, _TICKS, _TICKS, value), max_size=14).map(_unique)


@settings(max_examples=80, deadline=None)
@given(
    numbers=_events(_NUMBERS),
    names=_events(_NAMES),
    rows=st.lists(
        st.tuples(st.none() | _NUMBERS, st.none() | _NAMES, st.none() | _TICKS),
        min_size=1,
        max_size=10,
    ),
    as_known=st.booleans(),
    expiring=st.booleans(),
    merged=st.booleans(),
)
def test_the_join_is_that_of_plain_python(
    *,
    numbers: list[Event],
    names: list[Event],
    rows: list[tuple[int | None, bytes | None, int | None]],
    as_known: bool,
    expiring: bool,
    merged: bool,
) -> None:
    """Ties, duplicates, nulls, late arrivals, expiry, two tables: equal, row by row, in order."""
    ttl_s = TTL_S if expiring else 0
    one = _table("one", "INT64", ttl_s=ttl_s, default=-1)
    two = _table("two", "BYTES", ttl_s=ttl_s)
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder))
        _append(history, one, numbers)
        _append(history, two, names)
        if merged:
            history.compact(one, force=True)
            history.compact(two, force=True)
        entities = pa.table(
            {
                "number": pa.array([row[0] for row in rows], pa.int64()),
                "who": pa.array([row[1] for row in rows], pa.binary()),
                "timestamp": pa.array([row[2] for row in rows], pa.int64()).cast(UTC_US),
            }
        )
        joins = [TableJoin(one, entity={"who": "number"}), TableJoin(two)]

        joined = join_to_table(history, joins, entities, JoinOptions(as_known=as_known))

    assert joined["who"].to_pylist() == [row[1] for row in rows]
    assert joined["one_value"].to_pylist() == [
        brute_force(one, numbers, number, at, as_known=as_known) for number, _, at in rows
    ]
    assert joined["two_value"].to_pylist() == [
        brute_force(two, names, name, at, as_known=as_known) for _, name, at in rows
    ]


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history")


def _simple(history: History, *events: tuple[int, int, int]) -> FeatureTable:
    """A table with (entity, event, value); all written at once."""
    table = _table("one", "INT64")
    _append(history, table, [Event(who, when, 50, value) for who, when, value in events])
    return table


def _moments(*microseconds: int) -> pa.Array:
    return pa.array(microseconds, pa.int64()).cast(UTC_US)


def test_an_event_at_the_very_moment_counts_and_one_a_microsecond_later_does_not(
    history: History,
) -> None:
    """Precision is a microsecond, and the bound is inclusive."""
    table = _simple(history, (7, 1_000_000, 1), (7, 1_000_001, 2))
    entities = pa.table({"who": [7, 7, 7], "timestamp": _moments(999_999, 1_000_000, 1_000_001)})

    joined = join_to_table(history, [TableJoin(table)], entities)

    assert joined["one_value"].to_pylist() == [None, 1, 2]


def test_without_any_history_there_are_defaults(history: History) -> None:
    """A table that nobody has written to is no failure."""
    table = _table("one", "INT64", default=5)
    entities = pa.table({"who": [7], "timestamp": _moments(1)})

    assert join_to_table(history, [TableJoin(table)], entities)["one_value"].to_pylist() == [5]
    bare = join_to_table(history, [TableJoin(table)], entities, JoinOptions(defaults=False))
    assert bare["one_value"].to_pylist() == [None]


def test_old_rows_have_the_default_of_a_feature_that_was_added(history: History) -> None:
    """A table may grow; what was written before says nothing of the new feature."""
    table = _simple(history, (7, 1, 1))
    grown = table_of(
        parse_definition(
            {
                "name": "one",
                "entity": {"who": "INT64"},
                "features": {
                    "one_value": {"dtype": "INT64"},
                    "extra": {"dtype": "FP32", "shape": [2], "default": [0.5, 1.5]},
                },
            }
        ),
        table.uid,
    )
    entities = pa.table({"who": [7], "timestamp": _moments(9)})

    joined = join_to_table(history, [TableJoin(grown)], entities)

    assert joined.to_pylist()[0]["extra"] == [0.5, 1.5]
    assert joined.to_pylist()[0]["one_value"] == 1


HOSTILE = 'x"; DROP TABLE augury_entities; --'


@pytest.mark.parametrize("name", [HOSTILE, "select", "a b", "'", "größe", "%s", "?", "$1", "{0}"])
def test_hostile_column_names_are_only_names(history: History, tmp_path: Path, name: str) -> None:
    """No column's name is ever read as SQL, and every one comes back."""
    table = _simple(history, (7, 1, 3))
    entities = pa.table({name: [7], f"{name}2": _moments(9), f"{name}3": ["kept"]})
    file = tmp_path / "in[1]*'.parquet"
    pq.write_table(entities, file)
    output = tmp_path / "out'; --.parquet"

    rows = join_to_file(
        history,
        [TableJoin(table, entity={"who": name})],
        file,
        output,
        JoinOptions(timestamp=f"{name}2"),
    )

    assert rows == 1
    joined = pq.read_table(output)
    assert joined.column_names == [name, f"{name}2", f"{name}3", "one_value"]
    assert joined["one_value"].to_pylist() == [3]


def test_a_file_with_a_pattern_for_a_name_reads_no_other(history: History, tmp_path: Path) -> None:
    """`*.csv` is a file's name here, not a pattern."""
    table = _simple(history, (7, 1, 3))
    (tmp_path / "a.csv").write_text("who,timestamp\n8,1970-01-01T00:00:01Z\n")
    (tmp_path / "*.csv").write_text("who,timestamp\n7,1970-01-01T00:00:01Z\n")
    output = tmp_path / "out.jsonl"

    assert join_to_file(history, [TableJoin(table)], tmp_path / "*.csv", output) == 1
    assert '"one_value":3' in output.read_text()


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_text_files_keep_keys_as_they_are_written(
    history: History, tmp_path: Path, ending: str
) -> None:
    """`007` is not `7`, a date is a name like any other, and offsets count."""
    table = _table("two", "BYTES")
    _append(
        history,
        table,
        [Event(b"007", 0, 0, 1), Event(b"7", 0, 0, 2), Event(b"2020-01-01", 0, 0, 3)],
    )
    rows = [
        ("007", "1970-01-01T01:00:00+01:00"),
        ("7", "1969-12-31T23:59:59.999999Z"),
        ("7", "1970-01-01 00:00:00Z"),
        ("2020-01-01", "1970-01-01T00:00:00.0000019Z"),
    ]
    file = tmp_path / f"in{ending}"
    if ending == ".jsonl":
        lines = [f'{{"who": "{who}", "timestamp": "{when}"}}' for who, when in rows]
    else:
        separator = "," if ending == ".csv" else "\t"
        lines = [separator.join(row) for row in [("who", "timestamp"), *rows]]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    joined = join_to_table(history, [TableJoin(table)], file)

    assert joined["two_value"].to_pylist() == [1, None, 2, 3]
    assert joined["who"].to_pylist() == [who for who, _ in rows]


@pytest.mark.parametrize(
    "when",
    ["2020-01-01T00:00:00", "infinity", "yesterday", "12", "2020-02-30T00:00:00Z", "2020-01-01"],
)
def test_a_moment_without_offset_or_sense_is_refused_with_its_row(
    history: History, tmp_path: Path, when: str
) -> None:
    """Which moment is meant is nothing to guess at."""
    table = _simple(history, (7, 1, 3))
    file = tmp_path / "in.csv"
    file.write_text(f"who,timestamp\n7,2020-01-01T00:00:00Z\n7,{when}\n")

    with pytest.raises(UnfitEntities, match=r"row 2: 'timestamp' is "):
        join_to_table(history, [TableJoin(table)], file)


def test_moments_without_offset_can_be_said_to_be_utc(history: History, tmp_path: Path) -> None:
    """`--utc` takes naive texts and naive timestamps for UTC, of every precision."""
    table = _simple(history, (7, 1, 3))
    file = tmp_path / "in.csv"
    file.write_text("who,timestamp\n7,1970-01-01 00:00:00.000000\n7,1970-01-01T00:00:00.000001\n")
    options = JoinOptions(assume_utc=True)

    assert join_to_table(history, [TableJoin(table)], file, options)["one_value"].to_pylist() == [
        None,
        3,
    ]
    for unit, value in (("s", 1), ("ms", 1), ("us", 1), ("ns", 1_000)):
        moment = pa.array([value], pa.timestamp(unit))
        entities = pa.table({"who": [7], "timestamp": moment})
        with pytest.raises(UnfitEntities, match="without an offset"):
            join_to_table(history, [TableJoin(table)], entities)
        joined = join_to_table(history, [TableJoin(table)], entities, options)
        assert joined["one_value"].to_pylist() == [3], unit


def test_nanoseconds_are_rounded_down(history: History) -> None:
    """999 ns before an event is before it, also before 1970."""
    table = _simple(history, (7, 1, 3), (7, -1, 2))
    moments = pa.array([999, 1_000, -1_001, -1_000], pa.timestamp("ns", tz="UTC"))
    entities = pa.table({"who": [7] * 4, "timestamp": moments})

    joined = join_to_table(history, [TableJoin(table)], entities)

    assert joined["one_value"].to_pylist() == [2, 3, None, 2]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pa.array([7.5]), "DOUBLE"),
        (pa.array([True]), "BOOLEAN"),
        (pa.array([b"7"]), "BLOB"),
    ],
)
def test_a_column_that_is_no_key_is_refused(history: History, column: pa.Array, told: str) -> None:
    """7.5 is not rounded to author 8."""
    table = _simple(history, (7, 1, 3), (8, 1, 4))
    entities = pa.table({"who": column, "timestamp": _moments(9)})

    with pytest.raises(UnfitEntities, match=f"'who' is {told}, the table's key is INT64"):
        join_to_table(history, [TableJoin(table)], entities)


def test_text_that_is_no_integer_is_refused_with_its_row(history: History, tmp_path: Path) -> None:
    """A wrong key is told, not joined to nothing."""
    table = _simple(history, (8, 1, 3))
    file = tmp_path / "in.csv"
    file.write_text("who,timestamp\n8,1970-01-01T00:00:01Z\neight,1970-01-01T00:00:01Z\n")

    with pytest.raises(UnfitEntities, match=r"row 2: 'who' is 'eight', which is no INT64"):
        join_to_table(history, [TableJoin(table)], file)


def test_missing_columns_and_features_are_named(history: History, tmp_path: Path) -> None:
    """What is not there is told with what there is."""
    table = _simple(history, (7, 1, 3))
    entities = pa.table({"author": [7], "timestamp": _moments(9)})

    with pytest.raises(UnfitEntities, match=r"no column 'who'; here are: author, timestamp"):
        join_to_table(history, [TableJoin(table)], entities)
    with pytest.raises(InvalidTable, match=r"has no feature 'nonsense'; it has: one_value"):
        join_to_table(history, [TableJoin(table, ("nonsense",), {"who": "author"})], entities)
    with pytest.raises(UnfitEntities, match=r"no file .*gone\.csv"):
        join_to_table(history, [TableJoin(table)], tmp_path / "gone.csv")
    with pytest.raises(UnfitEntities, match=r"the ending tells the format"):
        join_to_file(history, [TableJoin(table)], entities, tmp_path / "out.xls")


def test_names_that_clash_are_refused_unless_prefixed(history: History) -> None:
    """A feature never takes the place of a column of the rows."""
    table = _simple(history, (7, 1, 3))
    entities = pa.table({"who": [7], "timestamp": _moments(9), "ONE_value": ["label"]})

    with pytest.raises(UnfitEntities, match=r"--prefix"):
        join_to_table(history, [TableJoin(table)], entities)
    joined = join_to_table(
        history, [TableJoin(table)], entities, JoinOptions(prefix=True, event_times=True)
    )
    assert joined.column_names[3:] == ["one__one_value", "one__event_time"]
    assert joined["one__event_time"].cast(pa.int64()).to_pylist() == [1]


def test_the_output_appears_whole_or_not_at_all(history: History, tmp_path: Path) -> None:
    """A join that fails leaves no file, and no folder of its own."""
    table = _simple(history, (7, 1, 3))
    entities = pa.table({"who": ["x"], "timestamp": _moments(9)})

    with pytest.raises(UnfitEntities):
        join_to_file(history, [TableJoin(table)], entities, tmp_path / "out" / "joined.parquet")
    assert list((tmp_path / "out").iterdir()) == []


def test_more_rows_than_memory_are_joined(history: History, tmp_path: Path) -> None:
    """600,000 rows and 300,000 events pass through 200 MB, in order."""
    table = _table("one", "INT64")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    events, rows = 300_000, 600_000
    start_us = int(start.timestamp() * 1_000_000)
    folder = history.folder(table)
    folder.mkdir(parents=True)
    moments = pa.array([start_us + i * 1_000 for i in range(events)], pa.int64()).cast(UTC_US)
    source = {
        "who": pa.array([i % 1_000 for i in range(events)]),
        "one_value": pa.array(range(events)),
        "event_time": moments,
        "written_time": moments,
    }
    pq.write_table(pa.table(source), folder / "big.parquet")
    asked = pa.array([start_us + (i % events) * 1_000 for i in range(rows)], pa.int64())
    entities = {
        "who": pa.array([i % 1_000 for i in range(rows)]),
        "timestamp": asked.cast(UTC_US),
        "payload": pa.array(["x" * 100] * rows),
        "position": pa.array(range(rows)),
    }
    pq.write_table(pa.table(entities), tmp_path / "in.parquet")

    done = join_to_file(
        history,
        [TableJoin(table)],
        tmp_path / "in.parquet",
        tmp_path / "out.parquet",
        JoinOptions(memory="200MB"),
    )

    joined = pq.read_table(tmp_path / "out.parquet", columns=["position", "one_value"])
    assert done == rows
    assert joined["position"].to_pylist() == list(range(rows))
    assert joined["one_value"].to_pylist() == [i % events for i in range(rows)]


def test_a_correction_is_seen_only_from_when_it_was_written(history: History) -> None:
    """With `as_known` training sees the value that serving had at that moment."""
    table = _table("one", "INT64")
    _append(history, table, [Event(7, 10, 10, 1), Event(7, 10, 20, 2), Event(7, 5, 30, 9)])
    entities = pa.table({"who": [7] * 4, "timestamp": _moments(9, 15, 20, 35)})

    known = join_to_table(history, [TableJoin(table)], entities, JoinOptions(as_known=True))
    truth = join_to_table(history, [TableJoin(table)], entities)

    assert known["one_value"].to_pylist() == [None, 1, 2, 2]
    assert truth["one_value"].to_pylist() == [9, 2, 2, 2]


def test_show_is_readable_beyond_the_calendar() -> None:
    """A moment that no calendar has is told as a number."""
    assert show(2**62).endswith("µs since 1970")
    assert show(0) == (datetime(1970, 1, 1) + timedelta(0)).isoformat() + "Z"  # noqa: DTZ001
