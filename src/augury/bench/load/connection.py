"""A connection of the load generator."""

from __future__ import annotations

import socket

from augury.bench.load.wire import AnswerReader


class Connection:
    """A socket, and the request that is under way on it."""

    __slots__ = (
        "answers", "at_s", "busy", "connecting", "fd", "out", "reader", "sent_s", "sock",
        "taken_s", "which",
    )  # fmt: skip

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.busy = False
        self.connecting = True
        self.answers = 0
        self.at_s = self.taken_s = self.sent_s = 0.0
        self.which = 0
        self.out: memoryview | None = None
        self.reader: AnswerReader | None = None
