"""Tests of ``augury.cache.key``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import augury
from augury.cache.key import DIGEST_BYTES, RowKeys, content_identity, load_identity
from augury.core.errors import InvalidInput
from augury.core.tensor import Array, bytes_column


def keys(
    inputs: Mapping[str, Array],
    model: str = "m",
    version: int = 1,
    generation: int = 1,
    parameters: Mapping[str, Any] | None = None,
) -> list[bytes]:
    rows = len(next(iter(inputs.values())))
    made = RowKeys(load_identity(model, version, generation))
    return made.keys(inputs, rows, parameters or {})


def parameter_key(parameters: Mapping[str, Any]) -> bytes:
    return keys(X, parameters=parameters)[0]


X = {"x": np.array([[1, 2]], "f4")}


@pytest.mark.parametrize(
    "other",
    [
        keys(X, model="n"),
        keys(X, version=2),
        keys(X, generation=2),
        keys(X, parameters={"a": 1}),
        keys({"y": X["x"]}),
        keys({"x": X["x"].astype("f8")}),
        keys({"x": X["x"].view("i4")}),
        keys({"x": X["x"].reshape(1, 2, 1)}),
        keys({"x": X["x"][:, :1]}),
        keys({"x": X["x"] + 1}),
        keys({"x": X["x"], "y": X["x"]}),
        keys({"x": bytes_column([X["x"].tobytes()])}),
    ],
)
def test_everything_that_the_answer_depends_on_matters(other: list[bytes]) -> None:
    """Another model, version, load, parameter, name, dtype, shape or byte is another row."""
    assert keys(X) != other


def test_what_does_not_matter_does_not() -> None:
    """Nor the other rows, nor the order of inputs and parameters, nor the memory's layout."""
    two = {"a": np.array([[1, 2], [3, 4]], "f4"), "b": bytes_column([b"x", b"y"])}
    second = keys(two)[1]
    assert keys({"b": two["b"][1:], "a": two["a"][1:]})[0] == second
    assert keys({"a": np.asfortranarray(two["a"]), "b": two["b"]})[1] == second
    assert keys(X, parameters={"a": 1, "b": [2]}) == keys(X, parameters={"b": [2], "a": 1})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": [b"ab"], "y": [b"c"]}, {"x": [b"a"], "y": [b"bc"]}),
        ({"x": [b""], "y": [b"c"]}, {"x": [b"c"], "y": [b""]}),
        ({"x": [b"a\0"]}, {"x": [b"a"]}),
        ({"x": [b"\x01\0\0\0\0\0\0\0a"]}, {"x": [b"a"]}),
        ({"xy": [b"a"]}, {"x": [b"ya"]}),
    ],
)
def test_values_do_not_run_together(one: dict[str, list[bytes]], other: dict[str, Any]) -> None:
    """Where one value ends and the next begins is part of the key."""
    first, second = (
        keys({name: bytes_column(values) for name, values in inputs.items()})
        for inputs in (one, other)
    )
    assert first != second


def test_elements_of_one_row_do_not_run_together() -> None:
    """In a BYTES input of several elements too."""
    one, other = (bytes_column(v).reshape(1, 2) for v in ([b"ab", b"c"], [b"a", b"bc"]))
    assert keys({"x": one}) != keys({"x": other})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": None}, {}),
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
        ({"a": ["b", "c"]}, {"a": ["b,c"]}),
    ],
)
def test_parameters_are_told_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    """By value and by type."""
    assert parameter_key(one) != parameter_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(("m1", 1, 1), ("m", 11, 1)), (("m", 1, 11), ("m", 11, 1)), (('m",1', 1, 1), ("m", 1, 1))],
)
def test_the_parts_of_the_identity_do_not_run_together(
    one: tuple[str, int, int], other: tuple[str, int, int]
) -> None:
    """Model, version and generation are told apart."""
    assert load_identity(*one) != load_identity(*other)
    assert keys(X, *one) != keys(X, *other)
    named = [content_identity(model, version, str(rest)) for model, version, rest in (one, other)]
    assert named[0] != named[1]
    assert load_identity(*one) not in named


def test_another_augury_may_answer_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shared between processes names the release that computed it."""
    before = content_identity("m", 1, "c")
    monkeypatch.setattr(augury, "__version__", "999")
    assert content_identity("m", 1, "c") != before


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def circle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), nested(100_000), circle()])
def test_parameters_that_json_cannot_hold_are_the_caller_s_fault(value: Any) -> None:
    """They are refused, not turned into something else."""
    with pytest.raises(InvalidInput, match="parameters cannot be written as JSON"):
        parameter_key({"a": value})


def test_forms_of_requests_that_are_kept_are_bounded() -> None:
    """A caller who varies the shape without end makes nothing grow."""
    made = RowKeys("m")
    for size in range(1000):
        made.keys({"x": np.zeros((1, size), "f4")}, 1, {})
        made.keys({"x": np.zeros((1, 1), "f4")}, 1, {"a": size})
    assert len(made._begun) <= 64


def test_kept_forms_change_no_key() -> None:
    """The first request of a form and the next have the same keys."""
    made = RowKeys("m")
    texts = {"x": bytes_column([b"a", b"b", b"a"])}
    first, again = made.keys(texts, 3, {}), made.keys(texts, 3, {})
    assert first == again == RowKeys("m").keys(texts, 3, {})
    assert first[0] == first[2] != first[1]


VALUES = st.lists(st.binary(max_size=4), min_size=2, max_size=2)


@given(VALUES, VALUES, st.sampled_from(["m", "n"]), st.sampled_from(["m", "n"]))
def test_equal_keys_mean_equal_questions(
    one: list[bytes], other: list[bytes], model: str, another: str
) -> None:
    """The key is the question's, neither more nor less."""
    first, second = (
        keys({"x": bytes_column(values[:1]), "y": bytes_column(values[1:])}, model=name)
        for values, name in ((one, model), (other, another))
    )
    assert (first == second) == ((one, model) == (other, another))
    assert len(first[0]) == DIGEST_BYTES


@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=1, max_size=20))
def test_rows_of_a_request_have_the_keys_of_single_rows(values: list[list[int]]) -> None:
    """Asked together or alone, a row is the same row."""
    x = np.array(values, "i8")
    assert keys({"x": x}) == [keys({"x": x[i : i + 1]})[0] for i in range(len(x))]


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", "f2", "f8"])
def test_every_dtype_has_a_key(dtype: str) -> None:
    """Empty shapes included."""
    assert len(set(keys({"x": np.arange(6).reshape(3, 2).astype(dtype)}))) == (
        2 if dtype == "?" else 3
    )
    assert len(set(keys({"x": np.zeros((3, 0), dtype)}))) == 1
