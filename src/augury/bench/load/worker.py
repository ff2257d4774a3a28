"""One worker process: reads plans from standard input, runs each, writes what it measured.

``python -m augury.bench.load.worker``; started by ``fleet``, never by hand.  It ends when its input does.
"""

from __future__ import annotations

import gc
import os
import signal
import struct
from typing import Final

from augury.bench.dialects.registry import DIALECTS
from augury.bench.load.generator import Generator
from augury.bench.load.judging import make_judge
from augury.bench.load.plan import Broken, Done, Ready, decode_plan, encode, write_frame
from augury.bench.load.system import raise_file_limit, stay_on
from augury.core.errors import AuguryError

START: Final = struct.Struct(">d")
SIZE: Final = struct.Struct(">I")


def main() -> None:
    """Serve plans until the parent leaves."""
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Unbuffered: what epoll sees of the input is all that there is.
    to_parent = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (payload := _read_frame()) is not None:
        plan = decode_plan(payload)
        try:
            stay_on(plan.cpu)
            raise_file_limit(plan.connections)
            judge = make_judge(DIALECTS.get(plan.dialect), plan.rows, plan.check, plan.expects)
            generator = Generator(
                plan, judge, stop_fd=0, tell=lambda one: write_frame(to_parent, encode(one))
            )
        except (OSError, ValueError, AuguryError) as error:
            write_frame(to_parent, encode(Broken(f"{type(error).__name__}: {error}")))
            return
        write_frame(to_parent, encode(Ready()))
        start = _read(START.size)
        if start is None:
            return
        # What lives until the end need not be looked at again and again; the loop makes no cycles.
        gc.collect()
        gc.freeze()
        gc.disable()
        tally = generator.run(START.unpack(start)[0])
        gc.enable()
        write_frame(to_parent, encode(Done(tally.to_bytes())))
        if (
            _read(1) is None
        ):  # the parent's word that it has it; also takes a late stop off the pipe
            return


def _read(size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


def _read_frame() -> bytes | None:
    header = _read(SIZE.size)
    return None if header is None else _read(SIZE.unpack(header)[0])


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        # The parent has left; nobody wants the rest.
        os._exit(0)
