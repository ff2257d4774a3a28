"""MLServer's custom runtime: the classifier, or the identity.

Settings (written by the runner into ``settings.json`` and ``model-settings.json``) and why:

- ``parallel_workers`` 0, 1 and 2 are tried, the best is in ``setting.json``; a worker process costs a hop for each request
  and shares the cores, but leaves the loop alone: https://mlserver.readthedocs.io/en/latest/user-guide/parallel-inference.html
- ``thread``: a batch is computed on a thread, not on the loop, which reads the next requests meanwhile.
- ``max_batch_size``, ``max_batch_time`` 5 ms: adaptive batching,
  https://mlserver.readthedocs.io/en/latest/user-guide/adaptive-batching.html
- Access log, Kafka, and gRPC's and REST's debug options are off.
"""

from __future__ import annotations

import asyncio
import os

import numpy as np
from classifier import Classifier, read_options, read_work
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Sentiment(MLModel):
    """BYTES ``text`` in, BYTES ``label`` and FP32 ``scores`` out."""

    async def load(self) -> bool:
        self.in_thread = bool(read_options().get("thread"))
        self.classifier = Classifier(read_work(), int(os.environ["PEER_THREADS"]))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = StringCodec.decode_input(payload.inputs[0])
        scores = (
            await asyncio.to_thread(self.classifier.scores, texts)
            if self.in_thread
            else self.classifier.scores(texts)
        )
        labels = [self.classifier.labels[index] for index in scores.argmax(axis=-1)]
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                StringCodec.encode_output("label", labels),
                NumpyCodec.encode_output("scores", scores),
            ],
        )


class Identity(MLModel):
    """FP32 ``x`` in, FP32 ``y`` out."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        numbers: np.ndarray = NumpyCodec.decode_input(payload.inputs[0])
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("y", numbers)]
        )
