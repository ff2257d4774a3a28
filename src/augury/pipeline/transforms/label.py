"""The name of the highest score."""

from __future__ import annotations

from pydantic import Field

from augury.core.errors import RuntimeFailed
from augury.core.tensor import bytes_column
from augury.pipeline.transforms.base import Batch, TransformContext
from augury.pipeline.transforms.base import Options as BaseOptions


class Label:
    """Reads ``input`` of shape ``(rows, len(labels))``, writes BYTES column ``output``, ``(rows,)``.

    Of equal scores the first wins.  A row with NaN among its scores is an error, never a label.
    """

    class Options(BaseOptions):
        """Options in ``model.toml``."""

        labels: tuple[str, ...] = Field(min_length=1, description="One for each score.")
        input: str = Field("scores", description="The column read.")
        output: str = Field("label", description="The column written.")

    def __init__(self, options: Options, context: TransformContext) -> None:
        self._input = options.input
        self._output = options.output
        self._labels = [label.encode() for label in options.labels]

    def __call__(self, batch: Batch) -> None:
        scores = batch.array(self._input)
        if scores.shape != (batch.rows, len(self._labels)):
            raise RuntimeFailed(
                f"{self._input!r} has shape {list(scores.shape)}, {len(self._labels)} labels want "
                f"{[batch.rows, len(self._labels)]}"
            )
        best = scores.argmax(axis=-1)
        for row in (scores != scores).any(axis=-1).nonzero()[0]:  # noqa: PLR0124 - only NaN differs
            batch.refuse(int(row), RuntimeFailed("the model's scores are not numbers (NaN)"))
        batch.columns[self._output] = bytes_column([self._labels[index] for index in best])
