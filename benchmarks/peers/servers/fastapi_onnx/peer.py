"""Plain FastAPI and ONNX Runtime: what the runner must know."""

from __future__ import annotations

from benchmarks.peers.peer import Peer

PEER = Peer(
    "fastapi_onnx", "FastAPI + ONNX Runtime", "fastapi",
    "`async def` and a pool of 2 threads, one run of 1 thread each, no batches", layout=(2, 1),
)  # fmt: skip
