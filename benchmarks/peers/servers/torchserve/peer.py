"""TorchServe: what the runner must know."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from benchmarks.peers.peer import Peer, Start
from benchmarks.peers.setting import Setting
from benchmarks.peers.works import Work


@dataclass(frozen=True)
class TorchServe(Peer):
    """TorchServe with one archive; needs Java 17."""

    def command(self, start: Start) -> list[str]:
        batched = start.work.kind == "text"
        (start.folder / "model-config.yaml").write_text(
            f"minWorkers: {start.workers}\nmaxWorkers: {start.workers}\n"
            f"batchSize: {start.work.max_rows if batched else 1}\nmaxBatchDelay: {start.options['delay_ms'] if batched else 1}\n"
            f"responseTimeout: 60\njobQueueSize: {start.waiting or 1000}\n"
        )
        # metrics_mode log and OFF levels: a line for each request is work that nobody reads here.
        (start.folder / "config.properties").write_text(
            f"inference_address=http://127.0.0.1:{start.port}\n"
            f"management_address=http://127.0.0.1:{start.port + 1}\n"
            f"metrics_address=http://127.0.0.1:{start.port + 2}\n"
            f"default_workers_per_model=1\njob_queue_size={start.waiting or 1000}\ndisable_system_metrics=true\n"
        )
        (start.folder / "log4j2.xml").write_text(
            '<?xml version="1.0" encoding="UTF-8"?><Configuration><Loggers>'
            '<Root level="error"/></Loggers></Configuration>\n'
        )
        store = start.folder / "store"
        store.mkdir(exist_ok=True)
        subprocess.run(
            [
                str(start.python.parent / "torch-model-archiver"), "--model-name", "peer", "--version", "1",
                "--handler", str(self.folder / "handler.py"), "--config-file",
                str(start.folder / "model-config.yaml"), "--export-path", str(store), "--force",
            ],
            check=True, capture_output=True, cwd=start.folder,
        )  # fmt: skip
        return [
            str(start.python.parent / "torchserve"), "--foreground", "--ncs", "--disable-token-auth",
            "--model-store", str(store), "--models", "peer=peer.mar", "--ts-config",
            str(start.folder / "config.properties"), "--log-config", str(start.folder / "log4j2.xml"),
        ]  # fmt: skip

    def environment(self, start: Start) -> dict[str, str]:
        found = super().environment(start)
        # TorchServe gives its workers this path.
        return {
            **found,
            "TEMP": str(start.folder),
            "LOG_LOCATION": str(start.folder),
            "PATH": found["PATH"] + os.pathsep,
        }

    def path(self, work: Work) -> str:
        return "/predictions/peer"


PEER = TorchServe(
    "torchserve", "TorchServe", "torchserve",
    "the same ONNX file, `batchSize` 16 (RoBERTa, mixed: 8), `jobQueueSize` bounded in the open loop",
    tried=(
        Setting("2 workers of 1 thread, `maxBatchDelay` 5 ms", 2, 1),
        Setting("1 worker of 2 threads, `maxBatchDelay` 5 ms"),
        Setting("2 workers of 1 thread, `maxBatchDelay` 20 ms", 2, 1, {"delay_ms": 20}),
    ),
    start_s=180, framework=True, refuses=True,
)  # fmt: skip
