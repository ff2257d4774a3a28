"""Rows of JSON to tensors and back, without I/O."""

from __future__ import annotations

import base64
import json
import math
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.core.errors import AuguryError, InvalidInput, MalformedBody, Refused, WrongType
from augury.core.request import InferResponse
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import NUMPY_DTYPES, Array
from augury.protocols.native.codec import (
    decode_body,
    decode_rows,
    encode_response,
    encode_rows,
    row_errors,
)

INTEGERS = ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")
FLOATS = ("FP16", "FP32", "FP64", "BF16")

Shape = tuple[int, ...]


def signature(datatype: str, shape: Shape = (), *, labels: tuple[str, ...] = ()) -> Signature:
    """``x`` in, ``y`` out, both of the same kind."""
    return Signature(
        (TensorSpec("x", datatype, shape),), (TensorSpec("y", datatype, shape, labels),)
    )


def decode(datatype: str, shape: Shape, *values: Any) -> Array:
    """The column of *values*; each must be good."""
    decoded = decode_rows([{"x": value} for value in values], signature(datatype, shape))
    assert not decoded.errors, decoded.errors
    assert decoded.inputs["x"].dtype == NUMPY_DTYPES[datatype]
    return decoded.inputs["x"]


def fault(datatype: str, shape: Shape, value: Any) -> AuguryError:
    """What is wrong with *value*; a good row before it is not touched."""
    good = decode_rows([{"x": value}], signature(datatype, shape))
    assert not good.positions
    return good.errors[0]


def answer(column: Array, datatype: str, shape: Shape = (), *, labels: tuple[str, ...] = ()) -> Any:
    """The ``y`` of each row of an answer, as JSON."""
    spec = signature(datatype, shape, labels=labels)
    response = InferResponse("m", 1, {"y": column}, len(column))
    decoded = decode_rows([], spec)
    decoded.positions, decoded.rows = list(range(len(column))), len(column)
    document = json.loads(encode_response(response, decoded, spec), parse_constant=pytest.fail)
    return [row["y"] for row in document["rows"]]


class TestBody:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"nonsense",
            b'{"rows": [{"x": 1}]} trailing',
            b'{"rows": [{"x": 1},]}',
            b'{"rows": [{"x": "\xff"}]}',
            b'{"rows": [{"x": "\xed\xa0\x80"}]}',
            b'\xef\xbb\xbf{"rows": [{"x": 1}]}',
            b'{"rows": [{"x": "\x00"}]}',
            b'{"rows": [{"x": "\n"}]}',
            b'{"rows": [{"x": NaN}]}',
            b'{"rows": [{"x": Infinity}]}',
            b'{"rows": [{"x": -Infinity, "y": "\\ud800"}]}',
            b'{"rows": [{"x": 01}]}',
            b"{'rows': [{'x': 1}]}",
            '{"rows": [{"x": 1}]}'.encode("utf-16"),
            b'{"rows": [{"x": "\\ud800',
            b'{"rows": ["\\ud800"]}',
            b'{"rows": [{"x": "\\ud800"}]}' + b"}",
        ],
    )
    def test_what_is_no_json_is_malformed(self, body: bytes) -> None:
        """Broken JSON and broken UTF-8 are told as such."""
        with pytest.raises(MalformedBody, match="not acceptable JSON"):
            decode_body(body)

    @pytest.mark.parametrize(
        "body",
        [
            b"null",
            b"[]",
            b"3",
            b"{}",
            b'{"rows": {}}',
            b'{"rows": null}',
            b'{"rows": [1]}',
            b'{"rows": [null]}',
            b'{"rows": [[1]]}',
            b'{"rows": "x"}',
            b'{"rows": [{"x": 1}], "parameters": []}',
            b'{"rows": [{"x": 1}], "rowz": []}',
            b'{"instances": [{"x": 1}]}',
            b'{"rows": [{"x": 1e400}]}',
        ],
    )
    def test_json_of_another_form_is_told_the_form(self, body: bytes) -> None:
        """JSON that is no predict body is answered with what to send."""
        with pytest.raises(WrongType, match=r'send \{"rows"'):
            decode_body(body)

    def test_no_rows_is_refused(self) -> None:
        """An empty list of rows is a mistake."""
        with pytest.raises(InvalidInput, match="at least one row"):
            decode_body(b'{"rows": []}')

    @pytest.mark.parametrize("opening", ['{"rows": [{"x": ', '{"rows": [{"x": "\\ud800", "y": '])
    @pytest.mark.parametrize("bracket", ["[]", '{"a":}'])
    def test_deep_nesting_is_refused(self, opening: str, bracket: str) -> None:
        """JSON that is nested 10⁵ deep does not break the interpreter."""
        depth = 100_000
        left, right = ("[", "]") if bracket == "[]" else ('{"a":', "}")
        body = opening + left * depth + right * depth + "}]}"
        with pytest.raises(MalformedBody, match="nested too deeply"):
            decode_body(body.encode())

    def test_the_last_of_duplicate_keys_counts(self) -> None:
        """Duplicate keys are read as nearly every reader reads them."""
        body = decode_body(b'{"rows": [{"x": 1}], "rows": [{"x": 2, "x": 3}]}')
        assert body.rows == [{"x": 3}]

    def test_a_lone_surrogate_fails_its_row_alone(self) -> None:
        """Half an emoji in one row leaves the others an answer."""
        body = decode_body(b'{"rows": [{"x": "\\ud83d"}, {"x": "\\ud83d\\ude00"}, {"x": "a"}]}')
        decoded = decode_rows(body.rows, signature("BYTES"))
        assert list(decoded.inputs["x"]) == ["😀".encode(), b"a"]
        assert "lone surrogate" in decoded.errors[0].message

    def test_a_lone_surrogate_in_a_name_can_be_told(self) -> None:
        """The name of an unknown input comes back in a form that JSON can hold."""
        body = decode_body(b'{"rows": [{"x": "a", "\\udc80": 1}]}')
        decoded = decode_rows(body.rows, signature("BYTES"))
        response = InferResponse("m", 1, {}, 0)
        assert b"udc80" in encode_response(response, decoded, signature("BYTES"))


class TestNumbers:
    @pytest.mark.parametrize("datatype", INTEGERS)
    def test_integers_keep_their_limits(self, datatype: str) -> None:
        """Each integer type takes its least and greatest number, exactly, in any mixture."""
        info = np.iinfo(NUMPY_DTYPES[datatype])
        column = decode(datatype, (3,), [int(info.min), 1, int(info.max)])
        assert column.tolist() == [[info.min, 1, info.max]]

    @pytest.mark.parametrize("datatype", INTEGERS)
    def test_integers_beyond_the_limits_are_refused(self, datatype: str) -> None:
        """One more than the greatest is told, with the limits."""
        info = np.iinfo(NUMPY_DTYPES[datatype])
        for value in (int(info.max) + 1, int(info.min) - 1, 10**30):
            told = fault(datatype, (), value)
            assert told.code == "invalid_input"
            assert str(info.max) in told.message

    @pytest.mark.parametrize("datatype", INTEGERS)
    @pytest.mark.parametrize("value", [1.0, 1.5, True, "1", None, {}, [1]])
    def test_only_integers_are_integers(self, datatype: str, value: Any) -> None:
        """1.0 is no integer and true is no number."""
        assert fault(datatype, (), value).code in ("wrong_type", "shape_mismatch")

    @pytest.mark.parametrize("datatype", FLOATS)
    @pytest.mark.parametrize("value", [True, "1", None, {}, {"b64": "AA=="}])
    def test_only_numbers_are_numbers(self, datatype: str, value: Any) -> None:
        """Text, true and null are no numbers."""
        assert fault(datatype, (), value).code == "wrong_type"
        assert fault(datatype, (2,), [1.5, value]).code == "wrong_type"

    @pytest.mark.parametrize("datatype", FLOATS)
    def test_integers_are_floats(self, datatype: str) -> None:
        """1 may be written for 1.0, also beside fractions and beyond 64 bits."""
        assert decode(datatype, (2,), [1, 0.5]).shape == (1, 2)
        assert decode("FP64", (2,), [2**70, 0.5]).tolist() == [[2.0**70, 0.5]]

    def test_an_integer_beyond_every_float_fails_its_row(self) -> None:
        """10⁴⁰⁰ has no float; the row is refused, the others are not."""
        decoded = decode_rows([{"x": 10**400}, {"x": 1}], signature("FP64"))
        assert decoded.errors[0].code == "invalid_input"
        assert decoded.inputs["x"].tolist() == [1.0]

    def test_too_large_for_the_precision_is_infinity(self) -> None:
        """Narrow floats overflow to infinity without a warning."""
        assert math.isinf(decode("FP32", (), 1e39)[0])
        assert math.isinf(decode("FP16", (), 70_000)[0])
        assert decode("BF16", (), 1e39).tolist() == [0x7F80]

    def test_bf16_is_rounded_to_nearest_even(self) -> None:
        """BF16 travels as the upper half of a FP32, ties to even, and comes back as a number."""
        column = decode("BF16", (4,), [1.0, -2.5, 1.00390625, 1.01171875])
        assert column.tolist() == [[0x3F80, 0xC020, 0x3F80, 0x3F82]]
        assert answer(column, "BF16", (4,)) == [[1.0, -2.5, 1.0, 1.015625]]

    @pytest.mark.parametrize("value", [0, 1, "true", None, 1.0])
    def test_only_true_and_false_are_bools(self, value: Any) -> None:
        """0 is no boolean."""
        assert fault("BOOL", (), value).code == "wrong_type"

    def test_bools(self) -> None:
        """True and false are taken."""
        assert decode("BOOL", (2,), [True, False]).tolist() == [[True, False]]

    def test_the_message_tells_the_kind_and_not_the_content(self) -> None:
        """An error names the input, what was sent, and what is wanted; never the text itself."""
        told = fault("FP32", (2,), [1.0, "my secret"])
        assert told.message == "input 'x' holds text, the model wants FP32"
        assert told.details == {"input": "x"}


class TestShapes:
    def test_nested_lists(self) -> None:
        """Lists nested as deep as the shape become an array."""
        column = decode("INT32", (2, 3), [[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [0, 1, 2]])
        assert column.shape == (2, 2, 3)
        assert column[1, 0].tolist() == [7, 8, 9]

    @pytest.mark.parametrize(
        ("shape", "value", "got"),
        [
            ((2,), [1], [1, 1]),
            ((2,), [], [1, 0]),
            ((2,), [[1, 2]], [1, 1, 2]),
            ((2, 2), [[1, 2, 3], [4, 5, 6]], [1, 2, 3]),
            ((), [1], [1, 1]),
            ((), [], [1, 0]),
            ((-1, 2), [[1]], [1, 1, 1]),
        ],
    )
    def test_another_shape_is_told_with_both(self, shape: Shape, value: Any, got: Any) -> None:
        """A shape that does not fit is told beside the one that is wanted."""
        told = fault("INT64", shape, value)
        assert told.code == "shape_mismatch"
        assert told.details["got"] == got
        assert told.details["want"] == [-1, *shape]

    @pytest.mark.parametrize(
        "value", [[[1, 2], [3]], [[1, 2], 3], [1, [2, 3]], [[1], "ab"], [[1, 2], None]]
    )
    @pytest.mark.parametrize("datatype", ["FP32", "BYTES", "INT8"])
    def test_uneven_lists_are_refused(self, datatype: str, value: Any) -> None:
        """Lists of different length or depth are no tensor."""
        assert fault(datatype, (-1, -1), value).code == "wrong_type"

    @pytest.mark.parametrize("value", [1, "ab", None, True, {"b64": "AA=="}])
    @pytest.mark.parametrize("datatype", ["FP32", "BYTES", "BOOL"])
    def test_no_list_at_all_is_refused(self, datatype: str, value: Any) -> None:
        """A scalar where lists are wanted is told the shape."""
        told = fault(datatype, (2,), value)
        assert told.code == "wrong_type"
        assert "shape [2]" in told.message

    def test_open_sizes_take_any_length(self) -> None:
        """-1 takes any size, 0 too; below an empty list the spec tells the sizes."""
        assert decode("FP32", (-1,), [1, 2, 3]).shape == (1, 3)
        assert decode("FP32", (-1,), []).shape == (1, 0)
        assert decode("FP32", (-1, 3), []).shape == (1, 0, 3)
        assert decode("FP32", (2, -1), [[], []]).shape == (1, 2, 0)
        assert decode("BYTES", (-1,), []).shape == (1, 0)

    def test_rows_of_one_request_are_alike(self) -> None:
        """A row of another open size is refused, in terms of the rows before it."""
        rows = [{"x": [1, 2]}, {"x": [1]}, {"x": [3, 4]}]
        decoded = decode_rows(rows, signature("FP32", (-1,)))
        assert decoded.positions == [0, 2]
        assert "the rows before it [2]" in decoded.errors[1].message

    def test_a_failed_row_does_not_set_the_shape(self) -> None:
        """The rows are measured by the first good one."""
        specs = (TensorSpec("a", "FP32", (-1,)), TensorSpec("b", "FP32"))
        rows: list[dict[str, Any]] = [{"a": [1], "b": "no"}, {"a": [1, 2], "b": 1}]
        assert decode_rows(rows, Signature(specs, ())).positions == [1]

    def test_deep_lists_within_a_row_are_a_shape(self) -> None:
        """Nesting beyond numpy's 64 axes is an ordinary mismatch, told in a few axes."""
        value: Any = 1
        for _ in range(200):
            value = [value]
        told = fault("FP32", (2,), value)
        assert told.code == "shape_mismatch"
        assert len(told.details["got"]) < 12

    def test_long_texts_where_numbers_are_wanted_cost_no_memory(self) -> None:
        """numpy would take room for the longest text in every cell: 4 TB here."""
        value = ["x" * 1_000_000, *["y"] * 1_000_000]
        assert fault("FP32", (-1,), value).code == "wrong_type"


class TestBytes:
    def test_text_and_base64(self) -> None:
        """BYTES are text, or base64 for what is no text."""
        column = decode("BYTES", (), "héllo", {"b64": "/wA="}, "")
        assert list(column) == ["héllo".encode(), b"\xff\x00", b""]

    def test_nested_bytes(self) -> None:
        """BYTES of a shape are lists of texts."""
        column = decode("BYTES", (2,), ["a", {"b64": "/w=="}])
        assert column.tolist() == [[b"a", b"\xff"]]
        assert answer(column, "BYTES", (2,)) == [["a", {"b64": "/w=="}]]

    @pytest.mark.parametrize(
        "value",
        [1, None, True, [], {}, {"b64": 1}, {"b64": "AA==", "more": 1}, {"B64": "AA=="}, ["a"]],
    )
    def test_anything_else_is_refused(self, value: Any) -> None:
        """Numbers, null and other objects are no text."""
        assert fault("BYTES", (), value).code in ("wrong_type", "shape_mismatch")

    @pytest.mark.parametrize("text", ["A", "AA", "AA=", "A A==", "é", "====", "AA==\n", "\ud800"])
    def test_broken_base64_is_refused(self, text: str) -> None:
        """Base64 is read strictly."""
        assert "not base64" in fault("BYTES", (), {"b64": text}).message

    def test_outputs_that_are_no_text_come_as_base64(self) -> None:
        """A BYTES output that is not UTF-8 comes back exactly."""
        column = np.array([b"good", b"\xff\xfe", b""], dtype=object)
        assert answer(column, "BYTES") == ["good", {"b64": "//4="}, ""]


class TestRows:
    @pytest.mark.parametrize("position", range(5))
    def test_a_bad_row_fails_alone_wherever_it_stands(self, position: int) -> None:
        """Rows before and after a bad one keep their own answers."""
        rows: list[dict[str, Any]] = [{"x": index} for index in range(5)]
        rows[position] = {"x": "no"}
        decoded = decode_rows(rows, signature("INT64"))
        good = [index for index in range(5) if index != position]
        assert decoded.positions == good
        assert list(decoded.inputs["x"]) == good
        response = InferResponse("m", 1, {"y": np.array(good)}, len(good))
        encoded = encode_rows(response, decoded, signature("INT64"))
        assert [row.get("y") for row in encoded] == [
            None if index == position else index for index in range(5)
        ]
        assert encoded[position]["error"]["code"] == "wrong_type"

    def test_errors_of_the_engine_find_their_rows(self) -> None:
        """Rows that fail later are counted among the good ones only."""
        rows: list[dict[str, Any]] = [{"x": "no"}, {"x": 1}, {"x": 2}, {"x": "no"}, {"x": 3}]
        decoded = decode_rows(rows, signature("INT64"))
        response = InferResponse("m", 1, {"y": np.array([1, 0, 3])}, 3, {1: Refused("not that")})
        encoded = encode_rows(response, decoded, signature("INT64"))
        assert [row["error"]["code"] if "error" in row else row["y"] for row in encoded] == [
            "wrong_type",
            1,
            "refused",
            "wrong_type",
            3,
        ]
        assert sorted(row_errors(response, decoded)) == [0, 2, 3]

    def test_missing_and_unknown_inputs(self) -> None:
        """Each is named; an unknown one beside the inputs that there are."""
        two = Signature((TensorSpec("a", "FP32"), TensorSpec("b", "FP32")), ())
        rows: list[dict[str, Any]] = [{"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2}, {}]
        decoded = decode_rows(rows, two)
        assert decoded.positions == [2]
        assert decoded.errors[0].details == {"input": "b"}
        assert decoded.errors[1].message == "unknown input 'c'; the model's inputs are: a, b"
        assert decoded.errors[3].code == "missing_input"

    def test_a_long_unknown_name_is_cut(self) -> None:
        """A message does not carry a megabyte back."""
        decoded = decode_rows([{"x": 1, "y" * 10**6: 1}], signature("FP32"))
        assert len(decoded.errors[0].message) < 300

    def test_a_model_without_inputs_has_rows(self) -> None:
        """Rows of no inputs are empty objects."""
        decoded = decode_rows([{}, {}], Signature((), ()))
        assert decoded.positions == [0, 1]
        assert decoded.inputs == {}


class TestAnswers:
    def test_nan_and_infinity_are_null(self) -> None:
        """JSON has no word for them; the answer is JSON all the same."""
        column = np.array([[np.nan, np.inf, -np.inf, 1.5]], np.float32)
        assert answer(column, "FP32", (4,)) == [[None, None, None, 1.5]]

    @pytest.mark.parametrize("datatype", [*INTEGERS, "FP16", "FP32", "FP64", "BOOL"])
    def test_every_datatype_is_answered(self, datatype: str) -> None:
        """Outputs of each type become JSON of the right kind."""
        column = np.array([0, 1], NUMPY_DTYPES[datatype])
        assert answer(column, datatype) == [0, 1]

    def test_labels_name_the_last_axis(self) -> None:
        """A labelled vector is an object, any other shape a list."""
        labels = ("bad", "good")
        column = np.array([[0.25, 0.75]], np.float32)
        assert answer(column, "FP32", (2,), labels=labels) == [{"bad": 0.25, "good": 0.75}]
        assert answer(column[:, None], "FP32", (1, 2), labels=labels) == [[[0.25, 0.75]]]

    def test_outputs_that_the_model_left_out_are_left_out(self) -> None:
        """Only the outputs in the response are written."""
        decoded = decode_rows([{"x": 1}], signature("FP32"))
        assert encode_rows(InferResponse("m", 1, {}, 1), decoded, signature("FP32")) == [{}]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)
specs = st.builds(
    TensorSpec,
    st.sampled_from(["x", "y"]),
    st.sampled_from(list(NUMPY_DTYPES)),
    st.lists(st.integers(-1, 3), max_size=3).map(tuple),
)


def six_values(datatype: str) -> st.SearchStrategy[tuple[str, list[Any]]]:
    """*datatype* and six values of it."""
    if datatype == "BOOL":
        values: st.SearchStrategy[Any] = st.booleans()
    elif datatype == "FP64":
        values = st.floats(allow_nan=False, allow_infinity=False)
    else:
        info = np.iinfo(NUMPY_DTYPES[datatype])
        values = st.integers(int(info.min), int(info.max))
    return st.tuples(st.just(datatype), st.lists(values, min_size=6, max_size=6))


class TestAnything:
    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_body_or_an_error_of_ours(self, body: bytes) -> None:
        """No bytes bring an exception but ours."""
        with suppress(InvalidInput):
            decode_body(body)

    @given(st.lists(st.dictionaries(st.sampled_from(["x", "y"]), json_values), min_size=1), specs)
    def test_any_rows_are_columns_or_errors(self, rows: list[dict[str, Any]], spec: Any) -> None:
        """Each row is in the columns or has an error, and all of it can be written."""
        body = decode_body(json.dumps({"rows": rows}).encode())
        decoded = decode_rows(body.rows, Signature((spec,), (spec,)))
        assert sorted([*decoded.positions, *decoded.errors]) == list(range(len(rows)))
        if decoded.positions:
            column = decoded.inputs[spec.name]
            assert column.shape[0] == len(decoded.positions)
            assert spec.fits(column.shape)
            assert column.dtype == NUMPY_DTYPES[spec.datatype]
        response = InferResponse("m", 1, dict(decoded.inputs), len(decoded.positions))
        encoded = encode_response(response, decoded, Signature((spec,), (spec,)))
        assert len(msgspec.json.decode(encoded)["rows"]) == len(rows)

    @given(st.sampled_from([*INTEGERS, "FP64", "BOOL"]).flatmap(six_values))
    def test_numbers_make_the_round_trip(self, drawn: tuple[str, list[Any]]) -> None:
        """What goes in comes out, exactly."""
        datatype, flat = drawn
        value = [flat[:3], flat[3:]]
        body = decode_body(msgspec.json.encode({"rows": [{"x": value}, {"x": value}]}))
        decoded = decode_rows(body.rows, signature(datatype, (2, -1)))
        assert answer(decoded.inputs["x"], datatype, (2, -1)) == [value, value]

    @given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
    def test_bytes_make_the_round_trip(self, values: list[bytes]) -> None:
        """Any bytes go in as base64 and come out as they were."""
        rows = [{"x": {"b64": base64.b64encode(value).decode()}} for value in values]
        column = decode_rows(rows, signature("BYTES")).inputs["x"]
        told = answer(column, "BYTES")
        read = [
            one.encode() if isinstance(one, str) else base64.b64decode(one["b64"]) for one in told
        ]
        assert read == values
