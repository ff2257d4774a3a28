"""The seed's design with the ONNX file of the others: what the runner must know.

It tells how much of the distance to the seed is quantisation and ONNX Runtime, and how much is the server.
"""

from __future__ import annotations

from benchmarks.peers.peer import Peer
from benchmarks.peers.setting import Setting

PEER = Peer(
    "seed_int8", "seed's design, ONNX INT8", "fastapi",
    "as the seed's design, but ONNX Runtime and the INT8 file in TorchScript's place; asked in the closed loop alone",
    tried=(Setting("1 process of 2 threads", options={"inline": True}),),
    home="fastapi_onnx", closed_only=True, works=("tweets", "roberta"),
)  # fmt: skip
