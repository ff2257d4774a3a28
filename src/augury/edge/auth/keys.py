"""API keys: how they look, what is kept of them, and how one is told from a wrong one.

Pure.  A key is ``aug_<id>_<secret>``; the id may be shown, the secret is 256 random bits and is kept
nowhere.  What the store holds is a record with a seal: HMAC-SHA256 under the server's secret key, over
the record's fields and the key.  Whoever can only read the store can make no key of it; whoever can
write to it can neither make one nor widen what one may do.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from augury.core.caller import Scope
from augury.core.errors import InvalidInput

SCOPES: Final[tuple[Scope, ...]] = ("predict", "read", "admin")
PREFIX: Final = "aug_"
MIN_SECRET_KEY_CHARACTERS: Final = 32
MAX_NAME_CHARACTERS: Final = 80
MAX_ROWS_PER_MINUTE: Final = 1_000_000_000
MAX_LIFE_S: Final = 100 * 365 * 86_400

_ALPHABET: Final = string.ascii_letters + string.digits
_ID_BYTES: Final = 6
_SECRET_CHARACTERS: Final = 43  # of 62: 256 bits
_ID: Final = re.compile(r"[0-9a-f]{12}")
_LAST_S: Final = 253_402_300_799  # the end of the year 9999, as far as dates can be told
_KEY: Final = re.compile(r"aug_([0-9a-f]{12})_([0-9A-Za-z]{43})")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smhdwy])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_SEAL_OF: Final = b"augury api key 1\0"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of a key.

    Args:
        id: Twelve hexadecimal digits.
        name: For people; may be empty.
        scopes: What it may do, in the order of :data:`SCOPES`.
        created_s: Unix time.
        expires_s: Unix time, or ``None`` for a key that does not expire.
        rows_per_minute: Its quota, or ``None`` for none.
        seal: Hexadecimal HMAC over all of the above and the key.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_s: int
    expires_s: int | None
    rows_per_minute: int | None
    seal: str = ""

    def status(self, now_s: float) -> Literal["active", "expired"]:
        """Whether it still works."""
        expired = self.expires_s is not None and self.expires_s <= now_s
        return "expired" if expired else "active"

    def fields(self) -> dict[str, Any]:
        """All but the seal."""
        return {
            "id": self.id,
            "name": self.name,
            "scopes": list(self.scopes),
            "created_s": self.created_s,
            "expires_s": self.expires_s,
            "rows_per_minute": self.rows_per_minute,
        }

    def encode(self) -> bytes:
        """As the store keeps it."""
        return json.dumps({**self.fields(), "seal": self.seal}).encode()

    @classmethod
    def decode(cls, data: bytes) -> KeyRecord | None:
        """What the store kept; ``None`` when it is no record."""
        try:
            told = json.loads(data)
            record = cls(
                id=str(told["id"]),
                name=str(told["name"]),
                scopes=scopes_of(told["scopes"]),
                created_s=int(told["created_s"]),
                expires_s=_whole(told["expires_s"]),
                rows_per_minute=_whole(told["rows_per_minute"]),
                seal=str(told["seal"]),
            )
        except (ValueError, TypeError, KeyError, RecursionError, InvalidInput):
            return None
        # Whoever can write to the store must not be able to break the list of the others.
        times = (record.created_s, 0 if record.expires_s is None else record.expires_s)
        if not _ID.fullmatch(record.id) or not all(0 <= at <= _LAST_S for at in times):
            return None
        return record


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was made just now: the only time at which it can be shown."""

    text: str
    record: KeyRecord

    def __repr__(self) -> str:
        return f"NewKey(record={self.record!r})"


def make_key(
    secret_key: bytes,
    *,
    scopes: tuple[Scope, ...],
    name: str,
    now_s: float,
    life_s: float | None,
    rows_per_minute: int | None,
) -> NewKey:
    """A new key and its record.

    Args:
        secret_key: The server's.
        scopes: One or more.
        name: For people.
        now_s: Unix time.
        life_s: Seconds until it expires; ``None``: it does not.
        rows_per_minute: Its quota; ``None``: none.

    Raises:
        InvalidInput: No scope, or a name, life or quota out of bounds.
    """
    if not scopes:
        raise InvalidInput(f"a key needs a scope: {', '.join(SCOPES)}")
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise InvalidInput(
            f"a key's name is up to {MAX_NAME_CHARACTERS} printable characters, not {name[:40]!r}"
        )
    if life_s is not None and not 0 < life_s <= MAX_LIFE_S:
        raise InvalidInput(f"a key lives up to 100 years, not {life_s:.0f} seconds")
    if rows_per_minute is not None and not 1 <= rows_per_minute <= MAX_ROWS_PER_MINUTE:
        raise InvalidInput(
            f"a quota is 1 to {MAX_ROWS_PER_MINUTE} rows a minute, not {rows_per_minute}"
        )
    key_id = secrets.token_hex(_ID_BYTES)
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARACTERS))
    text = f"{PREFIX}{key_id}_{secret}"
    unsealed = KeyRecord(
        id=key_id,
        name=name,
        scopes=scopes_of(scopes),
        created_s=int(now_s),
        expires_s=None if life_s is None else int(now_s + life_s),
        rows_per_minute=rows_per_minute,
    )
    sealed = KeyRecord.decode(
        json.dumps({**unsealed.fields(), "seal": seal_of(unsealed, text, secret_key)}).encode()
    )
    assert sealed is not None  # noqa: S101 - it was made a line above
    return NewKey(text, sealed)


def id_of(text: str) -> str | None:
    """The id of something that looks like a key; ``None`` when it does not.

    >>> id_of("aug_0123456789ab_" + 43 * "x"), id_of("aug_0123456789ab_short")
    ('0123456789ab', None)
    """
    match = _KEY.fullmatch(text)
    return None if match is None else match[1]


def fits(record: KeyRecord, text: str, secret_key: bytes) -> bool:
    """Whether *text* is the key that *record* was made for, and nobody changed the record."""
    return hmac.compare_digest(record.seal, seal_of(record, text, secret_key))


def seal_of(record: KeyRecord, text: str, secret_key: bytes) -> str:
    """The seal of a record, without regard to the one that it has."""
    fields = json.dumps(record.fields(), sort_keys=True).encode()
    return hmac.new(
        secret_key, _SEAL_OF + fields + b"\0" + text.encode(), hashlib.sha256
    ).hexdigest()


def scopes_of(words: Any) -> tuple[Scope, ...]:
    """*words* as scopes, each once.

    Raises:
        InvalidInput: One is none.

    >>> scopes_of(["read", "predict", "read"])
    ('predict', 'read')
    """
    unknown = [word for word in words if word not in SCOPES]
    if unknown:
        raise InvalidInput(f"{str(unknown[0])[:40]!r} is no scope; known are: {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in words)


def seconds_of(duration: str) -> float | None:
    """A duration in seconds; ``None`` for ``never``.

    Raises:
        InvalidInput: It is none.

    >>> seconds_of("90d"), seconds_of("never")
    (7776000.0, None)
    """
    if duration == "never":
        return None
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise InvalidInput(f"{duration[:40]!r} is no duration; say 30m, 12h, 90d, 52w, 2y or never")
    return float(int(match[1]) * _SECONDS[match[2]])


def shown(record: KeyRecord, now_s: float, used: str | None) -> Mapping[str, Any]:
    """A record as it may be told to anybody who manages keys."""
    return {
        "id": record.id,
        "name": record.name,
        "scopes": list(record.scopes),
        "status": record.status(now_s),
        "created": _date(record.created_s),
        "expires": _date(record.expires_s),
        "rows_per_minute": record.rows_per_minute,
        "last_used": used,
    }


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _date(time_s: int | None) -> str | None:
    if time_s is None:
        return None
    return datetime.fromtimestamp(time_s, UTC).isoformat().replace("+00:00", "Z")
