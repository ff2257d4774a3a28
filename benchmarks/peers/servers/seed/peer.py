"""The seed's design: what the runner must know."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers.peer import Peer
from benchmarks.peers.setting import Setting
from benchmarks.peers.works import Work


@dataclass(frozen=True)
class Seed(Peer):
    """FastAPI and TorchScript, one forward for each request, on the loop."""

    def path(self, work: Work) -> str:
        return "/identity" if work.kind == "identity" else "/inference"


PEER = Seed(
    "seed", "seed's design", "torch",
    "FastAPI, TorchScript FP32, synchronous predict in an `async def` route, no batches",
    tried=(Setting("1 process of 2 threads"), Setting("1 process of 1 thread", 1, 1)),
)  # fmt: skip
