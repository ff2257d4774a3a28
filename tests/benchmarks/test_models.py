"""Models that benchmarks measure, and the loop that they are held against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.fairness import write_loop
from benchmarks.tight_loop import Tight, by_length

from augury.core.tensor import Ragged
from augury.packages.reader import read_package
from augury.runtimes.base import RuntimeOptions
from augury.runtimes.registry import RUNTIMES
from benchmarks import models, tweets


def test_the_bundled_model_without_a_cache(tmp_path: Path) -> None:
    """What is measured beside peers that remember nothing remembers nothing; all else is as it was."""
    folder = models.uncached(tmp_path)
    made, bundled = (
        read_package(one, 1).manifest for one in (folder, models.bundled_version().parent)
    )

    assert not made.cache.enabled
    assert made.model_copy(update={"cache": bundled.cache}) == bundled
    # Once more, over what is there.
    assert read_package(models.uncached(tmp_path), 1).manifest == made


def test_rows_of_like_length_lie_together() -> None:
    """Within each window, by their tokens; every row is still there, in its window."""
    texts = tweets.make(40)
    tight = Tight(1, 1, 4)
    arranged = by_length(texts, tight, window=16)
    lengths = [len(column.rows[0]) for text in arranged for column in _ragged(tight, text)]

    assert [sorted(arranged[at : at + 16]) for at in (0, 16, 32)] == [
        sorted(texts[at : at + 16]) for at in (0, 16, 32)
    ]
    for at in (0, 16, 32):
        assert lengths[at : at + 16] == sorted(lengths[at : at + 16])


def _ragged(tight: Tight, text: str) -> list[Ragged]:
    return [one for one in tight.prepare([text]).columns.values() if isinstance(one, Ragged)][:1]


def test_the_loop_computes_as_long_as_it_is_asked(tmp_path: Path) -> None:
    """The model of the fairness benchmark: a number for each row, whatever the number of turns."""
    runtime = RUNTIMES.get("onnx")(write_loop(tmp_path), RuntimeOptions(threads=1, instances=1))
    answers = [
        np.asarray(runtime.run({"turns": np.array([[turns]], dtype=np.int64)})["done"])
        for turns in (1, 50)
    ]

    assert [answer.shape for answer in answers] == [(1, 1), (1, 1)]
    assert all(np.isfinite(answer).all() for answer in answers)
