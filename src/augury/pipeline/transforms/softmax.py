"""Logits to probabilities."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from augury.pipeline.transforms.base import Batch, TransformContext
from augury.pipeline.transforms.base import Options as BaseOptions


class Softmax:
    """``exp(x_i) / Σ exp(x_j)`` over the last axis, shifted by the maximum so that nothing overflows.

    Reads FP column ``input`` of shape ``(rows, …, classes)``, writes ``output``, same shape.
    """

    class Options(BaseOptions):
        """Options in ``model.toml``."""

        input: str = Field("logits", description="The column read.")
        output: str = Field("scores", description="The column written.")

    def __init__(self, options: Options, context: TransformContext) -> None:
        self._input = options.input
        self._output = options.output

    def __call__(self, batch: Batch) -> None:
        logits = batch.array(self._input)
        # Infinite logits have no probabilities: they become NaN.  No warning goes to stderr.
        with np.errstate(invalid="ignore", over="ignore"):
            powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        batch.columns[self._output] = powers / powers.sum(axis=-1, keepdims=True)
