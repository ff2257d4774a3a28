"""Augury: what the runner must know."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer, Start
from benchmarks.peers.setting import Setting
from benchmarks.peers.works import Work


@dataclass(frozen=True)
class Augury(Peer):
    """``augury serve`` as it comes, but the packages say ``[cache] enabled = false``: the peers have no cache, and every row is computed."""

    def command(self, start: Start) -> list[str]:
        return [
            str(Path(sys.executable).with_name("augury")), "serve", str(start.work.package.parent),
            "--http-port", str(start.port), "--store", "memory://",
        ]  # fmt: skip

    def environment(self, start: Start) -> dict[str, str]:
        return {
            "AUGURY_DRAIN_GRACE_S": "0",
            "AUGURY_LOG_LEVEL": "warning",
        }

    def path(self, work: Work) -> str:
        return f"/api/models/{work.package.name}/predict"

    def body(self, work: Work, row: Any) -> Any:
        return {"rows": [super().body(work, row)]}

    def answer(self, work: Work, body: bytes) -> list[float]:
        row = json.loads(body)["rows"][0]
        if work.kind == "identity":
            return [float(number) for number in row["y"]]
        scores = row["scores"]
        return [
            float(number) for number in (scores.values() if isinstance(scores, dict) else scores)
        ]


PEER = Augury(
    "augury", "**Augury**", "augury", "as it comes, `[cache] enabled = false`",
    tried=(Setting("as it comes"),),
)  # fmt: skip
