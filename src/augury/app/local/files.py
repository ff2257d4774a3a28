"""Files and standard streams, as bytes; ``-`` stands for the standard stream."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from augury.core.errors import OperatorError

STANDARD: Final = Path("-")


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """*path*, or standard input, to be read.

    Raises:
        OperatorError: It cannot be opened.
    """
    if path == STANDARD:
        if sys.stdin is None:
            raise OperatorError("standard input is closed; give --input FILE")
        # A buffer of its own, never closed: a thread may be stuck in reading it when the process
        # ends, and the interpreter would wait for the lock of the buffer of `sys.stdin`.
        yield open(sys.stdin.fileno(), "rb", closefd=False)  # noqa: SIM115 - as said
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise OperatorError(f"cannot read {str(path)!r}: {error.strerror}") from None
    try:
        yield file
    finally:
        if path.is_file():  # as above: closing a pipe waits for whoever reads it
            file.close()


@contextmanager
def open_output(path: Path) -> Iterator[BinaryIO]:
    """*path*, made or emptied, or standard output, to be written.

    Raises:
        OperatorError: It cannot be opened.
    """
    if path == STANDARD:
        if sys.stdout is None:
            raise OperatorError("standard output is closed; give --output FILE")
        yield sys.stdout.buffer
        return
    try:
        file = path.open("wb")
    except OSError as error:
        raise OperatorError(f"cannot write {str(path)!r}: {error.strerror}") from None
    with file:
        yield file


def size_of(path: Path) -> int | None:
    """Bytes of the file; ``None`` for a stream, whose end nobody knows."""
    return path.stat().st_size if path != STANDARD and path.is_file() else None
