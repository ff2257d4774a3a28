"""HTTP/1.1, as much of it as a load generator needs: a request's bytes, and where an answer ends.

Pure.  An answer that has come whole, which is nearly every one, costs about a microsecond; of one that
comes in pieces each byte is looked at once, whatever the server does to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from augury.core.errors import OperatorError

_END: Final = b"\r\n\r\n"
# More headers than this come from no server that is measured; nor do longer lines before a chunk.
MAX_HEAD_BYTES: Final = 256 * 1024
MAX_CHUNK_LINE_BYTES: Final = 4096

_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_CHUNK_SIZE: Final = re.compile(rb"[0-9a-fA-F]{1,12}")


class BrokenAnswerError(Exception):
    """The server sent what is not HTTP."""


class Answer(NamedTuple):
    """A whole answer.

    Args:
        status: Its code.
        body: Its body, chunks put together.
        keep: Whether the connection may be used again.
    """

    status: int
    body: bytes
    keep: bool


def encode_request(
    path: str, host: str, headers: Iterable[tuple[str, str]], body: bytes | None
) -> bytes:
    """A request's bytes: POST with a *body*, GET without.

    Raises:
        OperatorError: Path or headers hold what HTTP cannot say.
    """
    lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    try:
        return "\r\n".join(lines).encode("latin-1") + _END + (body or b"")
    except UnicodeEncodeError as error:
        line = next(one for one in lines if not _is_latin(one))
        # Its name only: values may be secrets.
        where = "the path" if line is lines[0] else f"the header {line.partition(':')[0]!r}"
        raise OperatorError(
            f"{where} holds {error.object[error.start]!r}, which HTTP cannot carry"
        ) from None


def whole_answer(data: bytes) -> Answer | None:
    """The answer that *data* is, when it has a length and has come whole; else :class:`AnswerReader` knows.

    The quick way, taken by nearly every answer; what is unusual in any way is left to the other.
    """
    split = data.find(_END)
    if split < 0:
        return None
    head = data[:split].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0 or b"\r\ntransfer-encoding:" in head or not head.startswith(b"http/1.1 "):
        return None
    line_end = head.find(b"\r\n", at + 17)
    told = head[at + 17 : line_end if line_end >= 0 else split].strip()
    code = head[9:12]
    if not told.isdigit() or len(told) > 15 or not code.isdigit() or code < b"200":
        return None
    end = split + 4 + int(told)
    if len(data) < end:
        return None
    keep = b"\r\nconnection:" not in head or b"close" not in _words(head, b"connection")
    return Answer(int(code), data[split + 4 : end], keep)


class AnswerReader:
    """An answer that comes in pieces."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0  # where what is looked for begins
        self._seen = 0  # up to where it has been looked for
        self._need = 0  # with fewer bytes there is nothing new to see
        self._head: _Head | None = None
        self._chunks: list[bytes] = []
        self._trailer = False

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self._data)

    def feed(self, data: bytes) -> Answer | None:
        """Take more bytes in; the answer when it is whole.

        Raises:
            BrokenAnswerError: It is no HTTP.
        """
        self._data += data
        if len(self._data) < self._need:
            return None
        if self._head is None:
            self._head = self._read_head()
            if self._head is None:
                return None
        head = self._head
        if head.length is not None:
            return self._up_to(self._at + head.length, head)
        if head.chunked:
            return self._read_chunks(head)
        return Answer(head.status, b"", head.keep) if head.status in (204, 304) else None

    def close(self) -> Answer | None:
        """The server has closed the connection: the answer, if its body ends so."""
        head = self._head
        if head is None or head.length is not None or head.chunked:
            return None
        return Answer(head.status, bytes(self._data[self._at :]), False)

    def _find(self, what: bytes, limit: int) -> int:
        found = self._data.find(what, max(self._at, self._seen - len(what) + 1))
        self._seen = len(self._data)
        if (found if found >= 0 else len(self._data)) - self._at > limit:
            raise BrokenAnswerError("no end of a line")
        return found

    def _read_head(self) -> _Head | None:
        while True:
            start = self._data[self._at : self._at + 5]
            if not b"HTTP/".startswith(start):
                raise BrokenAnswerError("no HTTP")
            split = self._find(_END, MAX_HEAD_BYTES)
            if split < 0:
                return None
            head = _Head(bytes(self._data[self._at : split]))
            self._at = self._seen = split + 4
            if head.status >= 200:
                return head
            # 100 Continue and its like: the answer comes after them, and they are not many.
            if self._at > MAX_HEAD_BYTES:
                raise BrokenAnswerError("no end of 1xx")

    def _up_to(self, end: int, head: _Head) -> Answer | None:
        self._need = end
        if len(self._data) < end:
            return None
        return Answer(head.status, bytes(self._data[self._at : end]), head.keep)

    def _read_chunks(self, head: _Head) -> Answer | None:
        while not self._trailer:
            line_end = self._find(b"\r\n", MAX_CHUNK_LINE_BYTES)
            if line_end < 0:
                return None
            told = bytes(self._data[self._at : line_end]).split(b";", 1)[0].strip()
            if not _CHUNK_SIZE.fullmatch(told):
                raise BrokenAnswerError("no size of a chunk")
            size = int(told, 16)
            start = line_end + 2
            if size == 0:
                self._at = self._seen = line_end
                self._trailer = True
                break
            self._need = start + size + 2
            if len(self._data) < self._need:
                self._seen = self._at  # its line is read anew, once
                return None
            self._chunks.append(bytes(self._data[start : start + size]))
            self._at = self._seen = self._need
        # The end of the last size, the trailers if any, and an empty line.
        if self._find(_END, MAX_HEAD_BYTES) < 0:
            return None
        return Answer(head.status, b"".join(self._chunks), head.keep)


class _Head:
    """What the headers of an answer say of its end."""

    __slots__ = ("chunked", "keep", "length", "status")

    def __init__(self, data: bytes) -> None:
        head = data.lower()
        code = head[9:12]
        if not head.startswith(b"http/") or not code.isdigit() or len(code) != 3:
            raise BrokenAnswerError("no HTTP")
        self.status = int(code)
        self.keep = not head.startswith(b"http/1.0") and b"close" not in _words(head, b"connection")
        self.length: int | None = None
        # Chunks go before a length, as RFC 9112 has it.
        self.chunked = b"chunked" in _words(head, b"transfer-encoding")
        if not self.chunked and (told := _value(head, b"content-length")) is not None:
            if not _LENGTH.fullmatch(told):
                raise BrokenAnswerError("no length")
            self.length = int(told)


def _value(head: bytes, name: bytes) -> bytes | None:
    at = head.find(b"\r\n" + name + b":")
    if at < 0:
        return None
    at += len(name) + 3
    end = head.find(b"\r\n", at)
    return head[at : end if end >= 0 else None].strip()


def _words(head: bytes, name: bytes) -> tuple[bytes, ...]:
    value = _value(head, name)
    return () if value is None else tuple(word.strip() for word in value.split(b","))


def _is_latin(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
