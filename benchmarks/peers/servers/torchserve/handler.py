"""TorchServe's handler: the classifier on a batch, or the identity.

Settings (written by the runner into ``config.properties`` and the archive's ``model-config.yaml``) and why:

- ``batchSize`` and ``maxBatchDelay`` 5 ms: https://pytorch.org/serve/batch_inference_with_ts.html
- Workers x threads stay within the cores: https://pytorch.org/serve/performance_guide.html
- The same ONNX file as the others', which the performance guide advises for CPUs, too.
- ``job_queue_size`` 1000 instead of 100 in the closed loop; in the open loop as many as can be answered in time.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from classifier import Classifier, read_work


class Handler:
    """One worker's model."""

    def initialize(self, context: Any) -> None:
        """Read the work."""
        self.work = read_work()
        if self.work["kind"] == "text":
            self.model = Classifier(self.work, int(os.environ["PEER_THREADS"]))

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[Any]:
        """Answer a batch of requests."""
        rows = []
        for part in data:
            body = part.get("body") or part.get("data")
            rows.append(body if isinstance(body, dict) else json.loads(body))
        if self.work["kind"] == "text":
            return self.model.answers([row["text"] for row in rows])
        return [{"y": np.array(row["x"], dtype=np.float32).tolist()} for row in rows]
