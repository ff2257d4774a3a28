"""The predict routes in the OpenAPI document, typed from each model's signature and example."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from augury.core.signature import Signature, TensorSpec
from augury.lifecycle.harness import State
from augury.lifecycle.manager import Manager
from augury.pipeline.servable import ModelServable
from augury.protocols.native.models import example_row
from augury.protocols.native.routes import PREFIX, SUFFIX

Schema = dict[str, Any]

_INTEGERS: Final = {
    "UINT8": (0, 2**8 - 1),
    "UINT16": (0, 2**16 - 1),
    "UINT32": (0, 2**32 - 1),
    "UINT64": (0, 2**64 - 1),
    "INT8": (-(2**7), 2**7 - 1),
    "INT16": (-(2**15), 2**15 - 1),
    "INT32": (-(2**31), 2**31 - 1),
    "INT64": (-(2**63), 2**63 - 1),
}

_BASE64: Final[Schema] = {
    "title": "Bytes that are no text",
    "type": "object",
    "required": ["b64"],
    "additionalProperties": False,
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
}

PROBLEM_SCHEMA: Final[Schema] = {
    "title": "Problem",
    "description": "An error, as RFC 9457 has it.",
    "type": "object",
    "required": ["title", "status", "detail", "code", "retryable"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:augury:error:model_not_found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what to do."},
        "code": {"type": "string", "description": "Stable; programs may switch on it."},
        "retryable": {"type": "boolean"},
    },
}

# The content of every error response.
PROBLEM: Final[Schema] = {
    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
}


def predict_paths(manager: Manager) -> dict[str, Schema]:
    """OpenAPI path items for the predict routes of all ready versions."""
    paths: dict[str, Schema] = {}
    for name in manager.models():
        default = manager.default_version(name)
        for harness in manager.versions(name):
            servable = harness.servable
            if harness.state is not State.READY or not isinstance(servable, ModelServable):
                continue
            targets = [f"{name}/versions/{harness.version}"]
            if harness.version == default:
                targets.insert(0, name)
            targets += [
                f"{name}/labels/{quote(label, safe='')}"
                for label, version in manager.labels(name).items()
                if version == harness.version
            ]
            for target in targets:
                paths[f"{PREFIX}{target}{SUFFIX}"] = _path(servable, target)
    return paths


def row_schema(signature: Signature) -> Schema:
    """JSON schema of one row of a request."""
    return {
        "type": "object",
        "required": [spec.name for spec in signature.inputs],
        "additionalProperties": False,
        "properties": {spec.name: _tensor(spec, output=False) for spec in signature.inputs},
    }


def answer_schema(signature: Signature) -> Schema:
    """JSON schema of one row of an answer: the outputs, or an error."""
    outputs = {
        "title": "Answered row",
        "type": "object",
        "required": [spec.name for spec in signature.outputs],
        "properties": {spec.name: _tensor(spec, output=True) for spec in signature.outputs},
    }
    failed = {
        "title": "Failed row",
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"$ref": "#/components/schemas/Problem"}},
    }
    return {"anyOf": [outputs, failed]}


def _path(servable: ModelServable, target: str) -> Schema:
    name, version = servable.package.name, servable.package.version
    row = example_row(servable)
    request: Schema = {
        "type": "object",
        "required": ["rows"],
        "additionalProperties": False,
        "properties": {
            "rows": {"type": "array", "minItems": 1, "items": row_schema(servable.signature)},
            "parameters": {"type": "object", "description": "For the model's transforms."},
        },
    }
    response: Schema = {
        "type": "object",
        "required": ["model", "version", "rows", "timing"],
        "properties": {
            "model": {"type": "string", "const": name},
            "version": {"type": "string"},
            "rows": {"type": "array", "items": answer_schema(servable.signature)},
            "timing": {
                "type": "object",
                "description": "Where the time went, in milliseconds.",
                "properties": {
                    key: {"type": "number"}
                    for key in ("preprocess_ms", "queue_ms", "runtime_ms", "total_ms")
                },
            },
        },
    }
    content: Schema = {"schema": request}
    if row:
        content["example"] = {"rows": [row]}
    problems = {
        "400": "Malformed JSON, or no row fits the signature",
        "404": "No such model, version or label",
        "413": "The body or a row is too large",
        "429": "The model's queue is full; see Retry-After",
        "503": "The model is not ready",
        "504": "No answer within X-Request-Timeout",
    }
    return {
        "post": {
            "tags": [name],
            "summary": f"Predict with {name}",
            "description": servable.package.manifest.description
            or f"Rows in, rows out; version {version}.",
            # As it stands in the path: no two targets have the same.
            "operationId": f"predict/{target}",
            "parameters": [
                {
                    "name": "X-Request-Timeout",
                    "in": "header",
                    "required": False,
                    "description": "Seconds after which the answer is of no use.",
                    "schema": {"type": "number", "exclusiveMinimum": 0},
                }
            ],
            "requestBody": {"required": True, "content": {"application/json": content}},
            "responses": {
                "200": {
                    "description": "One answer or error for each row, in the order of the request",
                    "content": {"application/json": {"schema": response}},
                },
                **{
                    status: {
                        "description": text,
                        "content": PROBLEM,
                    }
                    for status, text in problems.items()
                },
            },
        }
    }


def _tensor(spec: TensorSpec, *, output: bool) -> Schema:
    schema = _scalar(spec.datatype, output=output)
    shape = spec.shape
    # Only answers are told by label; requests are lists, whatever the axis means.
    if output and spec.labels and len(shape) == 1 and spec.datatype != "BYTES":
        schema = {
            "type": "object",
            "required": list(spec.labels),
            "properties": {label: dict(schema) for label in spec.labels},
        }
        shape = ()
    for size in reversed(shape):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    if spec.description:
        schema["description"] = spec.description
    return schema


def _scalar(datatype: str, *, output: bool) -> Schema:
    if datatype == "BYTES":
        return {"anyOf": [{"type": "string"}, _BASE64]}
    if datatype == "BOOL":
        return {"type": "boolean"}
    if datatype in _INTEGERS:
        low, high = _INTEGERS[datatype]
        return {"type": "integer", "minimum": low, "maximum": high}
    # JSON has no NaN and no infinity: a model that answers them is told as null.
    return {"type": ["number", "null"]} if output else {"type": "number"}
