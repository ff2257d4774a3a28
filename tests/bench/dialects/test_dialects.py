"""Each dialect: rows to a request, and what its answers mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from augury.bench.dialects.base import FAILED, OK, REFUSED, WRONG, Dialect, Input, Model
from augury.bench.dialects.native import NATIVE
from augury.bench.dialects.oip_v2 import OIP_V2
from augury.bench.dialects.raw import RAW_DIALECT
from augury.bench.dialects.registry import DIALECTS
from augury.bench.dialects.tf_v1 import TF_V1
from augury.bench.dialects.torchserve import TORCHSERVE
from augury.core.errors import OperatorError

TEXT = Model("m", (Input("text", "BYTES"),))
TEXT_1 = Model("m", (Input("text", "BYTES", (1,)),))
PAIR = Model("m", (Input("x", "FP32", (2,)), Input("k", "INT64")))


def _body(dialect: Dialect, rows: list[Any], model: Model = TEXT) -> Any:
    return json.loads(dialect.encode(rows, model).body)


def test_registry_knows_them() -> None:
    """Each is found by its own name."""
    assert [DIALECTS.get(name).name for name in DIALECTS.names()] == list(DIALECTS.names())


@pytest.mark.parametrize(
    ("dialect", "path"),
    [
        (NATIVE, "/api/models/a%2Fb/predict"),
        (OIP_V2, "/v2/models/a%2Fb/infer"),
        (TF_V1, "/v1/models/a%2Fb:predict"),
        (TORCHSERVE, "/predictions/a%2Fb"),
    ],
)
def test_paths_name_models_both_ways(dialect: Dialect, path: str) -> None:
    """A model's path, and the model of a path; no other dialect claims it."""
    assert dialect.path("a/b") == path
    assert dialect.model_of(path) == "a/b"
    claimed = [
        DIALECTS.get(name).name for name in DIALECTS.names() if DIALECTS.get(name).model_of(path)
    ]
    assert claimed == [dialect.name]
    assert dialect.model_of("/predict") is None


def test_native() -> None:
    """Rows as objects; a failed row among others makes the request fail with the row's code."""
    assert _body(NATIVE, [{"text": "a"}, {"text": "☔"}]) == {
        "rows": [{"text": "a"}, {"text": "☔"}]
    }
    assert NATIVE.judge(200, b'{"rows":[{"y":1},{"y":2}]}', 2).outcome == OK
    assert NATIVE.judge(200, b'{"rows":[{"y":1}]}', 2).outcome == WRONG
    row = {"error": {"status": 429, "code": "overloaded"}}
    told = NATIVE.judge(200, json.dumps({"rows": [{"y": 1}, row]}).encode(), 2)
    assert told == (REFUSED, "row 429 overloaded")
    assert NATIVE.judge(504, b'{"code":"deadline_exceeded"}', 1) == (
        FAILED,
        "504 deadline_exceeded",
    )
    assert NATIVE.rows_of(b'{"rows":[{"y":1}]}') == [{"y": 1}]
    assert NATIVE.deadline(0.1) == ("X-Request-Timeout", "0.1")


def test_oip_v2() -> None:
    """Columns with shapes, flat; a text input with an axis of 1 gets it; outputs come back as rows."""
    rows: list[Any] = [{"x": [1.5, 2], "k": 3}, {"x": [4, 5], "k": 6}]
    assert _body(OIP_V2, rows, PAIR)["inputs"] == [
        {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1.5, 2, 4, 5]},
        {"name": "k", "shape": [2], "datatype": "INT64", "data": [3, 6]},
    ]
    assert _body(OIP_V2, [{"text": "a"}])["inputs"][0]["shape"] == [1]
    assert _body(OIP_V2, [{"text": "a"}], TEXT_1)["inputs"][0]["shape"] == [1, 1]
    answer = {
        "outputs": [
            {"name": "y", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]},
            {"name": "n", "shape": [2], "datatype": "INT64", "data": [5, 6]},
        ]
    }
    body = json.dumps(answer).encode()
    assert OIP_V2.judge(200, body, 2).outcome == OK
    assert OIP_V2.judge(200, body, 1).outcome == WRONG
    assert OIP_V2.rows_of(body) == [{"y": [1, 2], "n": 5}, {"y": [3, 4], "n": 6}]
    answer["outputs"][0]["data"] = [[1, 2], [3, 4]]
    assert OIP_V2.rows_of(json.dumps(answer).encode())[1] == {"y": [3, 4], "n": 6}
    assert OIP_V2.judge(503, b'{"error":"x"}', 1) == (REFUSED, "503")


def test_oip_v2_timeout() -> None:
    """Triton's parameter, in microseconds."""
    body = json.loads(OIP_V2.with_timeout(0.1).encode([{"text": "a"}], TEXT).body)
    assert body["parameters"] == {"timeout": 100_000}


def test_oip_v2_says_what_it_cannot() -> None:
    """Rows of unlike shapes, a missing input, a server that tells no inputs."""
    with pytest.raises(OperatorError, match="differ in the shape of 'x'"):
        OIP_V2.encode([{"x": [1, 2], "k": 1}, {"x": [1], "k": 1}], PAIR)
    with pytest.raises(OperatorError, match="the model wants 'text'"):
        OIP_V2.encode([{"txt": "a"}], TEXT)
    with pytest.raises(OperatorError, match="does not tell the inputs"):
        OIP_V2.encode([{"text": "a"}], Model("m"))


def test_tf_v1() -> None:
    """A single input goes bare, several as objects."""
    assert _body(TF_V1, [{"text": "a"}, {"text": "b"}]) == {"instances": ["a", "b"]}
    row = {"x": [1, 2], "k": 3}
    assert _body(TF_V1, [row], PAIR) == {"instances": [row]}
    assert TF_V1.judge(200, b'{"predictions":[[0.1,0.9]]}', 1).outcome == OK
    assert TF_V1.judge(200, b'{"predictions":[]}', 1).outcome == WRONG
    assert TF_V1.judge(200, b'{"outputs":1}', 1).outcome == WRONG
    assert TF_V1.judge(429, b'{"error":"full"}', 1) == (REFUSED, "429")
    assert TF_V1.rows_of(b'{"predictions":[[1],[2]]}') == [[1], [2]]


def test_torchserve() -> None:
    """Text as it is, all else as JSON, one row a request."""
    assert TORCHSERVE.encode([{"text": "a ☔"}], TEXT) == (
        "text/plain; charset=utf-8",
        "a ☔".encode(),
    )
    assert _body(TORCHSERVE, [{"x": [1, 2], "k": 3}], PAIR) == {"x": [1, 2], "k": 3}
    with pytest.raises(OperatorError, match="--rows 1"):
        TORCHSERVE.encode([{"text": "a"}] * 2, TEXT)
    assert TORCHSERVE.judge(200, b"good", 1).outcome == OK
    assert TORCHSERVE.judge(503, b'{"code":503,"type":"x"}', 1) == (REFUSED, "503")
    assert TORCHSERVE.rows_of(b'{"good":0.9}') == [{"good": 0.9}]
    assert TORCHSERVE.rows_of(b"good") == ["good"]


def test_raw() -> None:
    """A line is a body; its first character tells whether it is JSON."""
    assert RAW_DIALECT.encode([{"raw": '{"a":1}'}], Model("")) == ("application/json", b'{"a":1}')
    assert RAW_DIALECT.encode([{"raw": "a b"}], Model("")).content_type.startswith("text/plain")
    assert RAW_DIALECT.encode([{"text": "a"}], Model("")).body == b'{"text":"a"}'
    assert RAW_DIALECT.judge(201, b"", 1).outcome == OK
    assert RAW_DIALECT.judge(404, b"", 1) == (FAILED, "404")
    with pytest.raises(OperatorError, match="whole URL"):
        RAW_DIALECT.path("m")
