"""Ray Serve with its batching.

Settings and why:

- ``serve.batch`` with ``batch_wait_timeout_s``: https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html
- ``max_ongoing_requests`` high enough that batches can fill (the page above; the default is 5).
- ``num_cpus=2`` and no dashboard: its processes share the cores.
- Access log off: https://docs.ray.io/en/latest/serve/monitoring.html
- Replicas and waiting time: the best of those that were tried (``setting.json``).
- ``max_queued_requests`` in the open loop: what could not be answered in time is refused (503),
  https://docs.ray.io/en/latest/serve/autoscaling-guide.html. What is with the replicas is not counted, so that they get little
  more than the batches that they fill.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import numpy as np
import ray
from classifier import Classifier, read_options, read_work
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request

WORK = read_work()
WORKERS, THREADS = int(os.environ["PEER_WORKERS"]), int(os.environ["PEER_THREADS"])
OPTIONS = read_options()
WAITING = OPTIONS["waiting"]
# A batch computes, the next one gathers.
ONGOING = 2 * WORK["max_rows"] if WAITING else 1000
QUEUED = max(1, WAITING - WORKERS * ONGOING) if WAITING else -1
QUIET = LoggingConfig(enable_access_log=False, log_level="WARNING")


@serve.deployment(
    num_replicas=WORKERS, max_ongoing_requests=ONGOING, max_queued_requests=QUEUED,
    ray_actor_options={"num_cpus": 0.5}, logging_config=QUIET,
)  # fmt: skip
class Sentiment:
    """Text in, label and scores out."""

    def __init__(self) -> None:
        self.model = Classifier(WORK, THREADS)

    @serve.batch(max_batch_size=WORK["max_rows"], batch_wait_timeout_s=OPTIONS["delay_ms"] / 1000)
    async def answers(self, texts: list[str]) -> list[dict[str, Any]]:
        """One answer for each text."""
        return await asyncio.to_thread(self.model.answers, texts)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """One request over HTTP."""
        result: dict[str, Any] = await self.answers((await request.json())["text"])
        return result


@serve.deployment(
    num_replicas=WORKERS, max_ongoing_requests=ONGOING, max_queued_requests=QUEUED,
    ray_actor_options={"num_cpus": 0.5}, logging_config=QUIET,
)  # fmt: skip
class Identity:
    """Four numbers in, the same out."""

    async def __call__(self, request: Request) -> dict[str, Any]:
        """One request over HTTP."""
        return {"y": np.array((await request.json())["x"], dtype=np.float32).tolist()}


if __name__ == "__main__":
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=os.environ["PEER_FOLDER"],
    )
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(os.environ["PEER_PORT"])},
        logging_config=QUIET,
    )
    serve.run((Sentiment if WORK["kind"] == "text" else Identity).bind())
    try:
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
    finally:
        serve.shutdown()
        ray.shutdown()
