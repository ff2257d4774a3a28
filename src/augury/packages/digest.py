"""What a package's answers depend on, as a digest that holds on every machine.

Covers every file of the version's folder but those that only describe it, and every table of
``model.toml`` but those that decide how fast an answer comes, not which.
"""

from __future__ import annotations

import json
import os
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final

from augury.core.errors import InvalidPackage
from augury.packages.reader import MANIFEST_NAME, PROVENANCE_NAME, ModelPackage

# The manifest goes in by its tables, merged.
_DESCRIBING_FILES: Final = frozenset({MANIFEST_NAME, PROVENANCE_NAME, "README.md"})
_DESCRIBING_TABLES: Final = frozenset(
    {"description", "instances", "batching", "cache", "versions", "examples"}
)

# Of a version's folder; a model has a handful.
MAX_FILES: Final = 4096

# Path below the version's folder, size, time of last change in nanoseconds.
FileStamp = tuple[str, int, int]


def file_stamps(package: ModelPackage) -> tuple[FileStamp, ...]:
    """The files that :func:`content_digest` reads, and what changes when one of them does.

    Raises:
        InvalidPackage: Too many files, or a folder that cannot be read.
    """
    stamps: list[FileStamp] = []
    try:
        for folder, _, names in os.walk(package.path, onerror=_raise, followlinks=True):
            for name in names:
                path = Path(folder, name)
                below = path.relative_to(package.path).as_posix()
                if below in _DESCRIBING_FILES or not path.is_file():
                    continue
                stat = path.stat()
                stamps.append((below, stat.st_size, stat.st_mtime_ns))
                if len(stamps) > MAX_FILES:
                    raise InvalidPackage(
                        f"more than {MAX_FILES} files, the limit for a version's folder",
                        path=str(package.path),
                    )
    except OSError as error:
        raise InvalidPackage(f"cannot be read: {error.strerror}", path=str(package.path)) from None
    return tuple(sorted(stamps))


def content_digest(package: ModelPackage) -> str:
    """SHA-256 in hexadecimal.  Reads every byte, 2 s a gigabyte: not for the event loop.

    Raises:
        InvalidPackage: A file that cannot be read.
    """
    tables = package.manifest.model_dump(mode="json", exclude=set(_DESCRIBING_TABLES))
    facts: list[object] = [package.runtime, package.model_file.name, tables]
    try:
        for below, _, _ in file_stamps(package):
            with (package.path / below).open("rb") as file:
                facts.append([below, file_digest(file, sha256).hexdigest()])
    except OSError as error:
        raise InvalidPackage(f"cannot be read: {error.strerror}", path=str(package.path)) from None
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _raise(error: OSError) -> None:
    raise error
