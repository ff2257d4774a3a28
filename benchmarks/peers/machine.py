"""What was measured on, and with which versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer
from benchmarks.peers.running import IN_PLACE

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")


def describe() -> dict[str, Any]:
    """Cores, processor, memory, system."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    fields = dict(
        line.split(":", 1) for line in info.split("\n\n", 1)[0].splitlines() if ":" in line
    )
    found = {name.strip(): value.strip() for name, value in fields.items()}
    flags = set(found.get("flags", "").split())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": found.get("model name", platform.processor()),
        "extensions": [name for name in _FLAGS if name in flags],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def described() -> str:
    """The machine in a line."""
    found = describe()
    return f"{found['cores']} cores of an {found['processor']}, {found['memory_gib']} GiB, Python {found['python']}"


def versions(cache: Path, peers: list[Peer]) -> dict[str, str]:
    """The version of each server; a peer without an environment has none."""
    found = {"onnxruntime": importlib.metadata.version("onnxruntime")}
    for peer in peers:
        if peer.name in IN_PLACE:
            found[peer.name] = importlib.metadata.version(peer.package)
            continue
        python = cache / (peer.home or peer.name) / "venv" / "bin" / "python"
        code = f"import importlib.metadata as m; print(m.version({peer.package!r}))"
        try:
            run = subprocess.run(
                [str(python), "-c", code], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        found[peer.name] = run.stdout.strip()
    return found
