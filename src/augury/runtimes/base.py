"""The Protocol of a runtime.  Runtimes import this file and ``core``, nothing else of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from augury.core.cancellation import Cancellation
from augury.core.signature import Signature
from augury.core.tensor import Array


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How to load a model file.

    Args:
        threads: Threads that one run may use.
        instances: Runs that may be under way at once.
    """

    threads: int
    instances: int


class Runtime(Protocol):
    """A loaded model file.

    ``run`` is called from up to ``instances`` threads at once.
    """

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the file states them."""

    @property
    def fixed_rows(self) -> int | None:
        """The batch size that the file insists on, or ``None`` when any will do."""

    @property
    def engine(self) -> str:
        """What computes, with its version; what a run costs is remembered for this one only."""

    def run(self, inputs: dict[str, Array], cancel: Cancellation | None = None) -> dict[str, Array]:
        """Compute all outputs; the leading axis of each has as many rows as the inputs.

        Args:
            inputs: One array for each input.
            cancel: Tells that nobody wants the answer any more.  A runtime that can stop does so soon
                after; one that cannot may finish.

        Raises:
            RunCancelled: It has been stopped.
            InvalidInput: Values that the runtime cannot take.
            RuntimeFailed: The model itself failed.
        """

    def close(self) -> None:
        """Give the memory back; no run is under way and none follows."""


class RuntimeLoader(Protocol):
    """Loads a model file; this is what the registry holds."""

    def __call__(self, model_file: Path, options: RuntimeOptions) -> Runtime:
        """Load *model_file*.

        Raises:
            InvalidPackage: The file is broken or of a kind that cannot be served.
        """
