"""Tables and rows for the tests of this folder."""

from __future__ import annotations

from typing import Any

from augury.features.tables import FeatureTable, parse_definition, table_of
from augury.features.times import show

NOW_S = 1_700_000_000.0

AUTHOR_STATS: dict[str, Any] = {
    "name": "author_stats",
    "description": "What an author did lately.",
    "ttl_s": 86_400,
    "entity": {"author_id": "INT64"},
    "features": {
        "tweets_30d": {"dtype": "INT64", "default": 0},
        "embedding": {"dtype": "FP32", "shape": [4]},
        "home": {"dtype": "BYTES", "default": "nowhere"},
    },
}


def make_table(uid: str = "00000000", **changes: Any) -> FeatureTable:
    """``author_stats``, with *changes*."""
    return table_of(parse_definition({**AUTHOR_STATS, **changes}), uid)


def at(seconds: float) -> str:
    """A moment so many seconds from the tests' now, as a file has it."""
    return show(round((NOW_S + seconds) * 1_000_000))
