"""Writing: what is refused, and that the newest event stands whoever writes when."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augury.core.clock import ManualClock
from augury.features.asof import TableJoin, join_to_table
from augury.features.catalogue import Catalogue, FeatureStore
from augury.features.history import History
from augury.features.online import OnlineStore
from augury.features.tables import FeatureTable, parse_definition
from augury.features.writing import MAX_FAULTS, BadRow, Writer, check_row, purge
from tests.features.tables import AUTHOR_STATS, NOW_S, at, make_table

COUNTERS: dict[str, Any] = {
    "name": "counters",
    "entity": {"who": "INT64"},
    "features": {"value": {"dtype": "INT64"}},
}


async def _defined(store: FeatureStore, document: dict[str, Any] = COUNTERS) -> FeatureTable:
    return (await Catalogue(store).define(parse_definition(document)))[0]


def _row(who: int, when_s: float, value: int | None) -> dict[str, Any]:
    return {"who": who, "event_time": at(when_s), "value": value}


async def _values(store: FeatureStore, clock: ManualClock, count: int) -> list[int | None]:
    columns = await OnlineStore(store, clock).read("counters", {"who": list(range(count))})
    values = columns["value"].values.tolist()
    return [None if i in columns["value"].missing else values[i] for i in range(count)]


async def test_an_older_event_never_replaces_a_newer_one(
    store: FeatureStore, clock: ManualClock
) -> None:
    """In one batch or in several, in whatever order."""
    table = await _defined(store)
    writer = Writer(store, table, None, clock)

    first = await writer.write([(1, _row(0, -5, 5)), (2, _row(0, -1, 1)), (3, _row(0, -3, 3))])
    second = await writer.write([(1, _row(0, -2, 2)), (2, _row(1, -2, 2))])

    assert await _values(store, clock, 2) == [1, 2]
    assert (first.written, first.changed, first.unchanged) == (3, 1, 2)
    assert (second.written, second.changed, second.unchanged) == (2, 1, 1)


async def test_a_repeated_batch_changes_nothing(store: FeatureStore, clock: ManualClock) -> None:
    """Writing a file again after a crash is safe."""
    table = await _defined(store)
    rows = [(i, _row(i, -i, i)) for i in range(700)]
    await Writer(store, table, None, clock).write(rows)
    clock.advance(10)

    again = await Writer(store, table, None, clock).write(rows)

    assert (again.changed, again.unchanged) == (0, 700)
    assert await _values(store, clock, 700) == list(range(700))


async def test_of_one_event_the_last_written_counts(
    store: FeatureStore, clock: ManualClock
) -> None:
    """A correction replaces what it corrects, in a batch and after it."""
    table = await _defined(store)
    writer = Writer(store, table, None, clock)
    await writer.write([(1, _row(0, -1, 1)), (2, _row(0, -1, 2))])
    assert await _values(store, clock, 1) == [2]

    await writer.write([(1, _row(0, -1, 3))])

    assert await _values(store, clock, 1) == [3]


async def test_a_newer_row_replaces_the_whole_row(store: FeatureStore, clock: ManualClock) -> None:
    """A feature that the newest row lacks is missing, whatever an older one said."""
    table = await _defined(store)
    writer = Writer(store, table, None, clock)
    await writer.write([(1, _row(0, -2, 1)), (2, _row(0, -1, None))])

    assert await _values(store, clock, 1) == [None]


async def test_concurrent_writers_leave_the_newest(store: FeatureStore, clock: ManualClock) -> None:
    """Eight writers over the same entities, each in an order of its own: the newest events stand."""
    table = await _defined(store)
    entities, events = 20, 40
    rows = [
        _row(who, -when, 1000 * who + when) for who in range(entities) for when in range(events)
    ]

    async def write(seed: int) -> None:
        own = list(rows)
        random.Random(seed).shuffle(own)
        writer = Writer(store, table, None, clock)
        for start in range(0, len(own), 100):
            await writer.write(list(enumerate(own[start : start + 100])))

    await asyncio.gather(*map(write, range(8)))

    assert await _values(store, clock, entities) == [1000 * who for who in range(entities)]


_WRITER = """
import asyncio, random, sys
from augury.core.clock import ManualClock
from augury.features.catalogue import Catalogue, as_feature_store
from augury.features.history import History
from augury.features.writing import Writer
from augury.stores.registry import open_store
from tests.features.tables import NOW_S, at
from pathlib import Path

async def main(url, seed, folder):
    clock = ManualClock(NOW_S)
    store = await open_store(url, clock=clock, on_corrupt=lambda *_: None)
    table = await Catalogue(store).get("counters")
    rows = [{"who": who, "event_time": at(-when), "value": 1000 * who + when}
            for who in range(10) for when in range(100)]
    random.Random(seed).shuffle(rows)
    writer = Writer(as_feature_store(store), table, History(Path(folder)), clock)
    for start in range(0, len(rows), 25):
        report = await writer.write(list(enumerate(rows[start : start + 25])))
        assert report.faulty == 0
    await store.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
"""


_OF_SEVERAL_PROCESSES = pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)], indirect=True
)


@_OF_SEVERAL_PROCESSES
async def test_two_processes_leave_the_newest(
    url: str, store: FeatureStore, clock: ManualClock, tmp_path: Path
) -> None:
    """Two processes on one store and one folder: newest online, nothing lost in the history."""
    table = await _defined(store)
    commands = [[sys.executable, "-c", _WRITER, url, seed, str(tmp_path / "past")] for seed in "12"]
    done = await asyncio.gather(
        *(asyncio.to_thread(subprocess.run, one, check=False, timeout=100) for one in commands)
    )
    assert [one.returncode for one in done] == [0, 0]

    assert await _values(store, clock, 10) == [1000 * who for who in range(10)]
    files = History(tmp_path / "past").files(table)
    kept = {
        (row["who"], row["value"])
        for file in files
        for row in pq.read_table(file, columns=["who", "value"]).to_pylist()
    }
    assert kept == {(who, 1000 * who + when) for who in range(10) for when in range(100)}


_LONG_WRITER = """
import asyncio, sys
from pathlib import Path
from augury.core.clock import ManualClock
from augury.features.catalogue import Catalogue, as_feature_store
from augury.features.history import History
from augury.features.writing import Writer
from augury.stores.registry import open_store
from tests.features.tables import NOW_S, at

async def main(url, folder):
    clock = ManualClock(NOW_S)
    store = await open_store(url, clock=clock, on_corrupt=lambda *_: None)
    table = await Catalogue(store).get("counters")
    rows = ((i, {"who": i % 5_000, "event_time": at(-i), "value": i}) for i in range(25_000))
    await Writer(as_feature_store(store), table, History(Path(folder)), clock).write(rows)

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


@_OF_SEVERAL_PROCESSES
async def test_a_writer_that_was_killed_can_be_run_again(
    url: str, store: FeatureStore, clock: ManualClock, tmp_path: Path
) -> None:
    """Killed in the middle, then written as a whole: nothing lost, nothing twice, no older value."""
    table = await _defined(store)
    history = History(tmp_path / "past")
    command = [sys.executable, "-c", _LONG_WRITER, url, str(history.root)]
    process = await asyncio.create_subprocess_exec(*command)
    while not history.files(table):
        assert process.returncode is None
        await asyncio.sleep(0.01)
    process.kill()
    await process.wait()
    assert sum(pq.read_metadata(file).num_rows for file in history.files(table)) < 25_000

    again = await asyncio.to_thread(subprocess.run, command, check=False, timeout=100)

    assert again.returncode == 0
    assert await _values(store, clock, 5_000) == list(range(5_000))
    moments = pa.array([int(NOW_S * 1e6)] * 5_000).cast(pa.timestamp("us", tz="UTC"))
    entities = pa.table({"who": range(5_000), "timestamp": moments})
    joined = await asyncio.to_thread(join_to_table, history, [TableJoin(table)], entities)
    assert joined["value"].to_pylist() == list(range(5_000))
    history.compact(table, force=True)
    assert sum(pq.read_metadata(file).num_rows for file in history.files(table)) == 25_000


async def test_faulty_rows_are_told_and_the_others_are_written(
    store: FeatureStore, clock: ManualClock
) -> None:
    """Row, column and reason; only the first hundred are kept."""
    table = await _defined(store)
    rows: list[Any] = [(5, _row(0, 0, 1)), (6, {**_row(1, 0, 1), "value": "x"}), (7, "no JSON")]

    report = await Writer(store, table, None, clock).write(rows)

    assert (report.rows, report.written, report.faulty) == (3, 1, 2)
    assert [(one.row, one.column) for one in report.faults] == [(6, "value"), (7, "")]
    assert "'x' is not an integer" in report.faults[0].message
    many = await Writer(store, table, None, clock).write([(i, "no") for i in range(500)])
    assert (many.faulty, len(many.faults)) == (500, MAX_FAULTS)


@pytest.mark.parametrize(
    ("changes", "column", "words"),
    [
        ({"author_id": None}, "author_id", "is missing"),
        ({"author_id": 1.5}, "author_id", "not an integer"),
        ({"author_id": 2**63}, "author_id", "does not fit INT64"),
        ({"event_time": None}, "event_time", "is missing"),
        ({"event_time": "2023-11-14T22:13:20"}, "event_time", "has no offset"),
        ({"event_time": at(301)}, "event_time", "is in the future; 300 s ahead"),
        ({"tweets_30d": "31"}, "tweets_30d", "not an integer"),
        ({"embedding": [1, 2, 3]}, "embedding", r"has shape \[3\]"),
        ({"tweets": 3}, "tweets", "is no column of 'author_stats'; it has: author_id, event_time"),
        ({"a'; --": 3}, "a'; --", "is no column"),
        ({"home": "x" * 300_000}, "home", "the limit is 262144"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(
    changes: dict[str, Any], column: str, words: str
) -> None:
    """Each refusal names the column."""
    row = {"author_id": 7, "event_time": at(0), "tweets_30d": 31, **changes}

    with pytest.raises(BadRow, match=words) as raised:
        check_row(make_table(), row, now_us=int(NOW_S * 1e6))
    assert raised.value.column == column


def test_a_row_has_a_bound() -> None:
    """Many values that fit one by one may not fit together."""
    features = {f"f{i}": {"dtype": "BYTES"} for i in range(6)}
    table = make_table(features=features)
    row = {"author_id": 7, "event_time": at(0)} | dict.fromkeys(features, "x" * 200_000)

    with pytest.raises(BadRow, match="the limit of a row is 1048576"):
        check_row(table, row, now_us=int(NOW_S * 1e6))


async def test_the_history_keeps_every_row(
    store: FeatureStore, clock: ManualClock, tmp_path: Path
) -> None:
    """Also those that were late, with the moment at which they were written."""
    table = await _defined(store, AUTHOR_STATS)
    history = History(tmp_path)
    row = {"author_id": 7, "event_time": at(-10), "tweets_30d": 1, "embedding": [1, 2, 3, 4]}
    late = {"author_id": 7, "event_time": at(-20), "home": b"\xff\0"}
    await Writer(store, table, history, clock).write([(1, row)])
    clock.advance(5)

    await Writer(store, table, history, clock).write([(1, late)])

    rows = [one for file in history.files(table) for one in pq.read_table(file).to_pylist()]
    assert [one["tweets_30d"] for one in rows] == [1, None]
    assert rows[0]["embedding"] == [1, 2, 3, 4]
    assert rows[1]["home"] == b"\xff\0"
    written = [one["written_time"].timestamp() for one in rows]
    assert written == [NOW_S, NOW_S + 5]


async def test_what_is_online_is_in_the_history(
    store: FeatureStore, clock: ManualClock, tmp_path: Path
) -> None:
    """When the history cannot be written, nothing is written online either."""
    table = await _defined(store)
    blocked = tmp_path / "file"
    blocked.write_text("no folder")

    with pytest.raises(OSError, match="Not a directory"):
        await Writer(store, table, History(blocked), clock).write([(1, _row(0, 0, 1))])

    assert await _values(store, clock, 1) == [None]


async def test_large_batches_pass_through_in_bounded_pieces(
    store: FeatureStore, clock: ManualClock, tmp_path: Path
) -> None:
    """45,000 rows are three files and come one by one from the source."""
    table = await _defined(store)
    history = History(tmp_path)
    told: list[int] = []

    report = await Writer(store, table, history, clock).write(
        ((i, _row(i % 1_000, -i, i)) for i in range(45_000)), told.append
    )

    assert report.written == 45_000
    assert sum(told) == 45_000
    assert len(history.files(table)) == 3
    assert await _values(store, clock, 1_000) == list(range(1_000))


async def test_expired_rows_can_be_removed(store: FeatureStore, clock: ManualClock) -> None:
    """What nobody sees any more goes; what is alive stays."""
    table = await _defined(store, {**COUNTERS, "ttl_s": 100})
    await Writer(store, table, None, clock).write(
        [(i, _row(i, -90 if i % 2 else 0, i)) for i in range(1_200)]
    )
    clock.advance(50)

    assert await purge(store, table, clock) == 600
    assert await purge(store, table, clock) == 0
    assert [one for one in await _values(store, clock, 1_200) if one is not None] == list(
        range(0, 1_200, 2)
    )
