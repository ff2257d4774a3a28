"""BentoML with adaptive batching.

Settings and why:

- ``batchable`` with ``max_batch_size`` and ``max_latency_ms``, the input a list:
  https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html
- ``max_latency_ms`` is the deadline of the workload in the open loop: BentoML refuses (503) what it expects to be later.
  In the closed loop nothing is late, and it is a minute.
- ``workers``: the best of those that were tried (``setting.json``); each worker has a batching queue of its own:
  https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html
- Access logs and metrics are off; usage tracking is off in the environment.
"""

from __future__ import annotations

import os
from typing import Any

import bentoml
import numpy as np
from classifier import Classifier, read_options, read_work

WORK = read_work()
WORKERS, THREADS = int(os.environ["PEER_WORKERS"]), int(os.environ["PEER_THREADS"])


@bentoml.service(
    name="peer", workers=WORKERS, traffic={"timeout": 60}, logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)  # fmt: skip
class Peer:
    """Both kinds of work; only the one that is asked for is loaded."""

    def __init__(self) -> None:
        self.model = Classifier(WORK, THREADS) if WORK["kind"] == "text" else None

    @bentoml.api(
        route="/predict", batchable=True, max_batch_size=max(2, WORK["max_rows"]),
        max_latency_ms=read_options()["slo_ms"] or 60_000,
    )  # fmt: skip
    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        """One answer for each text."""
        assert self.model is not None
        return self.model.answers(texts)

    @bentoml.api(route="/identity")
    def identity(self, x: list[float]) -> list[float]:
        """The numbers again."""
        return list(np.array(x, dtype=np.float32).tolist())
