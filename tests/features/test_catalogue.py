"""Definitions in the store, over every store."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import InvalidSetting
from augury.features.catalogue import Catalogue, FeatureStore, TableNotFound, as_feature_store
from augury.features.records import row_key, table_key
from augury.features.tables import InvalidTable, parse_definition
from augury.features.writing import Writer
from tests.features.tables import AUTHOR_STATS, at

_DEFINITION = parse_definition(AUTHOR_STATS)


def _with(**features: dict[str, Any]) -> dict[str, Any]:
    return {**AUTHOR_STATS, "features": {**AUTHOR_STATS["features"], **features}}


async def test_what_was_defined_is_found(store: FeatureStore) -> None:
    """Every process sees the same table, defaults and shapes included."""
    catalogue = Catalogue(store)
    table, changed = await catalogue.define(_DEFINITION)

    again, changed_again = await Catalogue(store).define(_DEFINITION)

    assert (changed, changed_again) == (True, False)
    assert again == table == await catalogue.get("author_stats")
    assert await catalogue.all() == [table]
    assert table.features["home"].default == b"nowhere"
    assert list(table.features) == ["tweets_30d", "embedding", "home"]


async def test_an_unknown_table_is_told_with_those_there_are(store: FeatureStore) -> None:
    """A misspelt name is seen at once."""
    catalogue = Catalogue(store)
    with pytest.raises(TableNotFound, match="none is defined"):
        await catalogue.get("author_stat")
    await catalogue.define(_DEFINITION)

    with pytest.raises(TableNotFound, match=r"'author_stat'; here are: author_stats"):
        await catalogue.get("author_stat")
    assert await catalogue.find("*") is None


async def test_another_meaning_needs_another_name(store: FeatureStore) -> None:
    """A definition that clashes is refused, and nothing changes."""
    catalogue = Catalogue(store)
    table, _ = await catalogue.define(_DEFINITION)

    with pytest.raises(InvalidTable, match="give the new table another name"):
        await catalogue.define(parse_definition(_with(tweets_30d={"dtype": "FP32"})))

    assert await catalogue.get("author_stats") == table


async def test_two_who_define_at_once_do_not_undo_each_other(store: FeatureStore) -> None:
    """Of two features added at once, one is refused or both are there; none is lost unseen."""
    catalogue = Catalogue(store)
    await catalogue.define(_DEFINITION)
    grown = [parse_definition(_with(**{name: {"dtype": "INT64"}})) for name in ("one", "two")]

    done = await asyncio.gather(
        *(Catalogue(store).define(one) for one in grown), return_exceptions=True
    )

    features = (await catalogue.get("author_stats")).features
    refused = [one for one in done if isinstance(one, InvalidTable)]
    assert len(refused) == 1
    assert len({"one", "two"} & features.keys()) == 1


async def test_a_table_that_was_dropped_leaves_nothing(
    store: FeatureStore, clock: ManualClock
) -> None:
    """Neither rows nor definition stay, and a later table of the name starts empty."""
    catalogue = Catalogue(store)
    table, _ = await catalogue.define(_DEFINITION)
    rows = [(i, {"author_id": i, "event_time": at(0), "tweets_30d": i}) for i in range(1_200)]
    await Writer(store, table, None, clock).write(iter(rows))
    assert await catalogue.count_rows(table) == 1_200

    assert await catalogue.drop(table) == 1_200

    assert await store.count("features:") == 0
    fresh, _ = await catalogue.define(_DEFINITION)
    assert fresh.uid != table.uid


async def test_bytes_that_are_no_definition_are_no_table(store: FeatureStore) -> None:
    """Something else under the key is as if nothing were there."""
    for data in (b"", b"\xff", b"[]", b"{}", b'{"uid": 7}', b'{"uid": "x", "name": "t"}'):
        await store.set(table_key("author_stats"), data)
        assert await Catalogue(store).find("author_stats") is None
        assert await Catalogue(store).all() == []


def test_a_store_that_cannot_compare_is_refused() -> None:
    """Writing without comparing would lose values silently."""
    with pytest.raises(InvalidSetting, match="cannot compare and set"):
        as_feature_store(object())  # type: ignore[arg-type]


def test_keys_are_those_of_the_documentation() -> None:
    """What operators may look for in the store."""
    assert row_key("author_stats", [b"a\nb", -7]) == "features:row:author_stats:6:ba%0Ab3:i-7"
