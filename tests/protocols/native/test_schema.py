"""Models in the OpenAPI document."""

from __future__ import annotations

from typing import Any

import pytest

from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import DATATYPES
from augury.protocols.native.schema import answer_schema, row_schema
from tests.application import InProcess


def row(*specs: TensorSpec) -> Any:
    return row_schema(Signature(specs, ()))["properties"]


def answered(*specs: TensorSpec) -> Any:
    return answer_schema(Signature((), specs))["anyOf"][0]["properties"]


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_has_a_schema(datatype: str) -> None:
    """No datatype is left without a type."""
    schema = row(TensorSpec("x", datatype))["x"]
    assert "type" in schema or "anyOf" in schema


def test_integers_tell_their_limits() -> None:
    """A caller sees what fits."""
    assert row(TensorSpec("x", "INT8"))["x"] == {"type": "integer", "minimum": -128, "maximum": 127}
    assert row(TensorSpec("x", "UINT64"))["x"]["maximum"] == 2**64 - 1


def test_shapes_are_nested_arrays() -> None:
    """Fixed sizes are told, open ones are not."""
    schema = row(TensorSpec("x", "FP32", (-1, 3), description="A path."))["x"]
    assert schema == {
        "type": "array",
        "items": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3},
        "description": "A path.",
    }


def test_bytes_are_text_or_base64() -> None:
    """Both forms that the codec takes and gives are told."""
    text, base64 = row(TensorSpec("x", "BYTES"))["x"]["anyOf"]
    assert text == {"type": "string"}
    assert base64["required"] == ["b64"]


def test_numbers_that_are_answered_may_be_null() -> None:
    """NaN is null in JSON; a request has no such thing."""
    assert answered(TensorSpec("y", "FP32"))["y"] == {"type": ["number", "null"]}
    assert row(TensorSpec("x", "FP32"))["x"] == {"type": "number"}


def test_labels_are_members_of_answers_only() -> None:
    """A labelled output is an object; a labelled input is a list, as the codec wants it."""
    spec = TensorSpec("x", "FP32", (2,), ("bad", "good"))
    assert answered(spec)["x"]["required"] == ["bad", "good"]
    assert row(spec)["x"]["type"] == "array"


async def test_every_target_is_a_path_of_its_own(served: InProcess) -> None:
    """Model, versions and labels; the names are written as they are asked for."""
    document = (await served.client.get("/openapi.json")).json()
    predict = {path: item for path, item in document["paths"].items() if path.endswith("/predict")}
    assert sorted(predict) == [
        "/api/models/mood/labels/50%2525/predict",
        "/api/models/mood/labels/stable/predict",
        "/api/models/mood/labels/tr%C3%A8s%20new/predict",
        "/api/models/mood/predict",
        "/api/models/mood/versions/1/predict",
        "/api/models/mood/versions/2/predict",
        "/api/models/picky/predict",
        "/api/models/picky/versions/1/predict",
        "/api/models/spin/predict",
        "/api/models/spin/versions/1/predict",
    ]
    for path, item in predict.items():
        content = item["post"]["requestBody"]["content"]["application/json"]
        example = content.get("example")
        if example is not None:
            response = await served.client.post(path, json=example)
            assert response.status_code == 200, path


async def test_a_model_is_typed_from_its_signature(served: InProcess) -> None:
    """Inputs, labels and the example stand in the document."""
    document = (await served.client.get("/openapi.json")).json()
    post = document["paths"]["/api/models/mood/predict"]["post"]
    content = post["requestBody"]["content"]["application/json"]
    items = content["schema"]["properties"]["rows"]["items"]
    assert items["required"] == ["text"]
    assert items["additionalProperties"] is False
    assert content["example"] == {"rows": [{"text": "good night"}]}
    rows = post["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["rows"]
    scores = rows["items"]["anyOf"][0]["properties"]["scores"]
    assert scores["required"] == ["bad", "good"]
    assert post["description"] == "Says whether a text is good."
    assert {"400", "404", "413", "429", "503", "504"} <= set(post["responses"])
