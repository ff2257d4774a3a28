"""Reading for requests."""

from __future__ import annotations

import numpy as np
import pytest

from augury.core.clock import ManualClock
from augury.core.errors import NotFound
from augury.features.catalogue import Catalogue, FeatureStore, TableNotFound
from augury.features.online import Lookup, OnlineStore
from augury.features.records import row_key
from augury.features.tables import FeatureTable, InvalidTable, parse_definition
from augury.features.writing import Writer
from augury.stores.memory import MemoryStore
from tests.features.tables import AUTHOR_STATS, at


async def _filled(store: FeatureStore, clock: ManualClock) -> FeatureTable:
    table, _ = await Catalogue(store).define(parse_definition(AUTHOR_STATS))
    row = {"author_id": 7, "event_time": at(-100), "tweets_30d": 31, "embedding": [1, 2, 3, 4]}
    await Writer(store, table, None, clock).write([(1, row)])
    return table


async def test_what_was_written_is_read(store: FeatureStore, clock: ManualClock) -> None:
    """Values where there are some, defaults elsewhere, and which is which is told."""
    await _filled(store, clock)

    columns = await OnlineStore(store, clock).read("author_stats", {"author_id": [7, 8, 7]})

    assert columns["tweets_30d"].values.tolist() == [31, 0, 31]
    assert columns["tweets_30d"].values.dtype == np.int64
    assert columns["tweets_30d"].missing == {1}
    assert columns["embedding"].values.tolist() == [[1, 2, 3, 4], [0, 0, 0, 0], [1, 2, 3, 4]]
    assert columns["home"].values.tolist() == [b"nowhere"] * 3
    assert columns["home"].missing == {0, 1, 2}


async def test_a_value_expires_by_the_time_of_its_event(
    store: FeatureStore, clock: ManualClock
) -> None:
    """When it was written does not matter, and at the very end it still counts."""
    await _filled(store, clock)
    online = OnlineStore(store, clock)

    clock.advance(86_300)
    assert (await online.read("author_stats", {"author_id": [7]}))["tweets_30d"].missing == set()
    clock.advance(0.001)
    assert (await online.read("author_stats", {"author_id": [7]}))["tweets_30d"].missing == {0}


async def test_rows_of_a_dropped_table_are_not_read(
    store: FeatureStore, clock: ManualClock
) -> None:
    """A writer that came too late does not fill the next table of the name."""
    table = await _filled(store, clock)
    key = row_key("author_stats", [7])
    late = await store.get(key)
    await Catalogue(store).drop(table)
    await Catalogue(store).define(parse_definition(AUTHOR_STATS))
    assert late is not None
    await store.set(key, late)

    columns = await OnlineStore(store, clock).read("author_stats", {"author_id": [7]})

    assert columns["tweets_30d"].missing == {0}


async def test_several_tables_are_one_round_trip(clock: ManualClock) -> None:
    """All rows of all tables, and the definitions, are asked for at once, each key once."""

    class Counting(MemoryStore):
        def __init__(self) -> None:
            super().__init__(clock=clock)
            self.asked: list[int] = []

        async def get_many(self, keys):  # type: ignore[no-untyped-def]
            self.asked.append(len(keys))
            return await super().get_many(keys)

    store = Counting()
    await _filled(store, clock)
    other = parse_definition({**AUTHOR_STATS, "name": "other"})
    await Catalogue(store).define(other)
    store.asked.clear()

    entities = [[7], None, [7], [8]]
    found = await OnlineStore(store, clock).lookup(
        [Lookup("author_stats", entities), Lookup("other", entities), Lookup("gone", entities)]
    )

    assert store.asked == [3 + 3 * 2]
    assert [row is not None for row in found[0].rows] == [True, False, True, False]
    assert found[1].table is not None
    assert found[2].table is None


async def test_wrong_keys_are_told(store: FeatureStore, clock: ManualClock) -> None:
    """What is no entity of the table is no question to it."""
    await _filled(store, clock)
    online = OnlineStore(store, clock)

    with pytest.raises(TableNotFound):
        await online.read("gone", {"author_id": [7]})
    with pytest.raises(InvalidTable, match="is author_id; given: author"):
        await online.read("author_stats", {"author": [7]})
    with pytest.raises(InvalidTable, match="'author_id' of row 2 '7' is not an integer"):
        await online.read("author_stats", {"author_id": [7, "7"]})
    with pytest.raises(InvalidTable, match="different length"):
        await online.read("author_stats", {"author_id": [7], "x": []})
    with pytest.raises(NotFound, match="cannot be a feature table's name"):
        await online.lookup([Lookup("a:*", [])])


async def test_damaged_rows_are_missing(store: FeatureStore, clock: ManualClock) -> None:
    """Bytes that are no row are no value of anybody."""
    await _filled(store, clock)
    await store.set(row_key("author_stats", [7]), b"\xc1")

    columns = await OnlineStore(store, clock).read("author_stats", {"author_id": [7]})

    assert columns["tweets_30d"].missing == {0}


HOSTILE = ["*", "a\nb", "a\0b", "?", "[a-z]", "%", "{1}", "", " ", "ключ", "🐦", "a:b", "1:b"]


async def test_hostile_entities_are_only_entities(store: FeatureStore, clock: ManualClock) -> None:
    """Line breaks, NULs, globs and every script: each has its own value, and no other's."""
    definition = {"name": "t", "entity": {"a": "BYTES", "b": "BYTES"},
                  "features": {"position": {"dtype": "INT64"}}}  # fmt: skip
    table, _ = await Catalogue(store).define(parse_definition(definition))
    pairs = [(one, other) for one in HOSTILE for other in HOSTILE]
    rows = [
        (i, {"a": one, "b": other, "event_time": at(0), "position": i})
        for i, (one, other) in enumerate(pairs)
    ]
    await Writer(store, table, None, clock).write(rows)

    columns = await OnlineStore(store, clock).read(
        "t", {"a": [one for one, _ in pairs], "b": [other for _, other in pairs]}
    )

    assert columns["position"].values.tolist() == list(range(len(pairs)))
    assert columns["position"].missing == set()
