"""How much of the memory request bodies may take, together and each.

Most requests announce a small body and pass by with one look at their headers.  A larger one is
booked when it is announced, one of unknown length as it arrives, until its request is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from augury.core.errors import Overloaded
from augury.protocols.asgi import Headers, Message, Receive, body_too_large, header

# A body of this size is held by the connection anyway.
SMALL_BODY_BYTES: Final = 65_536


class Bodies:
    """Books the bodies that are being read or answered.

    Args:
        max_body_bytes: Of one body.
        max_buffered_bytes: Of all bodies but the small ones.
    """

    def __init__(self, *, max_body_bytes: int, max_buffered_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._max_buffered_bytes = max_buffered_bytes
        # A body of this size needs no booking.
        self.small_bytes = min(SMALL_BODY_BYTES, max_body_bytes)
        self.booked_bytes = 0

    def pass_by(self, headers: Headers) -> bool:
        """Whether the request's body is small, or there is none."""
        length = header(headers, b"content-length")
        if length is None:
            return header(headers, b"transfer-encoding") is None
        return int(length) <= self.small_bytes

    @contextmanager
    def booked(self, headers: Headers, receive: Receive) -> Iterator[Receive]:
        """While the block runs, the body is booked; read it with the *receive* given.

        Raises:
            TooLarge: More bytes than one body may have, announced or sent.
            Overloaded: There is no room for it beside the bodies of others.
        """
        length = header(headers, b"content-length")
        booked = 0

        def book(size: int) -> None:
            nonlocal booked
            if size > self._max_body_bytes:
                raise body_too_large(size, self._max_body_bytes)
            more = size - booked
            # A single body always fits.
            if self.booked_bytes > booked and self.booked_bytes + more > self._max_buffered_bytes:
                raise Overloaded(
                    f"request bodies of {self.booked_bytes} bytes are being answered, the limit is "
                    f"{self._max_buffered_bytes} (max_buffered_bytes); retry later, or send less",
                    limit_bytes=self._max_buffered_bytes,
                    retry_after_s=1.0,
                )
            self.booked_bytes += more
            booked = size

        size = 0

        async def receive_booked() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > booked:
                book(size)
            return message

        try:
            if length is not None:
                book(int(length))
            yield receive_booked
        finally:
            self.booked_bytes -= booked
