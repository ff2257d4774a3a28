"""What goes into a model and what comes out: names, datatypes, shapes without the batch axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from augury.core.errors import InvalidInput, MissingInput, ShapeMismatch, UnknownInput, WrongType
from augury.core.tensor import NUMPY_DTYPES, Array, datatype_of


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    Args:
        name: As the model and its callers call it.
        datatype: The Open Inference Protocol's name ("FP32", "BYTES").
        shape: Sizes without the batch axis; ``-1`` stands for any.
        labels: Names along the last axis, when it has names (the classes of a classifier).
        description: One sentence for people; shown in the API's document.
    """

    name: str
    datatype: str
    shape: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    description: str = ""

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of *shape*, batch axis included, can be this tensor."""
        sizes = shape[1:]
        if sizes == self.shape:
            return len(shape) > 0
        if len(shape) != len(self.shape) + 1:
            return False
        return all(want in (-1, got) for got, want in zip(sizes, self.shape, strict=True))


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs of a model, in the model's order.

    Args:
        inputs: What goes in.
        outputs: What comes out.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    # What is derived from the signature once and kept with it, by whoever derives it: the dialects'
    # decoders.  No part of what it says.
    kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def input(self, name: str) -> TensorSpec | None:
        """The input called *name*, or ``None``."""
        return next((spec for spec in self.inputs if spec.name == name), None)

    def output(self, name: str) -> TensorSpec | None:
        """The output called *name*, or ``None``."""
        return next((spec for spec in self.outputs if spec.name == name), None)

    def validate(self, inputs: Mapping[str, Array]) -> int:
        """Check *inputs* against the signature.

        Returns:
            The number of rows, 1 or more.

        Raises:
            MissingInput: An input of the signature is not there.
            UnknownInput: An input that the signature does not have.
            WrongType: A dtype that is not the signature's.
            ShapeMismatch: A shape that is not the signature's.
            InvalidInput: No rows, or inputs of different row counts.
        """
        # With as many inputs as there are, one that is unknown leaves another one missing.
        if len(inputs) != len(self.inputs):
            self._refuse_unknown(inputs)
        rows = -1
        for spec in self.inputs:
            array = inputs.get(spec.name)
            if array is None:
                self._refuse_unknown(inputs)
                raise MissingInput(
                    f"input {spec.name!r} is missing; the model's inputs are: {self._input_names()}",
                    input=spec.name,
                )
            if array.dtype != NUMPY_DTYPES[spec.datatype]:
                raise WrongType(
                    f"input {spec.name!r} is {_told(array)}, the model wants {spec.datatype}",
                    input=spec.name,
                )
            if not spec.fits(array.shape):
                raise ShapeMismatch(input=spec.name, got=array.shape, want=(-1, *spec.shape))
            if rows != len(array) and rows != -1:
                raise InvalidInput(
                    f"input {spec.name!r} has {len(array)} rows, the inputs before it have {rows}",
                    input=spec.name,
                )
            rows = len(array)
        if rows < 1:
            raise InvalidInput("the request has no rows; send at least one")
        return rows

    def _refuse_unknown(self, inputs: Mapping[str, Array]) -> None:
        for name in inputs:
            if self.input(name) is None:
                raise UnknownInput(
                    f"unknown input {name!r}; the model's inputs are: {self._input_names()}",
                    input=name,
                )

    def _input_names(self) -> str:
        return ", ".join(spec.name for spec in self.inputs)


def _told(array: Array) -> str:
    """The dtype of *array* in the protocol's words if it has one of ours, else in numpy's."""
    if array.dtype in NUMPY_DTYPES.values():
        return datatype_of(array)
    return f"numpy's {array.dtype.str}"
