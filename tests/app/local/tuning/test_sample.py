"""Rows to tune with: from examples, from files, and how they become batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from augury.app.local.rows import Format
from augury.app.local.tuning import sample as sample_module
from augury.app.local.tuning.plan import Layout
from augury.app.local.tuning.sample import Sample, read_examples, read_file
from augury.app.local.tuning.trial import Trial
from augury.core.errors import OperatorError
from augury.core.tensor import Columns, Ragged
from augury.packages.reader import read_package
from augury.pipeline.servable import ModelServable
from tests.models import write_classifier, write_identity, write_token_sum, write_tokenizer


@pytest.fixture
def mood(tmp_path: Path) -> Iterator[ModelServable]:
    """A classifier of texts, with two example rows."""
    trial = Trial(read_package(write_classifier(tmp_path), 1), Layout(1, 1))
    yield trial.servable
    trial.close()


def read(
    servable: ModelServable, file: Path, format: Format, text_column: str | None = None
) -> Sample:
    return read_file(servable, file, format, text_column, max_line_bytes=1 << 20)


def lengths(batch: list[Columns]) -> list[int]:
    return [len(piece["ids"].rows[0]) for piece in batch if isinstance(piece["ids"], Ragged)]


def ragged(*sizes: int) -> list[Columns]:
    return [{"ids": Ragged((np.ones(size, np.int64),))} for size in sizes]


def test_examples(mood: ModelServable) -> None:
    """Each row of each example is a piece of its own."""
    sample = read_examples(mood)

    assert [piece["text"].tolist() for piece in sample.pieces] == [[b"good night"], [b"rain"]]  # type: ignore[union-attr]
    assert sample.steps_row_s > 0


def test_a_model_without_examples_says_what_to_do(tmp_path: Path) -> None:
    """No example and no file: there is nothing to measure with."""
    trial = Trial(read_package(write_identity(tmp_path), 1), Layout(1, 1))

    with pytest.raises(OperatorError, match=r"no \[\[examples\]\] to measure with.*--data"):
        read_examples(trial.servable)
    trial.close()


def test_good_rows_of_a_file_are_used(mood: ModelServable, tmp_path: Path) -> None:
    """Rows that are none are counted, and the first of them is told."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "good"}\nnonsense\n{"text": 5}\n{"text": "bad"}\n', encoding="utf-8")
    sample = read(mood, file, "jsonl")

    assert len(sample.pieces) == 2
    assert sample.refused == 2
    assert sample.first_error.startswith("line 2: not valid JSON")


def test_a_column_of_a_table(mood: ModelServable, tmp_path: Path) -> None:
    """As `augury predict` reads it."""
    file = tmp_path / "rows.tsv"
    file.write_text("1\tx\tgood\n2\tx\tbad\n", encoding="utf-8")

    assert len(read(mood, file, "tsv", "3").pieces) == 2


def test_a_file_without_a_good_row(mood: ModelServable, tmp_path: Path) -> None:
    """Nothing to measure with: the first reason is told."""
    file = tmp_path / "rows.jsonl"
    file.write_text("[]\n", encoding="utf-8")

    with pytest.raises(OperatorError, match=r"no row of rows.jsonl can be used: line 1: "):
        read(mood, file, "jsonl")


def test_a_large_file_is_read_in_part(
    mood: ModelServable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first rows, up to a number of rows or of bytes."""
    file = tmp_path / "rows.txt"
    file.write_text("a text of twenty-five...\n" * 5000, encoding="utf-8")
    assert len(read(mood, file, "txt").pieces) == sample_module.MAX_ROWS
    monkeypatch.setattr(sample_module, "MAX_BYTES", 1000)
    assert len(read(mood, file, "txt").pieces) == 41


def test_rows_of_another_shape(tmp_path: Path) -> None:
    """A model with an open axis: rows of each size are measured, in batches of their own."""
    trial = Trial(read_package(write_identity(tmp_path, size=None), 1), Layout(1, 1))
    file = tmp_path / "rows.jsonl"
    file.write_text('{"x": [1]}\n{"x": [1, 2]}\n{"x": [3]}\n', encoding="utf-8")
    sample = read(trial.servable, file, "jsonl")
    batches = sample.batches(2, 64)

    assert [[piece["x"].shape for piece in batch] for batch in batches] == [  # type: ignore[union-attr]
        [(1, 1), (1, 1)],
        [(1, 2), (1, 2)],
    ]
    trial.close()


def test_companions_are_of_like_length() -> None:
    """Within the window neighbours in length meet; beyond it they do not."""
    sample = Sample("", ragged(9, 1, 8, 2, 7, 3, 100, 4))

    assert [lengths(batch) for batch in sample.batches(2, 8)] == [[1, 2], [3, 4], [7, 8], [9, 100]]
    assert [lengths(batch) for batch in sample.batches(2, 4)] == [[1, 2], [8, 9], [3, 4], [7, 100]]
    assert lengths(sample.batches(3, 4)[0]) == [1, 8, 9]


@pytest.mark.parametrize("rows", [1, 2, 3, 64, 500])
def test_batches_are_full(rows: int) -> None:
    """Exactly so many rows in each, whatever there is: rows are repeated."""
    sample = Sample("", ragged(1, 2, 3))
    batches = sample.batches(rows, 64)

    assert {len(batch) for batch in batches} == {rows}
    assert {size for batch in batches for size in lengths(batch)} == {1, 2, 3}


def test_steps_before_the_model_come_first(tmp_path: Path) -> None:
    """What is measured is tokens, not texts."""
    folder = write_token_sum(tmp_path)
    write_tokenizer(folder / "1")
    (folder / "model.toml").write_text(
        '[signature.inputs.text]\ndtype = "BYTES"\n[[preprocess]]\nuse = "tokenize"\n'
        '[[examples]]\ninputs.text = ["one two", "three"]\n',
        encoding="utf-8",
    )
    trial = Trial(read_package(folder, 1), Layout(1, 1))
    sample = read_examples(trial.servable)

    assert [sorted(piece) for piece in sample.pieces] == [["attention_mask", "input_ids"]] * 2
    trial.close()


def test_joined_features_come_from_the_examples(tmp_path: Path) -> None:
    """They state what is joined; a file does not hold it, which is told."""
    folder = write_identity(tmp_path)
    (folder / "model.toml").write_text(
        '[signature.inputs.user]\ndtype = "INT64"\n'
        '[features.people]\nentity.id = "user"\ninputs.taste = "x"\n'
        "[[examples]]\ninputs.user = [7]\ninputs.x = [[1, 2]]\n",
        encoding="utf-8",
    )
    trial = Trial(read_package(folder, 1), Layout(1, 1))

    assert [sorted(piece) for piece in read_examples(trial.servable).pieces] == [["x"]]
    with pytest.raises(OperatorError, match=r"identity joins feature tables.*rows\.jsonl"):
        read(trial.servable, tmp_path / "rows.jsonl", "jsonl")
    trial.close()
