"""Triton with the Python backend: what the runner must know."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.peer import SERVERS, Peer, Start, oip_answer, oip_body
from benchmarks.peers.works import Work

_TEXT = """name: "peer"
backend: "python"
max_batch_size: {rows}
input [ {{ name: "text" data_type: TYPE_STRING dims: [ 1 ] }} ]
output [
  {{ name: "label" data_type: TYPE_STRING dims: [ 1 ] }},
  {{ name: "scores" data_type: TYPE_FP32 dims: [ 3 ] }}
]
dynamic_batching {{ max_queue_delay_microseconds: 5000 }}
instance_group [ {{ kind: KIND_CPU count: {workers} }} ]
"""
_IDENTITY = """name: "peer"
backend: "python"
max_batch_size: 0
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ -1, 4 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""


@dataclass(frozen=True)
class Triton(Peer):
    """The binary that pytriton's wheel carries."""

    def command(self, start: Start) -> list[str]:
        server = start.site_packages / "pytriton" / "tritonserver"
        backends = start.folder / "backends"
        shutil.copytree(server / "backends", backends, dirs_exist_ok=True)
        # The stub of this interpreter's version, as pytriton itself would pick it.
        version = start.site_packages.parent.name.removeprefix("python")
        for file in (server / "python_backend_stubs" / version).iterdir():
            shutil.copy2(file, backends / "python")
        model = start.folder / "repository" / "peer"
        (model / "1").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / "model.py", model / "1" / "model.py")
        text = start.work.kind == "text"
        (model / "config.pbtxt").write_text(
            _TEXT.format(rows=start.work.max_rows, workers=start.workers) if text else _IDENTITY
        )
        # Eight threads, its default, take turns on the one core that the identity model has.
        threads = [] if text else ["--http-thread-count", "1"]
        return [
            str(server / "bin" / "tritonserver"), "--model-repository", str(start.folder / "repository"),
            "--backend-directory", str(backends), "--http-address", "127.0.0.1", "--http-port", str(start.port),
            "--allow-grpc", "false", "--metrics-address", "127.0.0.1", "--metrics-port", str(start.port + 2),
            "--log-verbose", "0", "--log-info", "false", *threads,
        ]  # fmt: skip

    def environment(self, start: Start) -> dict[str, str]:
        found = super().environment(start)
        libraries = [
            start.site_packages / "nvidia_pytriton.libs",
            start.site_packages / "pytriton" / "tritonserver" / "external_libs",
        ]
        found["PEER_PATH"] = os.pathsep.join([str(SERVERS / "work"), str(start.site_packages)])
        # The stub runs the distribution's interpreter.
        del found["PYTHONPATH"]
        return {**found, "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))}

    def path(self, work: Work) -> str:
        return "/v2/models/peer/infer"

    def body(self, work: Work, row: Any) -> Any:
        return oip_body(work, row, rank=2)

    def answer(self, work: Work, body: bytes) -> list[float]:
        return oip_answer(work, body)


PEER = Triton(
    "triton", "Triton 2.51", "nvidia-pytriton",
    "Python backend, 2 instances of 1 thread, `dynamic_batching` up to 16 (RoBERTa, mixed: 8), 5 ms",
    layout=(2, 1), framework=True,
)  # fmt: skip
