"""Definitions: what may stand in them, and how they may change."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from augury.features.tables import (
    InvalidTable,
    incompatibilities,
    parse_definition,
    read_definition,
)
from tests.features.tables import AUTHOR_STATS, make_table


def _changed(path: str, value: Any) -> dict[str, Any]:
    """The definition with *value* at a dotted path; ``...`` removes."""
    document = copy.deepcopy(AUTHOR_STATS)
    *parents, last = path.split("/")
    inside: Any = document
    for parent in parents:
        inside = inside[parent]
    inside[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("name", "Authors", "is not a table's name"),
        ("name", "a" * 65, "is not a table's name"),
        ("name", "../escape", "is not a table's name"),
        ("name", "a:b", "is not a table's name"),
        ("name", "a\n", "is not a table's name"),
        ("ttl_s", -1, "greater than or equal to 0"),
        ("ttl_s", float("inf"), "finite"),
        ("ttl", 3, "ttl: unknown key"),
        ("entity", {}, "at least 1"),
        ("entity/author_id", "FP32", "a key is one of"),
        ("entity/who; drop", "INT64", "is not a column's name"),
        ("features", {}, "at least 1"),
        ('features/x"y', {"dtype": "INT64"}, "is not a column's name"),
        ("features/event_time", {"dtype": "INT64"}, "is every row's column already"),
        ("features/AUTHOR_ID", {"dtype": "INT64"}, "column already"),
        ("features/x", {"dtype": "INT65"}, "unknown dtype 'INT65'"),
        ("features/x", {"dtype": "BF16"}, "unknown dtype 'BF16'"),
        ("features/x", {"dtype": "INT64", "shape": [0]}, "greater than or equal to 1"),
        ("features/x", {"dtype": "INT64", "shape": [-1]}, "greater than or equal to 1"),
        ("features/x", {"dtype": "INT64", "shape": [200, 200]}, "40000 elements, the limit is"),
        ("features/x", {"dtype": "INT64", "default": 1.5}, "default: 1.5 is not an integer"),
        ("features/x", {"dtype": "INT8", "default": 300}, "default: 300 does not fit INT8"),
        ("features/x", {"dtype": "FP32", "shape": [2], "default": [1]}, "default: has shape"),
        ("features/x", {"dtype": "FP32", "default": float("nan")}, "nan and inf cannot"),
        ("features/x", {"dtype": "INT64", "defalt": 1}, "features.x.defalt: unknown key"),
    ],
)
def test_an_impossible_definition_is_refused_with_its_place(
    path: str, value: Any, words: str
) -> None:
    """Each fault names the key and what is allowed there."""
    with pytest.raises(InvalidTable, match=words):
        parse_definition(_changed(path, value))


def test_a_definition_file_is_read(tmp_path: Path) -> None:
    """The TOML of the documentation is a table."""
    file = tmp_path / "author_stats.toml"
    file.write_text(
        'name = "author_stats"\nttl_s = 86400\n[entity]\nauthor_id = "INT64"\n'
        '[features.tweets_30d]\ndtype = "INT64"\ndefault = 0\n'
        '[features.embedding]\ndtype = "FP32"\nshape = [4]\n'
    )

    definition = read_definition(file)

    assert definition.features["embedding"].shape == (4,)
    assert definition.ttl_s == 86_400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"name = ", "not valid TOML"),
        (b"\xff", "not valid TOML"),
        (b"x = " + b"[" * 5_000, "TOML"),
        (b"#" * 300_000, "the limit is 262144"),
        (b'name = "a"', "entity: Field required; features: Field required"),
    ],
)
def test_a_broken_file_is_told_with_its_name(tmp_path: Path, text: bytes, words: str) -> None:
    """Whatever the file holds, the answer is one sentence that names it."""
    file = tmp_path / "broken.toml"
    file.write_bytes(text)

    with pytest.raises(InvalidTable, match=words) as raised:
        read_definition(file)
    assert str(file) in raised.value.message


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("entity/author_id", "BYTES", ["entity is author_id BYTES, it was defined as"]),
        ("features/tweets_30d/dtype", "INT32", ["'tweets_30d' is INT32, it was defined as INT64"]),
        ("features/embedding/shape", [5], [r"'embedding' is FP32[5], it was defined as FP32[4]"]),
        ("features", {"other": {"dtype": "INT64"}}, ["is gone", "is gone", "is gone"]),
        ("features/extra", {"dtype": "INT64"}, []),
        ("features/tweets_30d/default", 5, []),
        ("ttl_s", 5, []),
        ("description", "Other words.", []),
    ],
)
def test_a_table_may_grow_and_not_change(path: str, value: Any, words: list[str]) -> None:
    """What rows were written under stays what they mean."""
    new = make_table(**_changed(path, value))

    faults = list(incompatibilities(make_table(), new))

    assert len(faults) == len(words)
    assert all(word in fault for word, fault in zip(words, faults, strict=True))
