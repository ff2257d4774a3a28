"""Plain FastAPI and ONNX Runtime: an ``async def`` route that computes on a thread pool, no batching.

Settings and why:

- ``async def`` and a pool of our own instead of a plain ``def`` route, so that no more runs go on at once than
  there are cores (Starlette's pool has 40 threads): https://fastapi.tiangolo.com/async/
- Two runs of one thread rather than one of two: single rows are too small to be split well
  (https://onnxruntime.ai/docs/performance/tune-performance/threading.html).
- uvicorn with httptools and uvloop, without access log: https://www.uvicorn.org/settings/
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import uvicorn
from classifier import Classifier, read_work
from fastapi import FastAPI
from pydantic import BaseModel

WORK = read_work()
WORKERS, THREADS = int(os.environ["PEER_WORKERS"]), int(os.environ["PEER_THREADS"])
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
    loop = asyncio.get_running_loop()
    return (await loop.run_in_executor(POOL, MODEL.answers, [body.text]))[0]


@app.post("/identity")
async def identity(body: NumbersRequest) -> dict[str, list[float]]:
    """Answer the numbers."""
    return {"y": np.array(body.x, dtype=np.float32).tolist()}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PEER_PORT"]), log_level="warning", access_log=False)
