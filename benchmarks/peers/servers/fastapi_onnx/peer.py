"""Plain FastAPI and ONNX Runtime: what the runner must know."""

from __future__ import annotations

from benchmarks.peers.peer import Peer
from benchmarks.peers.setting import Setting

PEER = Peer(
    "fastapi_onnx", "FastAPI + ONNX Runtime", "fastapi",
    "`async def` and a pool of threads, no batches, nothing is refused",
    tried=(
        Setting("pool of 2, runs of 1 thread", 2, 1),
        Setting("pool of 1, runs of 2 threads", 1, 2),
        Setting("2 processes (`--workers 2`), each a pool of 1 and runs of 1 thread", 1, 1, {"processes": 2}),
    ),
)  # fmt: skip
