"""Lines of files that are held in memory as a whole: of bounded length, and bounded together."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from augury.core.errors import OperatorError

MAX_LINE_BYTES: Final = 64 * 1024 * 1024
MAX_BYTES: Final = 512 * 1024 * 1024
_STANDARD: Final = Path("-")
_BOM: Final = b"\xef\xbb\xbf"


@contextmanager
def open_lines(path: Path) -> Iterator[Iterator[str]]:
    """The lines of *path*, ``-`` for standard input, with their ends; a byte order mark is none of the first.

    Raises:
        OperatorError: It cannot be read, is not UTF-8, or has more than 512 MiB, or 64 MiB in a line.
    """
    try:
        if path == _STANDARD:
            if sys.stdin is None:
                raise OperatorError("standard input is closed")
            with open(sys.stdin.fileno(), "rb", closefd=False) as file:
                yield lines_of(file, "standard input")
        else:
            with path.open("rb") as file:
                yield lines_of(file, str(path))
    except OSError as error:
        raise OperatorError(f"cannot read {str(path)!r}: {error.strerror}") from None


def lines_of(
    file: BinaryIO, name: str, *, max_line_bytes: int = MAX_LINE_BYTES, max_bytes: int = MAX_BYTES
) -> Iterator[str]:
    """As :func:`open_lines`, of a file that is open."""
    total = number = 0
    while line := file.readline(max_line_bytes + 1):
        number += 1
        total += len(line)
        if len(line) > max_line_bytes:
            raise OperatorError(f"{name}:{number}: a line of over {max_line_bytes:,} bytes")
        if total > max_bytes:
            raise OperatorError(f"{name} has more than {max_bytes:,} bytes; give fewer lines")
        try:
            yield (line.removeprefix(_BOM) if number == 1 else line).decode()
        except UnicodeDecodeError:
            raise OperatorError(f"{name} is not UTF-8 (line {number})") from None
