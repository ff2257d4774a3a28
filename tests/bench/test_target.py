"""A URL tells dialect and model."""

from __future__ import annotations

import pytest

from augury.bench.load.wire import encode_request
from augury.bench.target import exchange, find_target, words_of
from augury.core.errors import NotFound, OperatorError
from tests.bench.servers import answer, echo, serving


async def _all(number: int, path: str, body: bytes) -> bytes | None:
    if path == "/v2/models/m":
        return answer(
            {
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
                "outputs": [{"name": "y"}],
            }
        )
    if path == "/v1/models/m":
        return answer({"model_version_status": [{"state": "AVAILABLE"}]})
    if path == "/v1/models/broken":
        return answer({"error": "out of order"}, 500)
    if path.startswith("/api"):
        return await echo(number, path, body)
    return answer({}, 404)


@pytest.mark.parametrize(
    ("path", "dialect", "model", "asked"),
    [
        ("", "native", "m", "/api/models/m/predict"),
        ("/api/models/m/predict", "native", "m", "/api/models/m/predict"),
        ("/v2/models/m/infer", "oip-v2", "m", "/v2/models/m/infer"),
        ("/v1/models/m:predict", "tf-v1", "m", "/v1/models/m:predict"),
        ("/predictions/m", "torchserve", "m", "/predictions/m"),
        ("/predict?x=1", "raw", "", "/predict?x=1"),
    ],
)
def test_urls(path: str, dialect: str, model: str, asked: str) -> None:
    """With the path of a dialect, with any other, and with none."""
    with serving(_all) as server:
        target = find_target(server.url + path)
    assert (target.dialect.name, target.model.name, target.path) == (dialect, model, asked)


def test_dialect_and_model_by_name() -> None:
    """Where the URL has no path."""
    with serving(_all) as server:
        target = find_target(server.url, dialect="oip-v2", model="m")
        assert target.path == "/v2/models/m/infer"
        assert target.model.inputs[0].shape == (4,)
        assert target.model.outputs == ("y",)
        with pytest.raises(OperatorError, match="needs a model"):
            find_target(server.url, dialect="tf-v1")
        with pytest.raises(OperatorError, match="no model 'other'"):
            find_target(server.url, dialect="oip-v2", model="other")
        with pytest.raises(OperatorError, match="500 out of order"):
            find_target(server.url, dialect="tf-v1", model="broken")
        with pytest.raises(NotFound, match="no dialect 'x'; here are: native, oip-v2"):
            find_target(server.url, dialect="x")


@pytest.mark.parametrize("url", ["https://h/", "ftp://h", "http://", "h:1", "http://h:99999"])
def test_urls_that_are_none(url: str) -> None:
    """They are named."""
    with pytest.raises(OperatorError, match=r"is no http|has no valid port"):
        find_target(url)


def test_urls_are_shown_without_secrets() -> None:
    """Values of a query are left out of what reports show; a user or password is refused, and not repeated."""
    with serving(_all) as server:
        target = find_target(server.url + "/predict?key=geheim&alone")
    assert target.path == "/predict?key=geheim&alone"
    assert target.shown_path == "/predict?key=…&…"
    assert target.url == server.url + "/predict?key=…&…"
    for url in ("http://me:geheim@h/", "https://me:geheim@h/", "https://h/?key=geheim"):
        with pytest.raises(OperatorError) as error:
            find_target(url)
        assert "geheim" not in error.value.message


def test_the_first_answer_is_bounded() -> None:
    """In time, however busily the server drips, and in size."""
    drips = b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n"

    async def endless(number: int, path: str, body: bytes) -> bytes | None:
        if body == b"{}":
            return drips + b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        return await _all(number, path, body)

    with serving(endless) as server:
        target = find_target(server.url)
        request = encode_request("/p", "h", [], b"{}")
        with pytest.raises(OperatorError, match=r"no whole answer from .* within 0\.5 s"):
            exchange(target, request, within_s=0.5)
        with pytest.raises(OperatorError, match="has more than 0 MiB"):
            exchange(target, request, most_bytes=1000)


def test_words_of_an_error() -> None:
    """The sentence for people, out of each dialect's shape."""
    assert words_of(b'{"detail": "a"}') == "a"
    assert words_of(b'{"error": "b"}') == "b"
    assert words_of(b"<p>\n c") == "<p> c"
    assert words_of(b"[" * 100_000) == "[" * 299 + "…"
    assert words_of(b'{"detail": "\\u001b[31mred\\u0007"}') == "[31mred"
