"""Tests of ``augury.pipeline.examples``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augury.core.clock import SystemClock
from augury.core.errors import InvalidInput
from augury.core.signature import TensorSpec
from augury.observe.metrics import Metrics
from augury.packages.reader import read_package
from augury.pipeline.examples import column_from_values, run_examples
from augury.pipeline.servable import ModelServable
from tests.models import write_classifier, write_fails_on_negative, write_identity

CLASSIFIER = """
[signature.inputs.text]
dtype = "BYTES"
[signature.outputs.label]
dtype = "BYTES"
[signature.outputs.scores]
dtype = "FP32"
shape = [2]
[[preprocess]]
use = "tweet-normalise"
[[postprocess]]
use = "label"
labels = ["bad", "good"]
"""


def servable(folder: Path) -> ModelServable:
    package = read_package(folder, 1)
    return ModelServable(package, 1, clock=SystemClock(), metrics=Metrics(), cores=1)


def faults(folder: Path, toml: str, before: str = "") -> list[str]:
    (folder / "model.toml").write_text(before + "\n[[examples]]\n" + toml)
    return run_examples(servable(folder))


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("inputs.x = [[1, 2]]", None),
        ("inputs.x = [[1, 2]]\noutputs.y = [[1, 2]]", None),
        ("inputs.x = [[1, 2]]\noutputs.y = [[1.0009, 2]]", None),
        ("inputs.x = [[1, 2]]\noutputs.y = [[1.1, 2]]\natol = 0.2", None),
        ("inputs.x = [[nan, inf]]\noutputs.y = [[nan, inf]]", None),
        (
            "inputs.x = [[1, 2]]\noutputs.y = [[1.1, 2]]",
            "output 'y' is [[1.0, 2.0]], the example says [[1.100000023841858, 2.0]]",
        ),
        (
            "inputs.x = [[1, 2]]\noutputs.y = [[1]]",
            "output 'y' has shape [1, 2], the example says [1, 1]",
        ),
        ("inputs.z = [[1, 2]]", "unknown input 'z'; the model's inputs are: x"),
        (
            "inputs.x = [[1, 2]]\noutputs.z = [1]",
            "unknown output 'z'; the model's outputs are: y",
        ),
        ("[examples.inputs]", "input 'x' is missing"),
        ("inputs.x = []", "input 'x' has shape [0]"),
        ("inputs.x = [[1, 2, 3]]", "input 'x' has shape [1, 3]"),
        ('inputs.x = [["a", "b"]]', "'x' is not FP32: [['a', 'b']]"),
        ("inputs.x = [[1, 2], [3]]", "'x' has lists of different length"),
    ],
)
def test_each_fault_names_the_example(tmp_path: Path, toml: str, words: str | None) -> None:
    """And what the model did instead."""
    told = faults(write_identity(tmp_path), toml)
    if words is None:
        assert told == []
    else:
        (fault,) = told
        assert fault.startswith("example 1: ")
        assert words in fault


def test_every_example_is_run(tmp_path: Path) -> None:
    """One fault does not hide the next."""
    toml = "inputs.x = [[1, 2, 3]]\n[[examples]]\ninputs.x = [[1, 2]]\n[[examples]]\ninputs.q = [1]"
    told = faults(write_identity(tmp_path), toml)
    assert [fault.split(":")[0] for fault in told] == ["example 1", "example 3"]


def test_a_model_that_fails(tmp_path: Path) -> None:
    """Its own words are told."""
    (fault,) = faults(write_fails_on_negative(tmp_path), "inputs.x = [[-1, 1]]")
    assert "ONNX Runtime failed" in fault


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('inputs.text = ["good"]\noutputs.label = ["good"]', None),
        (
            'inputs.text = ["good"]\noutputs.label = ["bad"]',
            "output 'label' is ['good'], the example says ['bad']",
        ),
        ('inputs.text = ["good", " "]', "row 2 is refused: 'text' is empty"),
        ("inputs.text = [1]", "'text' holds 1, BYTES are written as text"),
        ('inputs.text = ["good"]\noutputs.scores = [[0.1, 0.9]]', None),
    ],
)
def test_with_transforms(tmp_path: Path, toml: str, words: str | None) -> None:
    """Refusals before the model are faults of the example."""
    folder = write_classifier(tmp_path, manifest=None)
    told = faults(folder, toml, CLASSIFIER)
    assert (told == []) if words is None else (words in told[0])


def test_refusals_after_the_model(tmp_path: Path) -> None:
    """NaN among the scores has no label."""
    before = """
[signature.outputs.label]
dtype = "BYTES"
[[postprocess]]
use = "label"
input = "y"
labels = ["a", "b"]
"""
    told = faults(write_identity(tmp_path), "inputs.x = [[1, 2], [nan, 1]]", before)
    assert told == ["example 1: row 2 is refused: the model's scores are not numbers (NaN)"]


@pytest.mark.parametrize(
    ("datatype", "values", "want"),
    [
        ("BOOL", [True, False], [True, False]),
        ("UINT8", [0, 255], [0, 255]),
        ("INT64", [-1, 2**62], [-1, 2**62]),
        ("UINT64", [2**64 - 1], [2**64 - 1]),
        ("FP64", [1, 2.5], [1.0, 2.5]),
        ("FP32", [1e39], [np.inf]),
        ("BF16", [16256], [16256]),
        ("FP32", [], []),
        ("BYTES", ["é", ""], ["é".encode(), b""]),
        ("BYTES", [["a", "b"]], [[b"a", b"b"]]),
    ],
)
def test_columns(datatype: str, values: list[Any], want: list[Any]) -> None:
    """TOML's values as a column of the datatype."""
    column = column_from_values(TensorSpec("x", datatype), values)
    assert column.tolist() == want
    assert column.dtype == np.dtype(object) if datatype == "BYTES" else column.dtype.kind != "O"


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("INT64", [1.7]),
        ("INT64", [True]),
        ("INT64", ["1"]),
        ("UINT8", [256]),
        ("UINT8", [-1]),
        ("INT64", [2**64]),
        ("FP32", ["1.5"]),
        ("FP32", [[1], [1, 2]]),
        ("FP32", [None]),
        ("BOOL", [1]),
        ("BF16", [1.5]),
        ("BYTES", [1]),
        ("BYTES", [b"a"]),
        ("BYTES", [["a"], ["b", "c"]]),
    ],
)
def test_values_of_another_type_are_refused(datatype: str, values: list[Any]) -> None:
    """Nothing is cut, wrapped around or read from a text."""
    with pytest.raises(InvalidInput, match="'x'"):
        column_from_values(TensorSpec("x", datatype), values)
