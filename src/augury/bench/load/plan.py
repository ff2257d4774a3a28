"""What a worker process is told, and how frames travel between it and its parent."""

from __future__ import annotations

import struct
from typing import BinaryIO, Final, Literal

import msgspec


class Plan(msgspec.Struct):
    """One run of one worker.

    Args:
        family: Of the socket.
        address: Of the server.
        requests: Whole requests, as they are sent.
        expects: For each request the rows that must be answered, as JSON; empty: any.
        dialect: Name of the dialect that judges answers.
        rows: Rows of each request.
        check: ``rows``: the dialect judges; ``status``: 200 is enough.
        loop: ``open``: requests go at their times; ``closed``: each connection sends when it was answered.
        at: float64 seconds from the start, rising; for the open loop.
        which: uint32 indices into *requests*, in turn.
        connections: In the closed loop so many; in the open loop so many at most.
        warm_up_s: Requests of the first seconds are sent, but not measured.
        duration_s: Seconds that are measured, after those.
        timeout_s: From a request's time; then it has failed.
        slo_s: What counts as in time; ``None``: any answer.
        interval_s: Width of a point of the time series.
        cpu: The core to stay on.
    """

    family: int
    address: tuple[str, int]
    requests: list[bytes]
    expects: list[bytes]
    dialect: str
    rows: int
    check: Literal["rows", "status"]
    loop: Literal["open", "closed"]
    at: bytes
    which: bytes
    connections: int
    warm_up_s: float
    duration_s: float
    timeout_s: float
    slo_s: float | None
    interval_s: float
    cpu: int | None = None


class Progress(msgspec.Struct, tag="progress"):
    """How far a worker is; counts are of what is measured, so far."""

    now_s: float
    offered: int
    ok: int
    good: int
    refused: int
    failed: int
    p50_us: float
    p99_us: float


class Ready(msgspec.Struct, tag="ready"):
    """The worker has its plan."""


class Done(msgspec.Struct, tag="done"):
    """The worker's run is over."""

    tally: bytes


class Broken(msgspec.Struct, tag="broken"):
    """The worker cannot go on."""

    message: str


Message = Ready | Progress | Done | Broken

encode: Final = msgspec.msgpack.Encoder().encode
decode_plan: Final = msgspec.msgpack.Decoder(Plan).decode
decode_message: Final = msgspec.msgpack.Decoder(Message).decode

_SIZE: Final = struct.Struct(">I")
HEADER_BYTES: Final = _SIZE.size


def write_frame(file: BinaryIO, payload: bytes) -> None:
    """Write *payload* with its length before it."""
    file.write(_SIZE.pack(len(payload)) + payload)
    file.flush()


def split_frames(data: bytearray) -> list[bytes]:
    """Take all whole payloads off the front of *data*."""
    frames: list[bytes] = []
    while len(data) >= HEADER_BYTES:
        size = _SIZE.unpack_from(data)[0]
        if len(data) < HEADER_BYTES + size:
            break
        frames.append(bytes(data[HEADER_BYTES : HEADER_BYTES + size]))
        del data[: HEADER_BYTES + size]
    return frames
