"""What batches cost on this machine, kept between starts.

One small JSON file for each package and way of running it.  It is a memory, not a truth: a file that
cannot be read, or says what cannot be, is as good as none, and where nothing can be written nothing is.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from augury.batching.cost import CostModel
from augury.core.errors import InvalidPackage
from augury.observe.logs import get_logger
from augury.packages.digest import file_stamps
from augury.packages.reader import ModelPackage

FORMAT: Final = 1
# A file takes 3 KiB; a larger one is none of ours.
MAX_FILE_BYTES: Final = 64 * 1024
# Files that are kept; the oldest go.
MAX_FILES: Final = 256

_log = get_logger(__name__)


def machine_facts(engine: str, *, instances: int, threads: int, cores: int) -> dict[str, Any]:
    """What the costs of a package depend on besides the package."""
    return {
        "cpu": _cpu_name(),
        "cores": cores,
        "engine": engine,
        "instances": instances,
        "threads": threads,
    }


class CostBook:
    """A folder of such files.

    Args:
        folder: Made when something is written first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, package: ModelPackage, machine: Mapping[str, Any]) -> CostModel | None:
        """What was learnt of *package*; ``None``: nothing, or nothing of use."""
        file = self._file(package, machine)
        if file is None:
            return None
        try:
            with file.open("rb") as opened:
                text = opened.read(MAX_FILE_BYTES + 1)
            if len(text) > MAX_FILE_BYTES:
                raise ValueError(f"more than {MAX_FILE_BYTES} bytes")
            kept = json.loads(text)
            if not isinstance(kept, dict) or kept.get("format") != FORMAT:
                raise ValueError(f"not of format {FORMAT}")
            if not isinstance(kept.get("cost"), dict):
                raise ValueError("without costs")
            return CostModel.from_dict(kept["cost"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ArithmeticError, RecursionError) as error:
            _log.warning("kept batch costs are of no use", file=str(file), reason=str(error))
            return None

    def write(self, package: ModelPackage, machine: Mapping[str, Any], cost: CostModel) -> None:
        """Keep what was learnt, if anything was."""
        file = self._file(package, machine)
        if file is None or not cost.known:
            return
        kept = {
            "format": FORMAT,
            "model": package.name,
            "version": package.version,
            "machine": dict(machine),
            "cost": cost.to_dict(),
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, suffix=".tmp")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as opened:
                    json.dump(kept, opened, allow_nan=False)
                Path(name).replace(file)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            self._drop_oldest()
        except (OSError, ValueError) as error:
            _log.info("batch costs are not kept", folder=str(self._folder), reason=str(error))

    def _file(self, package: ModelPackage, machine: Mapping[str, Any]) -> Path | None:
        # Stamps, not contents: reading these takes 2 s a gigabyte, and a mistake costs a few batches.
        try:
            stamps = file_stamps(package)
        except InvalidPackage:
            return None
        facts = json.dumps([package.name, package.version, stamps, machine], sort_keys=True)
        return self._folder / f"{sha256(facts.encode()).hexdigest()[:32]}.json"

    def _drop_oldest(self) -> None:
        files = list(self._folder.glob("*.json"))
        if len(files) <= MAX_FILES:
            return
        dated = []
        for file in files:
            with suppress(OSError):  # another process may have dropped it
                dated.append((file.stat().st_mtime, file))
        for _, file in sorted(dated)[:-MAX_FILES]:
            with suppress(OSError):
                file.unlink()


def _cpu_name() -> str:
    """The processor's name, as far as the system tells it."""
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
