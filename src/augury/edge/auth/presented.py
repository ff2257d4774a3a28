"""What a request shows: user name and password, or a token.

Pure.  A credential that cannot be read is ``None`` here and is answered like a wrong one, so that
nobody learns from the answer what was wrong with it.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from typing import Final

from augury.protocols.asgi import Headers

# Longer than any credential of ours; what is longer is not looked at.
MAX_CREDENTIAL_BYTES: Final = 1024

# Each of these may be there once.
SINGLE: Final = (b"authorization", b"x-api-key", b"host", b"origin", b"sec-fetch-site")

_TOKEN: Final = re.compile(rb"[\x21-\x7e]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Login:
    """What ``Authorization: Basic`` holds."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """An API key or another bearer token."""

    value: str = field(repr=False)


def repeated(headers: Headers) -> bytes | None:
    """The first of :data:`SINGLE` that is there twice, or ``None``."""
    names = [name for name, _ in headers]
    return next((name for name in SINGLE if names.count(name) > 1), None)


def read_authorization(value: bytes) -> Login | Token | None:
    """What an ``Authorization`` header holds; ``None`` when it cannot be read.

    >>> read_authorization(b"Basic YWRhOmh1bnRlcjI=").user
    'ada'
    >>> read_authorization(b"Digest abc") is None
    True
    """
    if len(value) > MAX_CREDENTIAL_BYTES:
        return None
    scheme, _, rest = value.partition(b" ")
    scheme = scheme.lower()
    if scheme == b"bearer":
        return read_token(rest)
    if scheme == b"basic":
        return _read_login(rest)
    return None


def read_token(value: bytes) -> Token | None:
    """A token, as ``X-API-Key`` holds it; ``None`` when it cannot be one."""
    if len(value) > MAX_CREDENTIAL_BYTES or _TOKEN.fullmatch(value) is None:
        return None
    return Token(value.decode("ascii"))


def _read_login(value: bytes) -> Login | None:
    try:
        text = binascii.a2b_base64(value, strict_mode=True).decode("utf-8")
    except ValueError:  # both ways of not being what it should be
        return None
    user, colon, password = text.partition(":")
    if not colon or not user or _CONTROL.search(text) is not None:
        return None
    return Login(user, password)
