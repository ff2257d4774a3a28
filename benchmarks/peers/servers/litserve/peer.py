"""LitServe: what the runner must know."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers.peer import Peer
from benchmarks.peers.works import Work


@dataclass(frozen=True)
class LitServe(Peer):
    """LitServe's route is always the same."""

    def path(self, work: Work) -> str:
        return "/predict"


PEER = LitServe(
    "litserve", "LitServe", "litserve",
    "2 workers of 1 thread, `max_batch_size` 16 (RoBERTa, mixed: 8), `batch_timeout` 5 ms", layout=(2, 1), framework=True,
)  # fmt: skip
