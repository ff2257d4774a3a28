"""LitServe with its batching.

Settings and why:

- ``max_batch_size`` with a ``batch_timeout`` above 0; at 0 an idle worker spins:
  https://lightning.ai/docs/litserve/features/batching
- ``workers_per_device`` and ``batch_timeout``: the best of those that were tried (``setting.json``):
  https://lightning.ai/docs/litserve/features/multiple-gpus (for devices and workers)
- One API server: it shares the cores with the workers.
- ``request`` has no annotation: LitServe would take it for the body's schema, and refuse the body.
- The identity model is not batched: gathering costs more than echoing.
"""

import os
from typing import Any

import litserve as ls
import numpy as np
from classifier import Classifier, read_options, read_work

WORK = read_work()
WORKERS, THREADS = int(os.environ["PEER_WORKERS"]), int(os.environ["PEER_THREADS"])


class Sentiment(ls.LitAPI):
    """Text in, label and scores out; a batch is a list of texts."""

    def setup(self, device: str) -> None:
        self.model = Classifier(WORK, THREADS)

    def decode_request(self, request) -> str:
        return str(request["text"])

    def batch(self, inputs: list[str]) -> list[str]:
        return list(inputs)

    def predict(self, x: list[str]) -> list[dict[str, Any]]:
        return self.model.answers(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


class Identity(ls.LitAPI):
    """Four numbers in, the same out."""

    def setup(self, device: str) -> None:
        pass

    def decode_request(self, request) -> np.ndarray:
        return np.array(request["x"], dtype=np.float32)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        return {"y": output.tolist()}


if __name__ == "__main__":
    if WORK["kind"] == "text":
        api: ls.LitAPI = Sentiment(
            max_batch_size=WORK["max_rows"], batch_timeout=read_options()["delay_ms"] / 1000
        )
    else:
        api = Identity()
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=WORKERS, timeout=60)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PEER_PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
