"""Plain FastAPI and ONNX Runtime: an ``async def`` route that computes on a thread pool, no batching.

Settings and why:

- ``async def`` and a pool of our own instead of a plain ``def`` route, so that no more runs go on at once than
  there are cores (Starlette's pool has 40 threads): https://fastapi.tiangolo.com/async/
- Runs, threads and processes: those of ``setting.json``, the best of those that were tried
  (https://onnxruntime.ai/docs/performance/tune-performance/threading.html, https://fastapi.tiangolo.com/deployment/server-workers/).
- ``inline``: computed in the route itself, as the seed does.
- Nothing is refused: FastAPI has no bound, uvicorn's ``limit_concurrency`` counts idle connections too.
- uvicorn with httptools and uvloop, without access log: https://www.uvicorn.org/settings/
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from classifier import Classifier, read_options, read_work
from fastapi import FastAPI
from pydantic import BaseModel

WORK = read_work()
WORKERS, THREADS = int(os.environ["PEER_WORKERS"]), int(os.environ["PEER_THREADS"])
OPTIONS = read_options()
MODEL = Classifier(WORK, THREADS) if WORK["kind"] == "text" else None
POOL = ThreadPoolExecutor(WORKERS)
app = FastAPI()


class TextRequest(BaseModel):
    """What is asked."""

    text: str


class NumbersRequest(BaseModel):
    """Four numbers, which come back."""

    x: list[float]


@app.get("/health")
async def health() -> dict[str, bool]:
    """Tell that it is up."""
    return {"ready": True}


@app.post("/predict")
async def predict(body: TextRequest) -> dict[str, Any]:
    """Answer one text."""
    assert MODEL is not None
    if OPTIONS.get("inline"):
        return MODEL.answers([body.text])[0]
    loop = asyncio.get_running_loop()
    return (await loop.run_in_executor(POOL, MODEL.answers, [body.text]))[0]


@app.post("/identity")
async def identity(body: NumbersRequest) -> dict[str, list[float]]:
    """Answer the numbers."""
    return {"y": np.array(body.x, dtype=np.float32).tolist()}


if __name__ == "__main__":
    processes = OPTIONS.get("processes", 1)
    # Several processes import the module by its name; a single one has it already, and would load the model twice.
    uvicorn.run(
        app if processes == 1 else "server:app", port=int(os.environ["PEER_PORT"]), log_level="warning", access_log=False,
        workers=processes, app_dir=str(Path(__file__).parent),
    )  # fmt: skip
