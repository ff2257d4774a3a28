"""What a transform is.

A transform changes the columns of a batch in place.  It never changes the number of rows: a row that
it cannot accept it *refuses*, with a reason that reaches the caller, and goes on with the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from augury.core.errors import AuguryError, Internal
from augury.core.signature import Signature
from augury.core.tensor import Array, Column, Columns


@dataclass(slots=True)
class Batch:
    """Rows on their way through the transforms.

    Args:
        columns: Name to column; every column has ``rows`` rows.
        rows: Number of rows.
        parameters: The request's parameters; empty after the model, where requests are mixed.
        errors: Row to the reason why it was refused.
    """

    columns: Columns
    rows: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    errors: dict[int, AuguryError] = field(default_factory=dict)

    def refuse(self, row: int, error: AuguryError) -> None:
        """Give up *row*; the first reason stands."""
        self.errors.setdefault(row, error)

    def live_rows(self) -> Iterator[int]:
        """The rows that have not been refused."""
        return (row for row in range(self.rows) if row not in self.errors)

    def column(self, name: str) -> Column:
        """The column *name*; a package that names a wrong one has been refused at load time."""
        try:
            return self.columns[name]
        except KeyError:
            raise Internal(
                f"no column {name!r} before this transform; here are: {', '.join(self.columns)}"
            ) from None

    def array(self, name: str) -> Array:
        """The dense column *name*."""
        column = self.column(name)
        if not isinstance(column, np.ndarray):
            raise Internal(f"column {name!r} is ragged, this transform wants a dense one")
        return column


class Options(BaseModel):
    """Base of a transform's options: what stands beside ``use`` in ``model.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class TransformContext:
    """What a transform may know of its package.

    Args:
        path: The version's folder; files that options name lie in it.
        native: The model file's own signature.
    """

    path: Path
    native: Signature


class Transform(Protocol):
    """One step; called from several threads at once, so it keeps no state between calls."""

    def __call__(self, batch: Batch) -> None:
        """Change *batch* in place; refuse rows rather than raise."""


class TransformType(Protocol):
    """A class of transforms; this is what the registry holds."""

    Options: ClassVar[type[Options]]

    def __call__(self, options: Any, context: TransformContext) -> Transform:
        """Make the transform from its validated ``Options``.

        Raises:
            InvalidPackage: A file is missing, or the options do not fit the model.
        """
