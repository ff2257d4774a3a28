"""Print what pip shall install for Augury: its dependencies and those of the extras named.

`python3 scripts/requirements.py tweets redis`.  The image's `deps` stage installs exactly this, so that a
change of the code, of the model or of anything else in pyproject.toml reinstalls nothing.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, extras: list[str]) -> list[str]:
    """The requirements of the project and of *extras*, each once, sorted.

    Raises:
        SystemExit: An extra that the project does not have.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    known = project["optional-dependencies"]
    if unknown := sorted(set(extras) - set(known)):
        raise SystemExit(f"no extra {unknown[0]!r}; there are: {', '.join(sorted(known))}")
    return sorted({*project["dependencies"], *(one for name in extras for one in known[name])})


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path("pyproject.toml"), sys.argv[1:])) + "\n")
