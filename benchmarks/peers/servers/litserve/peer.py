"""LitServe: what the runner must know."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers.peer import Peer
from benchmarks.peers.setting import Setting
from benchmarks.peers.works import Work


@dataclass(frozen=True)
class LitServe(Peer):
    """LitServe's route is always the same."""

    def path(self, work: Work) -> str:
        return "/predict"


PEER = LitServe(
    "litserve", "LitServe", "litserve",
    "`max_batch_size` 16 (RoBERTa, mixed: 8), nothing is refused",
    tried=(
        Setting("2 workers of 1 thread, `batch_timeout` 5 ms", 2, 1),
        Setting("1 worker of 2 threads, `batch_timeout` 5 ms"),
        Setting("1 worker of 2 threads, `batch_timeout` 20 ms", options={"delay_ms": 20}),
    ),
    framework=True,
)  # fmt: skip
