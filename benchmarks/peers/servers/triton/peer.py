"""Triton with the Python backend: what the runner must know."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.peer import SERVERS, WAITING_PART, Peer, Start, oip_answer, oip_body
from benchmarks.peers.setting import Setting
from benchmarks.peers.works import Work

_TEXT = """name: "peer"
backend: "python"
max_batch_size: {rows}
input [ {{ name: "text" data_type: TYPE_STRING dims: [ 1 ] }} ]
output [
  {{ name: "label" data_type: TYPE_STRING dims: [ 1 ] }},
  {{ name: "scores" data_type: TYPE_FP32 dims: [ 3 ] }}
]
dynamic_batching {{
  max_queue_delay_microseconds: {delay_us}
{queue}}}
instance_group [ {{ kind: KIND_CPU count: {workers} }} ]
"""
_QUEUE = """  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: {timeout_us}
    max_queue_size: {waiting}
  }}
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
            _TEXT.format(
                rows=start.work.max_rows,
                workers=start.workers,
                delay_us=round(1000 * start.options["delay_ms"]),
                queue=_queue(start),
            )
            if text
            else _IDENTITY
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


def _queue(start: Start) -> str:
    if start.slo_s is None:
        return ""
    timeout_us = round(WAITING_PART * start.slo_s * 1e6)
    return _QUEUE.format(timeout_us=timeout_us, waiting=start.waiting)


PEER = Triton(
    "triton", "Triton 2.51", "nvidia-pytriton",
    "Python backend, `dynamic_batching` up to 16 (RoBERTa, mixed: 8); in the open loop `default_queue_policy` refuses what waited "
    "for 0.7 of the deadline, and bounds `max_queue_size`",
    tried=(
        Setting("2 instances of 1 thread, 5 ms", 2, 1),
        Setting("1 instance of 2 threads, 5 ms"),
        Setting("2 instances of 1 thread, no delay", 2, 1, {"delay_ms": 0}),
    ),
    framework=True, refuses=True,
)  # fmt: skip
