"""The words of ``model.toml``.

Every field has a default, so that an empty file, or none, is a valid manifest.  Unknown keys are
refused: a misspelt key that is silently ignored costs somebody an afternoon.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import DATATYPES

# Among so many waiting rows there mostly are some of like length.
LEAST_WINDOW: Final = 64

_LATEST = re.compile(r"latest(?:\((\d+)\))?")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorTable(_Table):
    """``[signature.inputs.NAME]`` or ``[signature.outputs.NAME]``."""

    dtype: str = Field(description="The Open Inference Protocol's name: BOOL, INT64, FP32, BYTES …")
    shape: tuple[Annotated[int, Field(ge=-1)], ...] = Field(
        (), description="Sizes without the batch axis; -1: any size."
    )
    labels: tuple[str, ...] = Field(
        (), description="Names along the last axis: the API then tells an object by name."
    )
    description: str = Field("", description="One sentence, shown in the API's document.")

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

    inputs: dict[str, TensorTable] = Field({}, description="By name; left out: the model file's.")
    outputs: dict[str, TensorTable] = Field({}, description="By name; left out: the model file's.")

    def signature(self, native: Signature) -> Signature:
        """This table, filled up from the *native* signature that the model file tells."""
        inputs = tuple(table.spec(name) for name, table in self.inputs.items())
        outputs = tuple(table.spec(name) for name, table in self.outputs.items())
        return Signature(inputs or native.inputs, outputs or native.outputs)


class TransformTable(BaseModel):
    """One ``[[preprocess]]`` or ``[[postprocess]]`` step: ``use`` names it, the rest is its own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str = Field(description="Name of the transform.")

    @property
    def options(self) -> dict[str, Any]:
        """Everything but ``use``."""
        return dict(self.model_extra or {})


class InstancesTable(_Table):
    """``[instances]``: how many batches run at once, and on how many threads each."""

    count: Annotated[int, Field(ge=1, le=256)] | None = Field(
        None, description='Batches at once; left out or "auto": cores / threads.'
    )
    threads: Annotated[int, Field(ge=1, le=256)] | None = Field(
        None, description='Threads of one batch; left out or "auto": 1, or cores / count.'
    )

    @field_validator("count", "threads", mode="before")
    @classmethod
    def _auto(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "auto":
            raise ValueError(f'{value!r} is neither a number nor "auto"')
        return None if value == "auto" else value


class BatchingTable(_Table):
    """``[batching]``: which rows are computed together, and when; see ``docs/batching.md``."""

    policy: str = Field(
        "deadline",
        description="When waiting rows become a batch: deadline (as many answers in time as "
        "possible), fixed (a size and a timer), delayed (waits for bursts), aimd (grows and shrinks "
        "by an objective) or quantile (the largest batch whose p99 fits an objective).",
    )
    max_rows: Annotated[int, Field(ge=1, le=65536)] = Field(
        64, description="Rows of one batch at most."
    )
    max_queue_rows: Annotated[int, Field(ge=1)] = Field(
        4096, description="Rows that may wait; more is refused with 429."
    )
    deadline_s: Annotated[float, Field(gt=0, le=86_400)] | None = Field(
        None,
        description="Seconds within which a request that names no deadline must be answered, bulk work "
        "excepted; left out: it waits as long as it takes.",
    )
    patience_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        0.25,
        description="deadline: a request without a deadline takes its turn as if it were due so "
        "many seconds after it came; it is never refused for that.",
    )
    ageing_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        1.0,
        description="Each step of priority counts as having come so many seconds later; the most "
        "that anything waits for more important work.",
    )
    max_padding: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Part of a batch that may be padding; not with fixed."
    )
    window: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None,
        description="Companions of like length are looked for among so many that wait, and a batch has "
        "no more; left out: as many as `max_rows`, 64 at least. Not with fixed.",
    )
    timeout_s: Annotated[float, Field(ge=0, le=60)] = Field(
        0.005,
        description="fixed: a batch that is not full goes when its oldest row waited so long.",
    )
    delay_s: Annotated[float, Field(ge=0, le=60)] = Field(
        0.002, description="delayed: the same, for batches that are looked for by length."
    )
    objective_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        0.05, description="aimd, quantile: seconds within which a batch must be computed."
    )
    inline: Literal["auto"] | bool = Field(
        "auto",
        description="Whether rows may be computed on the event loop when nothing waits: auto does "
        "when that was measured to cost less than the way to another thread; of inputs of open size and of "
        "texts, for rows that are no larger than those of the first example.",
    )

    def window_of(self, max_rows: int) -> int:
        """`window`, or what takes its place, for batches of at most *max_rows*."""
        return max(LEAST_WINDOW, max_rows) if self.window is None else self.window


class CacheTable(_Table):
    """``[cache]``: whether answers are remembered, how many, and for how long."""

    enabled: bool = Field(
        True,
        description="Whether answers are remembered at all; false: the model is asked for every row, even "
        "one that it is computing just then.",
    )
    ttl_s: Annotated[float, Field(gt=0)] = Field(
        5_184_000.0, description="Seconds for which they are; 60 days."
    )
    policy: str = Field(
        "lru",
        description="Which answer goes first when the process's cache is full: lru (the least "
        "recently used), lfu (the least frequently used, with ageing) or ttl (the first to expire).",
    )
    max_entries: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Rows in the process at most; left out: as many as all models together; 0: none, and "
        "without a store that is as if enabled were false.",
    )
    max_bytes: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Bytes of these rows at most; left out: as many as all models together; 0 as for the "
        "rows.",
    )
    store: bool = Field(
        True, description="Whether answers go into the store too, where `cache_store` allows it."
    )


class FeaturesTable(_Table):
    """``[features.TABLE]``: what of a feature table is joined to each row before the model."""

    entity: dict[str, str] = Field(
        min_length=1,
        description="Key column of the table to the callers' input that carries it; that one is "
        "declared in `[signature.inputs.NAME]`.",
    )
    inputs: dict[str, str] = Field(
        min_length=1, description="Feature to the model's input that it becomes."
    )
    on_missing: Literal["default", "refuse"] = Field(
        "default",
        description="What of an entity without a value: default takes the table's default, or "
        "refuses the row if there is none; refuse always refuses it (422).",
    )


class VersionsTable(_Table):
    """``[versions]``: which of the versions on disk are served."""

    policy: str = Field("latest", description="latest, latest(n), all or specific.")
    specific: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description='The versions, with policy = "specific".'
    )
    labels: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {}, description="Names for versions: stable = 1, canary = 2; a labelled version is served."
    )

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

    inputs: dict[str, list[Any]] = Field(
        description="Input to its rows; what [features] joins is stated too."
    )
    outputs: dict[str, list[Any]] = Field({}, description="Output to the rows that must come.")
    atol: Annotated[float, Field(ge=0)] = Field(1e-3, description="Numbers may differ by so much.")


class Manifest(_Table):
    """A whole ``model.toml``."""

    description: str = Field("", description="What the model is for, in one sentence.")
    runtime: str | None = Field(None, description="onnx; left out: told from the file.")
    signature: SignatureTable = Field(SignatureTable(), description="What callers send and get.")
    preprocess: tuple[TransformTable, ...] = Field(
        (), description="Steps before the model, in order."
    )
    postprocess: tuple[TransformTable, ...] = Field(
        (), description="Steps after the model, in order."
    )
    features: dict[str, FeaturesTable] = Field(
        {}, description="Feature tables that are joined to each row, by name."
    )
    instances: InstancesTable = Field(InstancesTable(), description="Batches at once.")
    batching: BatchingTable = Field(BatchingTable(), description="Sizes of batch and queue.")
    cache: CacheTable = Field(CacheTable(), description="Remembered answers.")
    versions: VersionsTable = Field(VersionsTable(), description="Which versions are served.")
    examples: tuple[ExampleTable, ...] = Field((), description="Rows and what must come of them.")

    @model_validator(mode="after")
    def _transforms_need_a_signature(self) -> Manifest:
        if self.preprocess and not self.signature.inputs:
            raise ValueError(
                "with [[preprocess]] the callers' inputs are not the model file's: "
                "declare them in [signature.inputs.NAME]"
            )
        if self.features and not self.signature.inputs:
            raise ValueError(
                "with [features] the callers' inputs are not the model file's: "
                "declare them in [signature.inputs.NAME], without those that are joined"
            )
        if self.postprocess and not self.signature.outputs:
            raise ValueError(
                "with [[postprocess]] the callers' outputs are not the model file's: "
                "declare them in [signature.outputs.NAME]"
            )
        return self
