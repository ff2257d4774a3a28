"""BentoML: what the runner must know."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.peer import Peer, Start
from benchmarks.peers.setting import Setting
from benchmarks.peers.works import Work


@dataclass(frozen=True)
class BentoML(Peer):
    """``bentoml serve`` with adaptive batching."""

    def command(self, start: Start) -> list[str]:
        return [
            str(start.python), "-m", "bentoml", "serve", "service:Peer", "--working-dir", str(self.folder),
            "--host", "127.0.0.1", "--port", str(start.port),
        ]  # fmt: skip

    def environment(self, start: Start) -> dict[str, str]:
        return {
            **super().environment(start),
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(start.folder / "home"),
        }

    def body(self, work: Work, row: Any) -> Any:
        return {"x": row} if work.kind == "identity" else {"texts": [row]}

    def answer(self, work: Work, body: bytes) -> list[float]:
        value = json.loads(body)
        return [
            float(number) for number in (value if work.kind == "identity" else value[0]["scores"])
        ]


PEER = BentoML(
    "bentoml", "BentoML", "bentoml",
    "`batchable`, `max_batch_size` 16 (RoBERTa, mixed: 8), `max_latency_ms` the deadline in the open loop, 60 s in the closed one",
    tried=(
        Setting("1 worker of 2 threads"),
        Setting("2 workers of 1 thread", 2, 1),
    ),
    framework=True, refuses=True,
)  # fmt: skip
