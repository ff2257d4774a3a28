"""What the runner must know of a server to start it and to ask it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.setting import Setting, chosen
from benchmarks.peers.works import Work

# What a peer lets wait, when it can be told so, is what it can compute within this part of the deadline; the rest is for the
# batch itself.
WAITING_PART = 0.7
SERVERS = Path(__file__).parent / "servers"


@dataclass(frozen=True)
class Start:
    """One start of a server.

    Args:
        work: What it serves.
        port: For HTTP; the two after it are free as well.
        folder: Its own, empty.
        python: The interpreter of its environment.
        setting: Workers, threads and options.
        slo_s: What counts as in time, for those that take a deadline at their start; ``None``: nothing is ever late.
        waiting: So many requests may wait, for those that can bound them; 0: any number.
    """

    work: Work
    port: int
    folder: Path
    python: Path
    setting: Setting
    slo_s: float | None = None
    waiting: int = 0

    @property
    def workers(self) -> int:
        """Processes that compute; the identity work has one core."""
        return 1 if self.work.kind == "identity" else self.setting.workers

    @property
    def threads(self) -> int:
        """Of each."""
        return 1 if self.work.kind == "identity" else self.setting.threads

    @property
    def options(self) -> dict[str, Any]:
        """What the server reads."""
        return {
            "delay_ms": 5,
            **self.setting.options,
            "slo_ms": None if self.slo_s is None else round(self.slo_s * 1000),
            "waiting": self.waiting,
        }

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
        settings: How it is set whichever setting is taken, in a sentence, for the table.
        tried: Settings to choose from; the first is taken where nothing was searched.
        start_s: So long it may take until it answers.
        framework: A serving framework, which the goodput bar is held against.
        refuses: Takes a deadline, or a bound of what may wait, at its start: it is started anew before the open loop.
        closed_only: Not asked for goodput.
        works: The works that it is measured with; empty: all.
        home: Whose files and environment it shares.
    """

    name: str
    title: str
    package: str
    settings: str
    tried: tuple[Setting, ...] = (Setting("1 process of 2 threads"),)
    start_s: float = 90.0
    framework: bool = False
    refuses: bool = False
    closed_only: bool = False
    works: tuple[str, ...] = ()
    home: str = ""

    @property
    def folder(self) -> Path:
        """Its files."""
        return SERVERS / (self.home or self.name)

    @property
    def setting_file(self) -> Path:
        """Where the search for its best setting is kept."""
        return SERVERS / self.name / "setting.json"

    def setting(self, work: Work) -> tuple[Setting, list[dict[str, Any]]]:
        """How it is set for *work*, and what else was tried."""
        return chosen(self.tried, work.name, self.setting_file)

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
            "PEER_OPTIONS": json.dumps(start.options),
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
