"""Answers end where HTTP says, however they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.bench.load.wire import (
    MAX_HEAD_BYTES,
    Answer,
    BrokenAnswerError,
    decode_answer,
    encode_request,
)

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=1\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n"
)
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN


def test_request() -> None:
    """A POST tells its length; a GET has no body."""
    data = encode_request("/p", "h:1", [("A", "b")], b"{}")
    assert data == b"POST /p HTTP/1.1\r\nHost: h:1\r\nA: b\r\nContent-Length: 2\r\n\r\n{}"
    assert encode_request("/p", "h", [], None) == b"GET /p HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, CONTINUED])
def test_whole_answers(data: bytes) -> None:
    """With a length, in chunks with a trailer, after a 100."""
    assert decode_answer(data) == Answer(200, b"hello", True)


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, CONTINUED])
@given(part=st.floats(0, 0.999))
def test_a_part_asks_for_more(data: bytes, part: float) -> None:
    """Any beginning of an answer wants more bytes than there are, and never more than the whole."""
    there = data[: int(len(data) * part)]
    wanted = decode_answer(there)
    assert isinstance(wanted, int)
    assert len(there) < wanted <= len(data)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 x\r\nConnection: close", b"HTTP/1.0 200 x"])
def test_connections_that_end(head: bytes) -> None:
    """Such a connection takes no other request."""
    assert decode_answer(head + b"\r\nContent-Length: 2\r\n\r\nok") == Answer(200, b"ok", False)


def test_body_up_to_the_end() -> None:
    """Without length or chunks the body ends with the connection."""
    data = b"HTTP/1.1 200 OK\r\n\r\nhel"
    assert decode_answer(data) == len(data) + 1
    assert decode_answer(data, closed=True) == Answer(200, b"hel", False)


def test_no_content() -> None:
    """204 has no body, whatever else it lacks."""
    assert decode_answer(b"HTTP/1.1 204 x\r\n\r\n") == Answer(204, b"", True)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x",
        b"HTTP/1.1 abc x\r\n\r\n",
        b"HTTP/1.1 200 x\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 x\r\n" + b"a" * MAX_HEAD_BYTES,
    ],
)
def test_what_is_no_http(data: bytes) -> None:
    """It is told, not waited for."""
    with pytest.raises(BrokenAnswerError):
        decode_answer(data)
