"""What makes a version servable: the Protocols between the manager and the pipeline."""

from __future__ import annotations

from typing import Protocol

from augury.packages.reader import ModelPackage


class Servable(Protocol):
    """A loaded version.  The manager owes it one ``close``, after its last lease came back."""

    @property
    def package(self) -> ModelPackage:
        """What it was loaded from."""

    def start(self) -> None:
        """Begin to answer; called on the event loop's thread, once."""

    async def close(self) -> None:
        """Finish what is under way and give the memory back."""


class Loader(Protocol):
    """Makes servables."""

    def load(self, package: ModelPackage, generation: int) -> Servable:
        """Load and warm up; blocking, called in a thread of its own.

        Args:
            package: What to load.
            generation: Differs for each load in this process, so that what was remembered of an
                earlier load of the same version is never taken for this one's.

        Raises:
            InvalidPackage: The package cannot be served; the message tells why.
        """
