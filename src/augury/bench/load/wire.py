"""HTTP/1.1, as much of it as a load generator needs: a request's bytes, and where an answer ends.

Pure.  An answer that has come whole, which is nearly every one, costs about a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

_END: Final = b"\r\n\r\n"
# More headers than this come from no server that is measured.
MAX_HEAD_BYTES: Final = 256 * 1024


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
    """A request's bytes: POST with a *body*, GET without."""
    lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + _END + (body or b"")


def decode_answer(data: bytes, *, closed: bool = False) -> Answer | int:
    """The answer that *data* is, or how many bytes there must be before it is worth asking again.

    Args:
        data: All bytes of the answer so far.
        closed: Whether the server has closed the connection, so that nothing more comes.

    Raises:
        BrokenAnswerError: It is no HTTP.
    """
    split = data.find(_END)
    if split < 0:
        if len(data) > MAX_HEAD_BYTES or (len(data) >= 5 and not data.startswith(b"HTTP/")):
            raise BrokenAnswerError("no HTTP")
        return len(data) + 1
    head = data[:split].lower()
    try:
        status = int(head[9:12])
        start = split + 4
        if 100 <= status < 200:
            rest = decode_answer(data[start:], closed=closed)
            return rest + start if isinstance(rest, int) else rest
        keep = b"\r\nconnection: close" not in head and not head.startswith(b"http/1.0")
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            line_end = head.find(b"\r\n", at + 17)
            total = start + int(head[at + 17 : line_end if line_end > 0 else None])
            if len(data) < total:
                return total
            return Answer(status, data[start:total], keep)
        if b"\r\ntransfer-encoding:" in head and b"chunked" in head:
            return _decode_chunks(data, start, status, keep)
    except ValueError:
        raise BrokenAnswerError("no HTTP") from None
    if status in (204, 304):
        return Answer(status, b"", keep)
    # Neither length nor chunks: the body ends with the connection.
    return Answer(status, data[start:], False) if closed else len(data) + 1


def _decode_chunks(data: bytes, at: int, status: int, keep: bool) -> Answer | int:
    parts: list[bytes] = []
    while True:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return len(data) + 1
        size = int(data[at:line_end].split(b";", 1)[0], 16)
        at = line_end + 2
        if size == 0:
            # Trailers, if any, and an empty line.
            if data.startswith(b"\r\n", at) or data.find(_END, at) >= 0:
                return Answer(status, b"".join(parts), keep)
            return len(data) + 1
        if len(data) < at + size + 2:
            return at + size + 2
        parts.append(data[at : at + size])
        at += size + 2
