"""The words of ``model.toml``.

Every field has a default, so that an empty file, or none, is a valid manifest.  Unknown keys are
refused: a misspelt key that is silently ignored costs somebody an afternoon.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import DATATYPES

_LATEST = re.compile(r"latest(?:\((\d+)\))?")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorTable(_Table):
    """``[signature.inputs.NAME]`` or ``[signature.outputs.NAME]``."""

    dtype: str
    shape: tuple[Annotated[int, Field(ge=-1)], ...] = ()
    labels: tuple[str, ...] = ()
    description: str = ""

    @field_validator("dtype")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in DATATYPES:
            raise ValueError(f"unknown dtype {value!r}; use one of {', '.join(DATATYPES)}")
        return value

    @model_validator(mode="after")
    def _labels_fit(self) -> TensorTable:
        if self.labels and (not self.shape or self.shape[-1] not in (-1, len(self.labels))):
            raise ValueError(
                f"{len(self.labels)} labels name the last axis, but the shape is {list(self.shape)}"
            )
        return self

    def spec(self, name: str) -> TensorSpec:
        """The same as a :class:`TensorSpec`."""
        return TensorSpec(name, self.dtype, self.shape, self.labels, self.description)


class SignatureTable(_Table):
    """``[signature]``: what callers send and get, before and after the transforms."""

    inputs: dict[str, TensorTable] = {}
    outputs: dict[str, TensorTable] = {}

    def signature(self, native: Signature) -> Signature:
        """This table, filled up from the *native* signature that the model file tells."""
        inputs = tuple(table.spec(name) for name, table in self.inputs.items())
        outputs = tuple(table.spec(name) for name, table in self.outputs.items())
        return Signature(inputs or native.inputs, outputs or native.outputs)


class TransformTable(BaseModel):
    """One ``[[preprocess]]`` or ``[[postprocess]]`` step: ``use`` names it, the rest is its own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str

    @property
    def options(self) -> dict[str, Any]:
        """Everything but ``use``."""
        return dict(self.model_extra or {})


class InstancesTable(_Table):
    """``[instances]``: how many batches run at once, and on how many threads each."""

    count: Annotated[int, Field(ge=1, le=256)] | None = None
    threads: Annotated[int, Field(ge=1, le=256)] | None = None


class BatchingTable(_Table):
    """``[batching]``."""

    max_rows: Annotated[int, Field(ge=1, le=65536)] = 64
    max_queue_rows: Annotated[int, Field(ge=1)] = 4096


class CacheTable(_Table):
    """``[cache]``: whether answers are remembered, and for how long."""

    enabled: bool = True
    ttl_s: Annotated[float, Field(gt=0)] = 5_184_000.0  # 60 days


class VersionsTable(_Table):
    """``[versions]``: which of the versions on disk are served."""

    policy: str = "latest"
    specific: tuple[Annotated[int, Field(ge=1)], ...] = ()
    labels: dict[str, Annotated[int, Field(ge=1)]] = {}

    @model_validator(mode="after")
    def _sensible(self) -> VersionsTable:
        latest = _LATEST.fullmatch(self.policy)
        if not latest and self.policy not in ("all", "specific"):
            raise ValueError(
                f"unknown policy {self.policy!r}; use latest, latest(n), all or specific"
            )
        if latest and latest[1] is not None and int(latest[1]) < 1:
            raise ValueError("latest(0) would serve nothing; use latest(1) or more")
        if (self.policy == "specific") != bool(self.specific):
            raise ValueError('policy = "specific" and specific = [versions] belong together')
        return self

    def choose(self, available: list[int]) -> tuple[int, ...]:
        """The versions of *available* that this policy serves, in rising order.

        >>> VersionsTable(policy="latest(2)").choose([3, 1, 2])
        (2, 3)
        """
        versions = sorted(available)
        if self.policy == "specific":
            return tuple(v for v in versions if v in self.specific)
        if self.policy == "all":
            return tuple(versions)
        latest = _LATEST.fullmatch(self.policy)
        wanted = set(versions[-int((latest and latest[1]) or 1) :])
        # A labelled version is served too: a label that nobody answers would be a trap.
        return tuple(v for v in versions if v in wanted or v in self.labels.values())


class ExampleTable(_Table):
    """One ``[[examples]]``: run when the package is checked, and as warm-up.

    ``outputs`` may be left out; numbers are compared with the absolute tolerance ``atol``.
    """

    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]] = {}
    atol: Annotated[float, Field(ge=0)] = 1e-3


class Manifest(_Table):
    """A whole ``model.toml``."""

    description: str = ""
    runtime: str | None = None
    signature: SignatureTable = SignatureTable()
    preprocess: tuple[TransformTable, ...] = ()
    postprocess: tuple[TransformTable, ...] = ()
    instances: InstancesTable = InstancesTable()
    batching: BatchingTable = BatchingTable()
    cache: CacheTable = CacheTable()
    versions: VersionsTable = VersionsTable()
    examples: tuple[ExampleTable, ...] = ()

    @model_validator(mode="after")
    def _transforms_need_a_signature(self) -> Manifest:
        if self.preprocess and not self.signature.inputs:
            raise ValueError(
                "with [[preprocess]] the callers' inputs are not the model file's: "
                "declare them in [signature.inputs.NAME]"
            )
        if self.postprocess and not self.signature.outputs:
            raise ValueError(
                "with [[postprocess]] the callers' outputs are not the model file's: "
                "declare them in [signature.outputs.NAME]"
            )
        return self
