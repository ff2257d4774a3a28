"""Keys and rows in the store."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from augury.features.records import OnlineRow, decode_row, encode_row, row_key, row_prefix

_PARTS = st.lists(st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=12), min_size=1, max_size=3)


@given(one=_PARTS, other=_PARTS)
@example(one=[7], other=[b"7"])
@example(one=[b"a", b"b"], other=[b"ab", b""])
@example(one=[b"1:b", b""], other=[b"1", b"b"])
@example(one=[b"\xc3"], other=[b"%C3"])
def test_no_two_entities_share_a_key(one: list[int | bytes], other: list[int | bytes]) -> None:
    """Whatever is in them, other entities have other keys; and no key starts another's."""
    if len(one) == len(other) and one != other:
        assert row_key("t", one) != row_key("t", other)
    assert row_key("t", one).isascii()
    assert row_key("t", one).isprintable()
    assert not {"*", "?", "[", "\n", "\0"} & set(row_key("t", one))


def test_no_table_s_rows_are_another_s() -> None:
    """A table whose name another's begins with is another table."""
    assert not row_key("authors_2", [7]).startswith(row_prefix("authors"))


@given(data=st.binary(max_size=60))
def test_bytes_that_are_no_row_are_none(data: bytes) -> None:
    """Nothing that lies there by accident raises."""
    assert decode_row(data) is None or encode_row(decode_row(data) or _row()) is not None


def _row() -> OnlineRow:
    return OnlineRow("u", 1, 2, {"b": 1, "a": [b"x"]})


def test_equal_rows_are_equal_bytes() -> None:
    """Comparing and setting compares bytes, so the order of a dict must not matter."""
    other = OnlineRow("u", 1, 2, {"a": [b"x"], "b": 1})

    assert encode_row(_row()) == encode_row(other)
    assert decode_row(encode_row(_row())) == _row()
