"""Whether ``[signature]`` in ``model.toml`` and the model file agree.

Only where nothing stands between them: with ``[[preprocess]]`` the callers' inputs are others than the
file's, and with ``[[postprocess]]`` the outputs are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from augury.core.errors import InvalidPackage
from augury.core.signature import Signature, TensorSpec
from augury.packages.manifest import Manifest
from augury.packages.reader import ManifestFiles


def signature_faults(
    files: ManifestFiles, manifest: Manifest, native: Signature
) -> Iterator[InvalidPackage]:
    """Every contradiction between *manifest* and the *native* signature, with file and line."""
    declared = manifest.signature.signature(native)
    if manifest.signature.inputs and not manifest.preprocess:
        yield from _spec_faults(files, "inputs", declared.inputs, native.inputs)
        for spec in native.inputs:
            if declared.input(spec.name) is None:
                yield files.fault(
                    ("signature", "inputs"), f"the model file's input {spec.name!r} is missing"
                )
    if manifest.signature.outputs and not manifest.postprocess:
        yield from _spec_faults(files, "outputs", declared.outputs, native.outputs)


def _spec_faults(
    files: ManifestFiles, kind: str, declared: Sequence[TensorSpec], native: Sequence[TensorSpec]
) -> Iterator[InvalidPackage]:
    known = {spec.name: spec for spec in native}
    for spec in declared:
        key = ("signature", kind, spec.name)
        other = known.get(spec.name)
        if other is None:
            there = ", ".join(known)
            yield files.fault(key, f"the model file has no such {kind[:-1]}; it has: {there}")
            continue
        if spec.datatype != other.datatype:
            yield files.fault(
                (*key, "dtype"), f"{spec.datatype}, but the model file has {other.datatype}"
            )
        if not _compatible(spec.shape, other.shape):
            yield files.fault(
                (*key, "shape"),
                f"{list(spec.shape)}, but the model file has {list(other.shape)} "
                "(without the batch axis; -1: any size)",
            )


def _compatible(one: Sequence[int], other: Sequence[int]) -> bool:
    return len(one) == len(other) and all(
        a == b or -1 in (a, b) for a, b in zip(one, other, strict=True)
    )
