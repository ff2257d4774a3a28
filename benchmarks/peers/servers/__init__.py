"""The servers, a folder each: ``peer.py`` for the runner, the server's own code and settings, ``requirements.txt``.

``work/`` is what all of them do with ONNX Runtime.  ``augury`` and ``bare`` run in the project's own environment.
"""

from __future__ import annotations

from importlib import import_module

from benchmarks.peers.peer import Peer

NAMES = (
    "augury", "bare", "triton", "fastapi_onnx", "mlserver", "litserve", "bentoml", "torchserve", "ray", "seed", "seed_int8",
)  # fmt: skip


def load(name: str) -> Peer:
    """The server of that name."""
    peer: Peer = import_module(f"benchmarks.peers.servers.{name}.peer").PEER
    return peer
