"""The server's secret key: from a setting, or from a file that is made once.

Keys in the store are sealed with it, so whoever changes it makes every key invalid.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from augury.core.errors import InvalidSetting

_BYTES: Final = 32
_MAX_FILE_BYTES: Final = 4096
# Any access of others than the owner.
_OTHERS: Final = 0o077


class SecretKey:
    """The secret key.

    Args:
        given: From the setting; ``None``: it is in *file*.
        file: Where it is when none is given; ``None``: there shall be none.
    """

    def __init__(self, given: str | None, file: Path | None) -> None:
        self._key = None if given is None else given.encode()
        self._file = file

    def read(self) -> bytes | None:
        """The key, or ``None`` while nobody has made one.

        Raises:
            InvalidSetting: The file can be read by others, or does not hold a key.
        """
        if self._key is None and self._file is not None:
            self._key = _read(self._file)
        return self._key

    def read_or_make(self) -> bytes:
        """The key, made now if there is none; of two that make it at once, one wins.

        Raises:
            InvalidSetting: See :meth:`read`; or there shall be none.
        """
        if (key := self.read()) is not None:
            return key
        if self._file is None:
            raise InvalidSetting("secret_key is not set (AUGURY_SECRET_KEY)")
        _make(self._file)
        made = self.read()
        assert made is not None  # noqa: S101 - it lies there now
        return made


def _read(file: Path) -> bytes | None:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read(_MAX_FILE_BYTES).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidSetting(f"{file}: {error.strerror}; it holds the secret key") from None
    if mode & _OTHERS:
        raise InvalidSetting(
            f"{file} holds the secret key and may be opened by others (mode {mode & 0o777:04o}); "
            f"run: chmod 600 {file}"
        )
    if len(text) < _BYTES:
        raise InvalidSetting(f"{file} holds {len(text)} bytes, a secret key has {_BYTES} or more")
    return text


def _make(file: Path) -> None:
    """Write a new key, whole and for this user alone, unless the file is there by then."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(number, "wb") as opened:
            opened.write(secrets.token_hex(_BYTES).encode() + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first; theirs counts
            os.link(fresh, file)
    finally:
        fresh.unlink(missing_ok=True)
