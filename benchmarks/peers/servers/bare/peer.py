"""A bare ASGI handler: what the runner must know."""

from __future__ import annotations

from benchmarks.peers.peer import Peer

PEER = Peer(
    "bare",
    "bare ASGI handler",
    "uvicorn",
    "no model, no checks: the most that uvicorn gives",
    works=("identity",),
)
