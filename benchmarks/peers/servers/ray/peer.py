"""Ray Serve: what the runner must know."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers.peer import Peer, Start
from benchmarks.peers.setting import Setting
from benchmarks.peers.works import Work


@dataclass(frozen=True)
class RayServe(Peer):
    """Ray on this machine alone, with its proxy."""

    def environment(self, start: Start) -> dict[str, str]:
        return {
            **super().environment(start),
            # https://docs.ray.io/en/latest/serve/advanced-guides/performance.html; its HAProxy is no wheel.
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
        }

    def path(self, work: Work) -> str:
        return "/"


PEER = RayServe(
    "ray", "Ray Serve", "ray",
    "`serve.batch` of 16 (RoBERTa, mixed: 8), `RAY_SERVE_THROUGHPUT_OPTIMIZED`, `max_queued_requests` in the open loop",
    tried=(
        Setting("1 replica of 2 threads, 5 ms"),
        Setting("2 replicas of 1 thread, 5 ms", 2, 1),
        Setting("1 replica of 2 threads, 20 ms", options={"delay_ms": 20}),
    ),
    start_s=180, framework=True, refuses=True,
)  # fmt: skip
