"""Everything that is wrong with a model or a repository, found without serving it.

Reads each version, loads it as the server would, and runs its examples.  A fault never ends the
search: what can still be looked at is looked at, and the next model too.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from augury.app.local.selection import NO_VERSION
from augury.batching.merge import merge_columns
from augury.core.clock import SystemClock
from augury.core.errors import AuguryError, InvalidPackage, NotFound
from augury.core.tensor import datatype_of
from augury.features.tables import FeatureTable
from augury.observe.metrics import Metrics
from augury.packages.manifest import Manifest, TransformTable
from augury.packages.reader import (
    MANIFEST_NAME,
    MODEL_FILES,
    ManifestFiles,
    ModelPackage,
    available_versions,
    find_model_file,
    is_model_name,
    parse_version,
    read_manifest_files,
    read_provenance,
)
from augury.pipeline.agreement import signature_faults, table_faults
from augury.pipeline.examples import example_inputs, run_examples
from augury.pipeline.servable import ModelServable
from augury.pipeline.transforms.registry import TRANSFORMS
from augury.runtimes.base import RuntimeOptions
from augury.runtimes.registry import RUNTIMES

Tables = Mapping[str, FeatureTable]

_EXAMPLE: Final = re.compile(r"example (\d+): ")


@dataclass(slots=True)
class ModelReport:
    """What was found of one model.

    Args:
        name: The model, or an empty text for the repository itself.
        path: Its folder.
        versions: Those that were looked at.
        examples: Examples that were run, over all versions.
        faults: What keeps it from being served as it says; each once.
        warnings: What it can be served with, but a person may not have meant.
    """

    name: str
    path: Path
    versions: list[int] = field(default_factory=list)
    examples: int = 0
    faults: list[InvalidPackage] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, *faults: InvalidPackage) -> None:
        """Take *faults* over, but for those that another version had too."""
        known = {fault.message for fault in self.faults}
        self.faults += [fault for fault in faults if fault.message not in known]


def inspect_path(
    path: Path, on_step: Callable[[str], None], tables: Tables | None = None
) -> Iterator[ModelReport]:
    """Look at a repository, a model's folder or a version's.

    Args:
        path: The folder.
        on_step: Told what is looked at next.
        tables: The feature tables of a store, with which ``[features]`` is compared; ``None``: no
            store was given.

    Yields:
        A report for each model, and a last one for a repository if there is something to say of it.
    """
    if not path.name.strip("."):
        path = path.resolve()  # a model is called by its folder's name, which `.` hides
    version = parse_version(path.name)
    if available_versions(path):
        if _holds_models(path):
            yield from _inspect_repository(path, on_step, tables)
        else:
            yield _inspect_model(path, None, on_step, tables)
    elif version is not None and not _holds_models(path):
        yield _inspect_model(path.parent, version, on_step, tables)
    elif _is_package(path):
        yield _inspect_model(path, None, on_step, tables)
    else:
        yield from _inspect_repository(path, on_step, tables)


def _holds_models(path: Path) -> bool:
    return any(available_versions(folder) for folder in _folders(path))


def _is_package(path: Path) -> bool:
    return any((path / name).exists() for name in (MANIFEST_NAME, *MODEL_FILES))


def _folders(path: Path) -> list[Path]:
    return [entry for entry in sorted(path.iterdir()) if entry.is_dir()]


def _inspect_repository(
    path: Path, on_step: Callable[[str], None], tables: Tables | None
) -> Iterator[ModelReport]:
    own = ModelReport("", path)
    found = 0
    for folder in _folders(path):
        if folder.name.startswith("."):
            own.warnings.append(f"{folder}: ignored, its name starts with a dot")
        elif not is_model_name(folder.name):
            own.warnings.append(f"{folder}: ignored, not a model's name")
        elif not available_versions(folder) and not _is_package(folder):
            own.warnings.append(f"{folder}: ignored, it holds no version")
        else:
            found += 1
            yield _inspect_model(folder, None, on_step, tables)
    if not found:
        own.add(
            InvalidPackage(
                "holds no model; a repository is NAME/VERSION/model.onnx", path=str(path)
            )
        )
    if own.faults or own.warnings:
        yield own


def _inspect_model(
    path: Path, only: int | None, on_step: Callable[[str], None], tables: Tables | None
) -> ModelReport:
    report = ModelReport(path.name, path)
    if not is_model_name(path.name):
        report.add(
            InvalidPackage(
                f"{path.name!r} is not a model's name: letters, digits, '.', '_' and '-', a letter "
                "or digit first, 128 at most",
                path=str(path),
            )
        )
    available = available_versions(path)
    versions = available if only is None else [only]
    if only is None:
        for folder in _folders(path):
            if folder.name.startswith("."):
                report.warnings.append(f"{folder}: ignored, its name starts with a dot")
            elif parse_version(folder.name) is None:
                report.warnings.append(f"{folder}: ignored, a version is a plain positive integer")
    if not versions:
        report.add(InvalidPackage(NO_VERSION, path=str(path)))
    files = read_manifest_files(path)
    report.add(*files.faults())
    if not files.faults():
        report.add(*_version_faults(files, available))
    for version in versions:
        on_step(f"{path.name} {version}")
        report.versions.append(version)
        _inspect_version(report, version, tables)
    report.faults.sort(key=lambda fault: (fault.details["path"], fault.details["line"] or 0))
    return report


def _version_faults(files: ManifestFiles, available: Sequence[int]) -> Iterator[InvalidPackage]:
    table = files.manifest().versions
    there = ", ".join(map(str, available)) or "none"
    for label, version in table.labels.items():
        if version not in available:
            yield files.fault(
                ("versions", "labels", label), f"no version {version}; here are: {there}"
            )
    for version in table.specific:
        if version not in available:
            yield files.fault(("versions", "specific"), f"no version {version}; here are: {there}")


def _inspect_version(report: ModelReport, version: int, tables: Tables | None) -> None:
    files = read_manifest_files(report.path, version)
    path = report.path / str(version)
    faults = files.faults()
    report.add(*faults)
    provenance = {}
    try:
        provenance = read_provenance(path)
    except InvalidPackage as error:
        report.add(error)
    # A faulty manifest does not hide a model file that is missing or broken.
    manifest = Manifest() if faults else files.manifest()
    try:
        model_file, runtime = find_model_file(path, manifest)
    except InvalidPackage as error:
        report.add(error)
        return
    package = ModelPackage(
        report.path.name, version, path, model_file, runtime, manifest, provenance
    )
    options = list(_option_faults(files, manifest))
    report.add(*options)
    if faults or options:
        _try(report, package, lambda: _load_alone(package))
        return
    if not manifest.description:
        _warn(report, f'{files.locate(())[0]}: no description; add description = "…"')
    if not manifest.examples:
        _warn(
            report,
            f"{files.locate(())[0]}: no examples; add [[examples]], which are run here and as warm-up",
        )
    for name in manifest.features:
        where = files.locate(("features", name))[0]
        if tables is None:
            _warn(
                report,
                f"{where}: features.{name} is not compared with the table; name its store with --store",
            )
        elif name not in tables:
            _warn(
                report,
                f"{where}: feature table {name!r} is not defined in the store; until it is, requests "
                "fail with 502",
            )
    _try(report, package, lambda: asyncio.run(_load_and_ask(report, package, files, tables or {})))


def _warn(report: ModelReport, warning: str) -> None:
    if warning not in report.warnings:
        report.warnings.append(warning)


def _try(report: ModelReport, package: ModelPackage, step: Callable[[], None]) -> None:
    try:
        step()
    except InvalidPackage as error:
        report.add(error)
    except AuguryError as error:
        report.add(InvalidPackage(error.message, path=str(package.path)))
    except Exception as error:  # noqa: BLE001 - a model may raise anything; the search goes on
        what = f"loading it raised {type(error).__name__}: {error}"
        report.add(InvalidPackage(what, path=str(package.model_file)))


def _load_alone(package: ModelPackage) -> None:
    """Only see whether the model file loads."""
    RUNTIMES.get(package.runtime)(package.model_file, RuntimeOptions(1, 1)).close()


async def _load_and_ask(
    report: ModelReport, package: ModelPackage, files: ManifestFiles, tables: Tables
) -> None:
    """Load the version as the server does, and compare what it does with what it says."""
    servable = ModelServable(package, 0, clock=SystemClock(), metrics=Metrics())
    try:
        faults = list(signature_faults(files, package.manifest, servable.native))
        faults += table_faults(files, package.manifest, servable.native, tables)
        report.add(*faults)
        if package.manifest.examples:
            report.examples += len(package.manifest.examples)
            failed = [_example_fault(files, fault) for fault in run_examples(servable)]
            report.add(*failed)
            if not failed and not faults:
                report.add(*_output_faults(files, servable))
        elif not faults:
            servable.warm_up()
    finally:
        await servable.close()


def _option_faults(files: ManifestFiles, manifest: Manifest) -> Iterator[InvalidPackage]:
    """Unknown transforms, and options that they do not take."""
    lists: dict[str, Sequence[TransformTable]] = {
        "preprocess": manifest.preprocess,
        "postprocess": manifest.postprocess,
    }
    for where, tables in lists.items():
        for position, table in enumerate(tables):
            key = (where, position)
            try:
                TRANSFORMS.get(table.use).Options.model_validate(table.options)
            except NotFound as error:
                yield files.fault((*key, "use"), error.message)
            except ValidationError as error:
                for detail in error.errors():
                    message = detail["msg"].removeprefix("Value error, ")
                    if detail["type"] == "extra_forbidden":
                        message = f"unknown option of {table.use!r}"
                    yield files.fault((*key, *detail["loc"]), message)


def _example_fault(files: ManifestFiles, fault: str) -> InvalidPackage:
    number = _EXAMPLE.match(fault)
    if number is None:
        return files.fault(("examples",), fault)
    return files.fault(("examples", int(number[1]) - 1), fault[number.end() :])


def _output_faults(files: ManifestFiles, servable: ModelServable) -> Iterator[InvalidPackage]:
    """Where the answer to the first example is not what ``[signature.outputs]`` promises."""
    example = servable.package.manifest.examples[0]
    inputs, rows = example_inputs(servable, example)
    batch = servable.preprocess(inputs, rows, {})
    outputs, _ = servable.run_batch(merge_columns([batch.columns]), rows)
    for spec in servable.signature.outputs:
        key = ("signature", "outputs", spec.name)
        array = outputs[spec.name]
        if datatype_of(array) != spec.datatype:
            yield files.fault((*key, "dtype"), f"{spec.datatype}, but it is {datatype_of(array)}")
        if not spec.fits(array.shape):
            yield files.fault(
                (*key, "shape"),
                f"{list(spec.shape)}, but it is {list(array.shape[1:])} (without the batch axis)",
            )
