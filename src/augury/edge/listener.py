"""The listening socket: how it is opened, and how it is closed without a loss."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
from typing import Final

from augury.core.errors import InvalidSetting, PortInUse

# Connections that the kernel keeps for us until we accept them.
BACKLOG: Final = 2048

_SO_ATTACH_FILTER: Final = 26  # Linux; Python's socket module does not name it

# Classic BPF over the TCP header: a segment with SYN set and ACK not is dropped, any other passes.
_DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # load the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # let it pass
)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        PortInUse: Another process listens there.
        InvalidSetting: The host is not one of this machine, or the port is not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, ValueError):
        raise InvalidSetting(f"host {host!r} is not an address of this machine (--host)") from None
    # With the protocol: asyncio switches Nagle's delay off only where it sees TCP.
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"port {port} on {host} is in use by another process; "
                "choose another with --http-port"
            ) from None
        if error.errno == errno.EACCES:
            raise InvalidSetting(
                f"port {port} needs privileges that this process lacks; choose one above 1023"
            ) from None
        raise InvalidSetting(f"cannot listen on {host} port {port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def refuse_newcomers(listener: socket.socket) -> None:
    """Let no connection begin any more; those that have begun can still be accepted.

    Closing a listener resets what is in its queue.  With this done some time before, the queue is
    empty by then: newcomers' first segments are dropped, they try again a second later, and are
    refused.  Where there is no such filter (not Linux), a backlog of 0 comes near to it.
    """
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(buffer))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        with contextlib.suppress(OSError):
            listener.listen(0)
