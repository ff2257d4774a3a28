"""Tests of ``augury.packages.manifest``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from augury.core.signature import Signature, TensorSpec
from augury.packages.manifest import Manifest, VersionsTable

NATIVE = Signature((TensorSpec("x", "FP32", (2,)),), (TensorSpec("y", "FP32", (2,)),))
VERSIONS = st.lists(st.integers(1, 30), unique=True)


def test_nothing_written_is_a_manifest() -> None:
    """Every word has a default."""
    manifest = Manifest.model_validate({})
    assert manifest.cache.enabled
    assert manifest.cache.ttl_s == 60 * 24 * 3600
    assert manifest.batching.max_rows == 64
    assert manifest.signature.signature(NATIVE) == NATIVE


def test_the_manifest_s_signature_wins() -> None:
    """Each side that is declared replaces the file's; the other is the file's."""
    table = {"signature": {"inputs": {"text": {"dtype": "BYTES", "description": "A text."}}}}
    signature = Manifest.model_validate(table).signature.signature(NATIVE)
    assert signature.inputs == (TensorSpec("text", "BYTES", (), (), "A text."),)
    assert signature.outputs == NATIVE.outputs


def test_auto_is_what_is_left_out() -> None:
    """Instances and threads that are "auto" are those that nobody set."""
    aloud = Manifest.model_validate({"instances": {"count": "auto", "threads": "auto"}})
    assert aloud.instances == Manifest().instances


def test_a_transform_keeps_its_options() -> None:
    """What stands beside ``use`` is the transform's own."""
    table = {
        "postprocess": [{"use": "label", "labels": ["a"], "input": "s"}],
        "signature": {"outputs": {"label": {"dtype": "BYTES"}}},
    }
    (step,) = Manifest.model_validate(table).postprocess
    assert step.use == "label"
    assert step.options == {"labels": ["a"], "input": "s"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"cahce": {}}, "cahce"),
        ({"cache": {"ttl": 1}}, "ttl"),
        ({"cache": {"ttl_s": 0}}, "greater than 0"),
        ({"cache": {"ttl_s": float("nan")}}, "greater than 0"),
        ({"batching": {"max_rows": 0}}, "greater than or equal to 1"),
        ({"batching": {"max_rows": 65537}}, "65536"),
        ({"batching": {"max_queue_rows": 0}}, "greater than or equal to 1"),
        ({"instances": {"count": 0}}, "greater than or equal to 1"),
        ({"instances": {"threads": 257}}, "256"),
        ({"instances": {"count": "many"}}, "'many' is neither a number nor \"auto\""),
        ({"signature": {"inputs": {"x": {"dtype": "FLOAT"}}}}, "unknown dtype 'FLOAT'; use one of"),
        ({"signature": {"inputs": {"x": {"dtype": "FP32", "shape": [-2]}}}}, "equal to -1"),
        (
            {"signature": {"outputs": {"x": {"dtype": "FP32", "shape": [3], "labels": ["a"]}}}},
            "1 labels name the last axis",
        ),
        ({"signature": {"outputs": {"x": {"dtype": "FP32", "labels": ["a"]}}}}, "last axis"),
        ({"preprocess": [{"use": "tokenize"}]}, "declare them in .signature.inputs"),
        ({"postprocess": [{"use": "softmax"}]}, "declare them in .signature.outputs"),
        ({"preprocess": [{"input": "x"}]}, "use"),
        ({"versions": {"policy": "newest"}}, "use latest, latest.n., all or specific"),
        ({"versions": {"policy": "latest(0)"}}, "would serve nothing"),
        ({"versions": {"policy": "specific"}}, "belong together"),
        ({"versions": {"specific": [1]}}, "belong together"),
        ({"versions": {"labels": {"stable": 0}}}, "greater than or equal to 1"),
        ({"examples": [{"outputs": {}}]}, "inputs"),
        ({"examples": [{"inputs": {}, "atol": -1}]}, "equal to 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(table: dict[str, Any], words: str) -> None:
    """The message tells what would do."""
    with pytest.raises(ValidationError, match=words):
        Manifest.model_validate(table)


@given(VERSIONS, st.integers(1, 5), st.dictionaries(st.sampled_from("ab"), st.integers(1, 30)))
def test_latest_serves_the_newest_and_the_labelled(
    available: list[int], count: int, labels: dict[str, int]
) -> None:
    """``latest(n)``: the *n* newest, and what a label names."""
    table = VersionsTable(policy=f"latest({count})", labels=labels)
    chosen = table.choose(available)
    assert chosen == tuple(sorted(set(chosen)))
    assert set(chosen) == set(sorted(available)[-count:]) | set(labels.values()) & set(available)
    if count == 1:
        assert VersionsTable(labels=labels).choose(available) == chosen


@given(VERSIONS, st.lists(st.integers(1, 30), min_size=1))
def test_all_and_specific(available: list[int], specific: list[int]) -> None:
    """``all`` leaves none out; ``specific`` serves those of its list that are there."""
    assert VersionsTable(policy="all").choose(available) == tuple(sorted(available))
    table = VersionsTable(policy="specific", specific=tuple(specific))
    assert table.choose(available) == tuple(sorted(set(specific) & set(available)))
