"""``GET /api/models[/{name}]``: what is served, in which state, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from augury.core.errors import ModelNotFound
from augury.core.signature import Signature, TensorSpec
from augury.lifecycle.harness import Harness
from augury.lifecycle.manager import Manager
from augury.pipeline.servable import ModelServable


class TensorModel(BaseModel):
    """One input or output."""

    name: str
    datatype: str = Field(description="The Open Inference Protocol's name.")
    shape: list[int] = Field(description="Without the batch axis; -1: any size.")
    labels: list[str] = Field(description="Names along the last axis, if it has names.")
    description: str


class SignatureModel(BaseModel):
    """What goes in and what comes out."""

    inputs: list[TensorModel]
    outputs: list[TensorModel]


class VersionModel(BaseModel):
    """One version of a model."""

    version: str
    state: str = Field(description="new, loading, ready, draining, failed or ended.")
    reason: str = Field(description="Why it failed; else empty.")
    labels: list[str]
    runtime: str | None
    instances: dict[str, int] | None = Field(description="Batches at once, and threads of each.")
    signature: SignatureModel | None
    example: dict[str, Any] | None = Field(description="A body for the predict route.")
    provenance: dict[str, Any] = Field(
        description="The training's record, from the package; `cost`: what its batches cost here, "
        "T(n, S) = a + d·n + b·n·S + c·n·S² seconds for n rows of padded length S."
    )


class ModelModel(BaseModel):
    """A model and its versions."""

    name: str
    description: str
    ready: bool
    default_version: str | None = Field(description="Answers when no version is named.")
    versions: list[VersionModel]


class ModelList(BaseModel):
    """All models."""

    models: list[ModelModel]


def router(manager: Manager) -> APIRouter:
    """The routes that tell of models."""
    routes = APIRouter(prefix="/api/models", tags=["models"])

    @routes.get("", summary="All models")
    async def list_models() -> ModelList:
        """Every model that is known, with its versions, their states and signatures."""
        return ModelList(models=[describe(manager, name) for name in manager.models()])

    @routes.get("/{name}", summary="One model")
    async def show_model(name: str) -> ModelModel:
        """Signature, versions, state and provenance of one model."""
        if name not in manager.models():
            raise ModelNotFound(name, manager.models())
        return describe(manager, name)

    return routes


def describe(manager: Manager, name: str) -> ModelModel:
    """What is known of the model *name*."""
    harnesses = manager.versions(name)
    default = manager.default_version(name)
    labels = manager.labels(name)
    newest = harnesses[-1].package
    return ModelModel(
        name=name,
        description=newest.manifest.description if newest else "",
        ready=default is not None,
        default_version=None if default is None else str(default),
        versions=[_version(harness, labels) for harness in harnesses],
    )


def example_row(servable: ModelServable) -> dict[str, Any] | None:
    """The first row of the package's first example, or ``None``.

    An example of a model that joins features tells what is joined; callers send the other inputs, all
    of which it has to tell to serve as theirs.
    """
    for example in servable.package.manifest.examples:
        row = {name: values[0] for name, values in example.inputs.items() if values}
        if servable.joins is None:
            return row
        names = [spec.name for spec in servable.signature.inputs]
        return {name: row[name] for name in names} if row.keys() >= set(names) else None
    return None


def _version(harness: Harness, labels: dict[str, int]) -> VersionModel:
    package, servable = harness.package, harness.servable
    loaded = servable if isinstance(servable, ModelServable) else None
    row = example_row(loaded) if loaded else None
    return VersionModel(
        version=str(harness.version),
        state=harness.state,
        reason=harness.reason,
        labels=sorted(label for label, version in labels.items() if version == harness.version),
        runtime=package.runtime if package else None,
        instances=(
            {"count": loaded.instances.count, "threads": loaded.instances.threads}
            if loaded
            else None
        ),
        signature=_signature(loaded.signature) if loaded else None,
        example={"rows": [row]} if row else None,
        provenance=_provenance(package.provenance, loaded) if package else {},
    )


def _provenance(record: Mapping[str, Any], loaded: ModelServable | None) -> dict[str, Any]:
    """The training's *record*, what is known of its cost here, and the digest of shared answers."""
    if loaded is None:
        return dict(record)
    content = {"content_digest": loaded.content} if loaded.content else {}
    return {**record, **content, "cost": loaded.cost_record()}


def _signature(signature: Signature) -> SignatureModel:
    return SignatureModel(
        inputs=[_tensor(spec) for spec in signature.inputs],
        outputs=[_tensor(spec) for spec in signature.outputs],
    )


def _tensor(spec: TensorSpec) -> TensorModel:
    return TensorModel(
        name=spec.name,
        datatype=spec.datatype,
        shape=list(spec.shape),
        labels=list(spec.labels),
        description=spec.description,
    )
