"""MLServer: what the runner must know."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.peer import Peer, Start, oip_answer, oip_body
from benchmarks.peers.setting import Setting
from benchmarks.peers.works import Work


@dataclass(frozen=True)
class MLServer(Peer):
    """``mlserver start`` with a runtime of our own."""

    def command(self, start: Start) -> list[str]:
        identity = start.work.kind == "identity"
        (start.folder / "settings.json").write_text(
            json.dumps(
                {
                    "host": "127.0.0.1",
                    "http_port": start.port,
                    "grpc_port": start.port + 1,
                    "metrics_port": start.port + 2,
                    "parallel_workers": start.options.get("parallel", 0),
                    "debug": False,
                    "use_structured_logging": False,
                }
            )
        )
        settings: dict[str, Any] = {
            "name": "peer",
            "implementation": "runtime.Identity" if identity else "runtime.Sentiment",
        }
        if not identity:
            settings |= {
                "max_batch_size": start.work.max_rows,
                "max_batch_time": start.options["delay_ms"] / 1000,
            }
        (start.folder / "model-settings.json").write_text(json.dumps(settings))
        return [str(start.python), "-m", "mlserver.cli.main", "start", str(start.folder)]

    def environment(self, start: Start) -> dict[str, str]:
        found = super().environment(start)
        return {**found, "PYTHONPATH": os.pathsep.join([found["PYTHONPATH"], str(self.folder)])}

    def path(self, work: Work) -> str:
        return "/v2/models/peer/infer"

    def body(self, work: Work, row: Any) -> Any:
        return oip_body(work, row, rank=2)

    def answer(self, work: Work, body: bytes) -> list[float]:
        return oip_answer(work, body)


PEER = MLServer(
    "mlserver", "MLServer", "mlserver",
    "`max_batch_size` 16 (RoBERTa, mixed: 8), `max_batch_time` 5 ms, nothing is refused",
    tried=(
        Setting("`parallel_workers` 0, 2 threads", options={"thread": True}),
        Setting("`parallel_workers` 0, 2 threads, computed on its loop"),
        Setting("`parallel_workers` 1, 2 threads", 1, 2, {"parallel": 1, "thread": True}),
        Setting("`parallel_workers` 2, 1 thread each", 2, 1, {"parallel": 2, "thread": True}),
    ),
    framework=True,
)  # fmt: skip
