"""Rows of JSON to tensors and back; no I/O.

A row is an object with one member for each input.  BYTES are text, or ``{"b64": "…"}`` for bytes that
are none; numbers and nested lists are everything else.  A row that does not fit is told so on its own,
the others go on.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from augury.core.errors import (
    AuguryError,
    InvalidInput,
    MalformedBody,
    MissingInput,
    ShapeMismatch,
    UnknownInput,
    WrongType,
)
from augury.core.request import InferResponse
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import NUMPY_DTYPES, Array, bytes_column
from augury.protocols.native.errors import row_problem


class PredictBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a predict request."""

    rows: list[dict[str, Any]]
    parameters: dict[str, Any] = {}


_decoder: Final = msgspec.json.Decoder(PredictBody)
_encoder: Final = msgspec.json.Encoder()

# What JSON kinds of numpy's own reading may become which datatypes.
_KINDS: Final = {"BOOL": "b", "FP16": "iuf", "FP32": "iuf", "FP64": "iuf"}


@dataclass(slots=True)
class DecodedRows:
    """The rows of a request, good and bad.

    Args:
        inputs: Columns of the good rows.
        positions: For each of them, its place in the request.
        errors: Place in the request to what is wrong with the row.
        rows: Rows of the request.
    """

    inputs: dict[str, Array]
    positions: list[int]
    errors: dict[int, AuguryError] = field(default_factory=dict)
    rows: int = 0


def decode_body(body: bytes) -> PredictBody:
    """Read a request's JSON.

    Raises:
        MalformedBody: Not JSON, not UTF-8, or nested too deeply.
        WrongType: JSON of another form.
        InvalidInput: No rows.
    """
    try:
        decoded = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise WrongType(
            f'{error}; send {{"rows": [{{"<input>": <value>}}], "parameters": {{}}}}'
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(f"the body is not valid JSON: {error}") from None
    except RecursionError:
        raise MalformedBody("the body is not acceptable JSON: nested too deeply") from None
    if not decoded.rows:
        raise InvalidInput("'rows' is empty; send at least one row")
    return decoded


def decode_rows(rows: Sequence[dict[str, Any]], signature: Signature) -> DecodedRows:
    """Turn JSON *rows* into the columns that *signature* wants."""
    specs = signature.inputs
    decoded = DecodedRows({}, [], {}, len(rows))
    cells: list[list[Any]] = [[] for _ in specs]
    shapes: list[tuple[int, ...] | None] = [None] * len(specs)
    for position, row in enumerate(rows):
        try:
            values = [_cell(spec, row) for spec in specs]
            if len(row) != len(specs):
                raise _unknown(row, signature)
            for column, (spec, value) in enumerate(zip(specs, values, strict=True)):
                if spec.shape:
                    first = shapes[column] = shapes[column] or value.shape
                    if value.shape != first:
                        raise ShapeMismatch(input=spec.name, got=value.shape, want=first)
        except AuguryError as error:
            decoded.errors[position] = error
            continue
        decoded.positions.append(position)
        for column, value in enumerate(values):
            cells[column].append(value)
    if decoded.positions:
        for spec, column_cells in zip(specs, cells, strict=True):
            decoded.inputs[spec.name] = _column(spec, column_cells)
    return decoded


def encode_response(response: InferResponse, decoded: DecodedRows, signature: Signature) -> bytes:
    """The answer's JSON, rows in the order of the request."""
    return _encoder.encode(
        {
            "model": response.model,
            "version": str(response.version),
            "rows": encode_rows(response, decoded, signature),
            "timing": {
                "preprocess_ms": round(response.timing.preprocess_s * 1e3, 3),
                "queue_ms": round(response.timing.queue_s * 1e3, 3),
                "runtime_ms": round(response.timing.runtime_s * 1e3, 3),
                "total_ms": round(response.timing.total_s * 1e3, 3),
            },
        }
    )


def encode_rows(
    response: InferResponse, decoded: DecodedRows, signature: Signature
) -> list[dict[str, Any]]:
    """One object for each row of the request: its outputs, or its error."""
    names: list[str] = []
    columns: list[list[Any]] = []
    for spec in signature.outputs:
        array = response.outputs.get(spec.name)
        if array is not None:
            names.append(spec.name)
            columns.append(_values(spec, array))
    answered = {position: index for index, position in enumerate(decoded.positions)}
    rows = []
    for position in range(decoded.rows):
        error = decoded.errors.get(position)
        if error is None:
            index = answered[position]
            error = response.errors.get(index)
        if error is not None:
            rows.append({"error": row_problem(error)})
        else:
            rows.append({name: column[index] for name, column in zip(names, columns, strict=True)})
    return rows


def all_failed(response: InferResponse | None, decoded: DecodedRows) -> AuguryError | None:
    """The first row's error when no row has an answer, else ``None``."""
    failed = len(decoded.errors) + (len(response.errors) if response else 0)
    if failed < decoded.rows:
        return None
    if 0 in decoded.errors:
        return decoded.errors[0]
    assert response is not None  # noqa: S101 - row 0 failed, and not here
    return response.errors[0]


def _cell(spec: TensorSpec, row: dict[str, Any]) -> Any:
    """One input of one row: ``bytes`` for a BYTES scalar, else an array of the spec's shape."""
    try:
        value = row[spec.name]
    except KeyError:
        raise MissingInput(
            f"input {spec.name!r} is missing from the row", input=spec.name
        ) from None
    if spec.datatype == "BYTES":
        if not spec.shape:
            return _bytes(spec, value)
        array = np.array(value, dtype=object)
        flat = bytes_column([_bytes(spec, one) for one in array.flat])
        return _shaped(spec, flat.reshape(array.shape))
    try:
        raw = np.array(value)
    except ValueError:
        raise WrongType(
            f"input {spec.name!r} has lists of different length", input=spec.name
        ) from None
    if raw.size and raw.dtype.kind not in _KINDS.get(spec.datatype, "iu"):
        raise WrongType(
            f"input {spec.name!r} is {_kind(value)}, the model wants {spec.datatype}",
            input=spec.name,
        )
    return _shaped(spec, _cast(spec, raw))


def _cast(spec: TensorSpec, raw: Array) -> Array:
    dtype = NUMPY_DTYPES[spec.datatype]
    if dtype.kind in "iu" and raw.size:
        limits = np.iinfo(dtype)
        if raw.min() < limits.min or raw.max() > limits.max:
            raise InvalidInput(
                f"input {spec.name!r} holds a number outside {spec.datatype} "
                f"({limits.min} to {limits.max})",
                input=spec.name,
            )
    with np.errstate(over="ignore"):  # too large for FP16 or FP32 is infinity, as everywhere
        return raw.astype(dtype)


def _shaped(spec: TensorSpec, array: Array) -> Array:
    if not spec.fits((1, *array.shape)):
        raise ShapeMismatch(input=spec.name, got=(1, *array.shape), want=(-1, *spec.shape))
    return array


def _bytes(spec: TensorSpec, value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise InvalidInput(
                f"input {spec.name!r} holds a lone surrogate, which is no text; send valid Unicode",
                input=spec.name,
            ) from None
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error as error:
            raise InvalidInput(
                f"input {spec.name!r} is not base64: {error}", input=spec.name
            ) from None
    raise WrongType(
        f'input {spec.name!r} is {_kind(value)}, the model wants text (or {{"b64": "…"}})',
        input=spec.name,
    )


def _column(spec: TensorSpec, cells: list[Any]) -> Array:
    if spec.shape or spec.datatype != "BYTES":
        return np.stack(cells)
    return bytes_column(cells)


def _values(spec: TensorSpec, array: Array) -> list[Any]:
    if spec.datatype == "BYTES":
        return [_texts(value) for value in array]
    values: list[Any] = array.tolist()
    if spec.labels and array.ndim == 2:
        return [dict(zip(spec.labels, row, strict=True)) for row in values]
    return values


def _texts(value: Any) -> Any:
    if not isinstance(value, bytes):
        return [_texts(one) for one in value]
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _unknown(row: dict[str, Any], signature: Signature) -> UnknownInput:
    known = [spec.name for spec in signature.inputs]
    name = next(name for name in row if name not in known)
    return UnknownInput(
        f"unknown input {name[:100]!r}; the model's inputs are: {', '.join(known)}",
        input=name[:100],
    )


def _kind(value: Any) -> str:
    """What *value* is, in JSON's words; never its content."""
    kinds = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return "null" if value is None else kinds.get(type(value), "an object")
