"""The package's own examples: its first test, and its warm-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np

from augury.batching.merge import merge_columns
from augury.core.errors import AuguryError, InvalidInput
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import NUMPY_DTYPES, Array, Columns, bytes_column
from augury.packages.manifest import ExampleTable
from augury.packages.reader import ModelPackage
from augury.pipeline.joining import Joins
from augury.pipeline.transforms.base import Batch

# Kinds of numpy's own reading that may become a datatype; integers alone become the others.
_KINDS: Final = {"BOOL": "b", "FP16": "iuf", "FP32": "iuf", "FP64": "iuf"}


class Answering(Protocol):
    """What is needed of a servable to run its examples without a queue."""

    signature: Signature

    joins: Joins | None

    @property
    def package(self) -> ModelPackage:
        """What it was loaded from."""

    def preprocess(
        self, inputs: Mapping[str, Array], rows: int, parameters: Mapping[str, Any]
    ) -> Batch:
        """The steps before the model."""

    def run_batch(
        self, inputs: dict[str, Array], rows: int
    ) -> tuple[dict[str, Array], dict[int, AuguryError]]:
        """The model and the steps after it."""


def column_from_values(spec: TensorSpec, values: list[Any]) -> Array:
    """TOML or JSON *values*, one for each row, as the column that *spec* describes.

    Raises:
        InvalidInput: They are not of the datatype.
    """
    try:
        raw = np.array(values, dtype=object if spec.datatype == "BYTES" else None)
    except ValueError:
        raise InvalidInput(f"{spec.name!r} has lists of different length") from None
    if spec.datatype == "BYTES":
        for value in raw.flat:
            if not isinstance(value, str):
                raise InvalidInput(f"{spec.name!r} holds {value!r}, BYTES are written as text")
        return bytes_column([value.encode() for value in raw.flat]).reshape(raw.shape)
    # numpy would cut 1.7 to the integer 1, and take the text "1.5" for a number.
    if raw.size and raw.dtype.kind not in _KINDS.get(spec.datatype, "iu"):
        raise InvalidInput(f"{spec.name!r} is not {spec.datatype}: {_show(raw)}")
    try:
        with np.errstate(over="ignore"):  # too large for FP16 or FP32 is infinity, as everywhere
            return np.asarray(values, dtype=NUMPY_DTYPES[spec.datatype])
    except OverflowError as error:
        raise InvalidInput(f"{spec.name!r} is not {spec.datatype}: {error}") from None


def run_examples(servable: Answering) -> list[str]:
    """Run every example.

    Returns:
        One sentence for each fault, naming the example; empty when all is well.
    """
    faults = []
    for position, example in enumerate(servable.package.manifest.examples):
        try:
            fault = _run_example(servable, example)
        except AuguryError as error:
            fault = error.message
        if fault:
            faults.append(f"example {position + 1}: {fault}")
    return faults


def example_inputs(servable: Answering, example: ExampleTable) -> tuple[dict[str, Array], int]:
    """The inputs of *example* as the model's steps see them, and the number of rows.

    An example of a model that joins features states the joined inputs themselves, since there is no
    store when a package is checked.  What only tells the entity may be stated too, for the API's
    document; it is of no use here.

    Raises:
        InvalidInput: An unknown input, one that is missing, or values that do not fit.
    """
    specs = {spec.name: spec for spec in servable.signature.inputs}
    joins = servable.joins
    if joins is not None:
        known = {spec.name: spec for spec in joins.native.inputs}
        for name in joins.joined:
            specs[name] = known.get(name) or _spec_of(name, example.inputs.get(name, []))
    inputs: dict[str, Array] = {}
    for name, values in example.inputs.items():
        spec = specs.get(name)
        if spec is None:
            there = ", ".join(specs)
            raise InvalidInput(f"unknown input {name!r}; the model's inputs are: {there}")
        inputs[name] = column_from_values(spec, values)
    if joins is not None:
        inputs = joins.model_inputs(inputs)
        for name in joins.spent - inputs.keys():
            del specs[name]
    return inputs, Signature(tuple(specs.values()), ()).validate(inputs)


def example_columns(servable: Answering) -> Columns:
    """The rows of the first example, preprocessed; all examples have run without a fault."""
    example = servable.package.manifest.examples[0]
    return servable.preprocess(*example_inputs(servable, example), {}).columns


def _spec_of(name: str, values: list[Any]) -> TensorSpec:
    """What a joined input for the steps before the model looks like: told by its values alone."""
    first: Any = values[0] if values else 0
    shape = np.shape(first)
    while isinstance(first, list) and first:
        first = first[0]
    kinds = {str: "BYTES", bool: "BOOL", float: "FP32"}
    return TensorSpec(name, kinds.get(type(first), "INT64"), shape)


def _run_example(servable: Answering, example: ExampleTable) -> str:
    """What is wrong with the answer to *example*, or an empty text."""
    signature = servable.signature
    inputs, rows = example_inputs(servable, example)
    batch = servable.preprocess(inputs, rows, {})
    if batch.errors:
        row, error = next(iter(batch.errors.items()))
        return f"row {row + 1} is refused: {error.message}"
    outputs, errors = servable.run_batch(merge_columns([batch.columns]), rows)
    if errors:
        row, error = next(iter(errors.items()))
        return f"row {row + 1} is refused: {error.message}"
    for name, values in example.outputs.items():
        spec = signature.output(name)
        if spec is None:
            known = ", ".join(spec.name for spec in signature.outputs)
            return f"unknown output {name!r}; the model's outputs are: {known}"
        want = column_from_values(spec, values)
        got = outputs[name]
        if want.shape != got.shape:
            return (
                f"output {name!r} has shape {list(got.shape)}, the example says {list(want.shape)}"
            )
        if not _equal(got, want, example.atol):
            return f"output {name!r} is {_show(got)}, the example says {_show(want)}"
    return ""


def _equal(got: Array, want: Array, atol: float) -> bool:
    if got.dtype.kind == "f":
        return bool(np.allclose(got, want, rtol=0.0, atol=atol, equal_nan=True))
    return bool(np.array_equal(got, want))


def _show(array: Array) -> str:
    if array.dtype == object:
        texts = (
            one.decode(errors="replace") if isinstance(one, bytes) else one for one in array.flat
        )
        return str(list(texts))
    return str(array.tolist())
