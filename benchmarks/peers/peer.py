"""What the runner must know of a server to start it and to ask it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.works import Work

SERVERS = Path(__file__).parent / "servers"


@dataclass(frozen=True)
class Start:
    """One start of a server.

    Args:
        work: What it serves.
        port: For HTTP; the two after it are free as well.
        folder: Its own, empty.
        python: The interpreter of its environment.
        workers: Processes (or instances) that compute.
        threads: Of each.
    """

    work: Work
    port: int
    folder: Path
    python: Path
    workers: int
    threads: int

    @property
    def site_packages(self) -> Path:
        """Where its environment's packages lie."""
        return next((self.python.parent.parent / "lib").glob("python3.*/site-packages"))


@dataclass(frozen=True)
class Peer:
    """A server that is measured; a subclass for each.

    Args:
        name: Its folder in ``servers/``.
        title: In tables.
        package: Whose version is told.
        settings: How it is set, in a sentence, for the table.
        layout: ⟨workers, threads⟩ for the works with a model; the identity is always 1 × 1.
        start_s: So long it may take until it answers.
        framework: A serving framework, which the goodput bar is held against.
    """

    name: str
    title: str
    package: str
    settings: str
    layout: tuple[int, int] = (1, 2)
    start_s: float = 90.0
    framework: bool = False

    @property
    def folder(self) -> Path:
        """Its files."""
        return SERVERS / self.name

    @property
    def requirements(self) -> Path:
        """What its environment holds."""
        return self.folder / "requirements.txt"

    def command(self, start: Start) -> list[str]:
        """The command; may write configuration into ``start.folder``."""
        return [str(start.python), str(self.folder / "server.py")]

    def environment(self, start: Start) -> dict[str, str]:
        """Variables that the command needs."""
        return {
            "PEER_WORK": str(start.work.write(start.folder)),
            "PEER_PORT": str(start.port),
            "PEER_WORKERS": str(start.workers),
            "PEER_THREADS": str(start.threads),
            "PEER_FOLDER": str(start.folder),
            # PyTorch and numpy ask OpenMP; ONNX Runtime has its own threads.
            "OMP_NUM_THREADS": str(start.threads),
            # Threads that spin at OpenMP's barriers take the cores from whoever shares them: on a busy machine PyTorch
            # then makes a tenth of its pace.
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONPATH": str(SERVERS / "work"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": f"{start.python.parent}{os.pathsep}{os.environ['PATH']}",
        }

    def path(self, work: Work) -> str:
        """Where requests go."""
        return "/identity" if work.kind == "identity" else "/predict"

    def body(self, work: Work, row: Any) -> Any:
        """The request for one row, to be sent as JSON."""
        return {"x": row} if work.kind == "identity" else {"text": row}

    def answer(self, work: Work, body: bytes) -> list[float]:
        """The numbers, or the scores, in an answer."""
        value = json.loads(body)
        return [
            float(number) for number in (value["y"] if work.kind == "identity" else value["scores"])
        ]


def oip_body(work: Work, row: Any, rank: int = 1) -> dict[str, Any]:
    """A request of the Open Inference Protocol; *rank* 2 has the batch axis apart."""
    if work.kind == "identity":
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": row}
    else:
        shape: Sequence[int] = [1] * rank
        tensor = {"name": "text", "datatype": "BYTES", "shape": shape, "data": [row]}
    return {"inputs": [tensor]}


def oip_answer(work: Work, body: bytes) -> list[float]:
    """The numbers, or the scores, in an answer of the Open Inference Protocol."""
    name = "y" if work.kind == "identity" else "scores"
    outputs = {output["name"]: output["data"] for output in json.loads(body)["outputs"]}
    return [float(number) for number in outputs[name]]
