"""The Protocol of a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from augury.packages.reader import ModelPackage


@dataclass(frozen=True, slots=True)
class Aspired:
    """One version that a source wants.

    Args:
        package: What is to be loaded; ``None`` when it cannot even be read.
        fault: Why it cannot be read; empty otherwise.
        fingerprint: Changes when the files change.
    """

    package: ModelPackage | None
    fault: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The whole wanted set; what it omits is unloaded.

    Args:
        versions: Model to version to what is wanted.
        labels: Model to label to version.
        warnings: What was seen and ignored, for the log.
        unclear: Models of which nobody can tell what is wanted, since their manifest is broken.
            What is loaded of them stays, labels included; *versions* says where the fault is shown.
    """

    versions: Mapping[str, Mapping[int, Aspired]] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unclear: frozenset[str] = frozenset()


class Source(Protocol):
    """States what should be served."""

    def wanted(self) -> Wanted:
        """The whole wanted set as of now; may block, called in a thread.

        Raises:
            OSError: Nobody can tell just now; what is served stays as it is.
        """
