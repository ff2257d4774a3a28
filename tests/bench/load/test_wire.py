"""Answers end where HTTP says, however they come."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.bench.load.wire import (
    MAX_CHUNK_LINE_BYTES,
    MAX_HEAD_BYTES,
    Answer,
    AnswerReader,
    BrokenAnswerError,
    encode_request,
    whole_answer,
)
from augury.core.errors import OperatorError

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=1\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n"
)
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN
HELLO = Answer(200, b"hello", True)


def _read(data: bytes) -> Answer | None:
    return whole_answer(data) or AnswerReader().feed(data)


def test_request() -> None:
    """A POST tells its length; a GET has no body."""
    data = encode_request("/p", "h:1", [("A", "b")], b"{}")
    assert data == b"POST /p HTTP/1.1\r\nHost: h:1\r\nA: b\r\nContent-Length: 2\r\n\r\n{}"
    assert encode_request("/p", "h", [], None) == b"GET /p HTTP/1.1\r\nHost: h\r\n\r\n"


def test_what_http_cannot_carry_is_told() -> None:
    """By the header's name, without its value, which may be a secret."""
    with pytest.raises(OperatorError, match="the path holds '日'"):
        encode_request("/日本", "h", [], None)
    with pytest.raises(OperatorError, match="the header 'X' holds '日'") as error:
        encode_request("/", "h", [("X", "geheim日")], b"")
    assert "geheim" not in error.value.message


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, CONTINUED])
def test_whole_answers(data: bytes) -> None:
    """With a length, in chunks with a trailer, after a 100."""
    assert _read(data) == HELLO


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, CONTINUED])
@given(cuts=st.lists(st.integers(0, 200), max_size=12))
def test_answers_in_pieces(data: bytes, cuts: list[int]) -> None:
    """However they are cut, they are whole with the last byte and not before."""
    ends = sorted({min(cut, len(data) - 1) for cut in cuts})
    reader, start = AnswerReader(), 0
    for end in ends:
        assert whole_answer(data[:end]) is None
        assert reader.feed(data[start:end]) is None
        start = end
    assert reader.feed(data[start:]) == HELLO


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 x\r\nConnection: close",
        b"HTTP/1.1 200 x\r\nConnection:close",
        b"HTTP/1.1 200 x\r\nConnection: keep-alive, Close",
        b"HTTP/1.0 200 x",
    ],
)
def test_connections_that_end(head: bytes) -> None:
    """Such a connection takes no other request, however its header is written."""
    assert _read(head + b"\r\nContent-Length: 2\r\n\r\nok") == Answer(200, b"ok", False)


def test_connections_that_stay() -> None:
    """What only looks like the word is none."""
    head = b"HTTP/1.1 200 x\r\nX: connection: close\r\nConnection: closeness\r\n"
    assert _read(head + b"Content-Length: 2\r\n\r\nok") == Answer(200, b"ok", True)


def test_body_up_to_the_end() -> None:
    """Without length or chunks the body ends with the connection; others are then not whole."""
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhel") is None
    assert reader.close() == Answer(200, b"hel", False)
    for data in (PLAIN, CHUNKED, CONTINUED):
        cut = AnswerReader()
        assert cut.feed(data[:-1]) is None
        assert cut.close() is None


def test_no_content() -> None:
    """204 has no body, whatever else it lacks."""
    assert _read(b"HTTP/1.1 204 x\r\n\r\n") == Answer(204, b"", True)


CHUNKS = b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x",
        b"HTTP/1.1 abc x\r\n\r\n",
        b"HTTP/1.1 200 x\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 x\r\ncontent-length: -5\r\n\r\n",
        CHUNKS + b"xyz\r\n",
        CHUNKS + b"-6\r\n",
        CHUNKS + b"1_0\r\n",
        CHUNKS + b"\r\n",
        CHUNKS + b"1;" + b"x" * MAX_CHUNK_LINE_BYTES,
        CHUNKS + b"0\r\n" + b"x" * (MAX_HEAD_BYTES + 1),
        b"HTTP/1.1 200 x\r\n" + b"a" * MAX_HEAD_BYTES,
        b"HTTP/1.1 100 x\r\n\r\n" * 20_000,
    ],
)
def test_what_is_no_http(data: bytes) -> None:
    """It is told, not waited for, and nothing goes round in circles."""
    with pytest.raises(BrokenAnswerError):
        _read(data)


def test_many_beginnings() -> None:
    """1,200 times 100 Continue are odd, and no reason to give up."""
    assert _read(b"HTTP/1.1 100 x\r\n\r\n" * 1200 + PLAIN) == HELLO


def test_many_small_chunks_take_time_in_proportion() -> None:
    """200,000 chunks of a byte, a few hundred at a time: each is looked at once."""
    reader = AnswerReader()
    reader.feed(CHUNKS)
    piece = b"1\r\nx\r\n" * 400
    began_s = time.process_time()
    for _ in range(500):
        assert reader.feed(piece[:5]) is None
        assert reader.feed(piece[5:]) is None
    answer = reader.feed(b"0\r\n\r\n")
    assert answer is not None
    assert len(answer.body) == 200_000
    # A quadratic reader takes minutes.
    assert time.process_time() - began_s < 5
