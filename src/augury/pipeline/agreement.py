"""Whether ``[signature]`` and ``[features]`` in ``model.toml`` agree with the model file.

The signature only where nothing stands between them: with ``[[preprocess]]`` the callers' inputs are others than the
file's, and with ``[[postprocess]]`` the outputs are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from augury.core.errors import InvalidPackage
from augury.core.signature import Signature, TensorSpec
from augury.features.tables import FeatureTable, is_table_name
from augury.packages.manifest import Manifest
from augury.packages.reader import ManifestFiles
from augury.pipeline.joining import Join, Joins, can_be_entity, joins_of, misfits


def signature_faults(
    files: ManifestFiles, manifest: Manifest, native: Signature
) -> Iterator[InvalidPackage]:
    """Every contradiction between *manifest* and the *native* signature, with file and line."""
    declared = manifest.signature.signature(native)
    joins = joins_of(manifest, native)
    if joins is not None:
        yield from _feature_faults(files, manifest, declared, joins)
    if manifest.signature.inputs and not manifest.preprocess:
        passed = [spec for spec in declared.inputs if joins is None or spec.name not in joins.spent]
        yield from _spec_faults(files, "inputs", passed, native.inputs)
        for spec in native.inputs:
            if declared.input(spec.name) is None and (
                joins is None or spec.name not in joins.joined
            ):
                yield files.fault(
                    ("signature", "inputs"), f"the model file's input {spec.name!r} is missing"
                )
    if manifest.signature.outputs and not manifest.postprocess:
        yield from _spec_faults(files, "outputs", declared.outputs, native.outputs)


def table_faults(
    files: ManifestFiles,
    manifest: Manifest,
    native: Signature,
    tables: Mapping[str, FeatureTable],
) -> Iterator[InvalidPackage]:
    """Where ``[features]`` and the feature *tables* contradict each other, with file and line."""
    callers = manifest.signature.signature(native)
    for name, described in manifest.features.items():
        table = tables.get(name)
        if table is not None:
            for key, message in misfits(Join.of(name, described), table, callers, native):
                yield files.fault(("features", name, *key), message)


def _feature_faults(
    files: ManifestFiles, manifest: Manifest, declared: Signature, joins: Joins
) -> Iterator[InvalidPackage]:
    becomes: dict[str, str] = {}
    for name, table in manifest.features.items():
        if not is_table_name(name):
            yield files.fault(("features", name), "no feature table can be called so")
        for key, carrier in table.entity.items():
            spec = declared.input(carrier)
            at = ("features", name, "entity", key)
            if spec is None:
                there = ", ".join(one.name for one in declared.inputs)
                yield files.fault(
                    at,
                    f"input {carrier!r} is not declared in [signature.inputs.{carrier}]; "
                    f"declared are: {there}",
                )
            elif not can_be_entity(spec):
                yield files.fault(
                    at,
                    f"input {carrier!r} is {spec.datatype}{list(spec.shape)}; what tells an entity is "
                    "an integer or BYTES, one for each row",
                )
        for feature, wanted in table.inputs.items():
            at = ("features", name, "inputs", feature)
            if declared.input(wanted) is not None:
                yield files.fault(
                    at,
                    f"input {wanted!r} is declared in [signature.inputs], as one that callers send; "
                    "what is joined is not declared there",
                )
            elif wanted in becomes:
                yield files.fault(at, f"input {wanted!r} comes from {becomes[wanted]} already")
            elif joins.native.input(wanted) is None and not manifest.preprocess:
                there = ", ".join(one.name for one in joins.native.inputs)
                yield files.fault(at, f"the model file has no input {wanted!r}; it has: {there}")
            becomes.setdefault(wanted, f"{name}.{feature}")


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
