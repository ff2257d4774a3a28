"""From settings to the gate: which credentials there are, and whether they suffice where we listen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from augury.app.settings import Settings
from augury.core.caller import Scope
from augury.core.clock import Clock
from augury.core.errors import InvalidSetting
from augury.edge.auth.audit import Audit
from augury.edge.auth.browsers import Browsers
from augury.edge.auth.credentials import Credentials
from augury.edge.auth.gate import Gate
from augury.edge.auth.key_ring import KeyRing
from augury.edge.auth.passwords import Superuser, is_hash
from augury.edge.auth.recall import Recall
from augury.edge.auth.secret_key import SecretKey
from augury.observe.logs import get_logger
from augury.stores.base import KeyValueStore

SECRET_KEY_FILE: Final = Path("augury-data/secret.key")
MIN_SECRET_CHARACTERS: Final = 12

# What examples, tutorials and guessers use; compared without regard to case and punctuation.
_WEAK: Final = (
    "changethis",
    "changeme",
    "changeit",
    "replaceme",
    "admin",
    "administrator",
    "password",
    "passw0rd",
    "secret",
    "letmein",
    "superuser",
    "augury",
    "qwerty",
    "example",
    "test",
)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """What the edge needs to decide who may do what."""

    gate: Gate
    audit: Audit


def check_exposure(settings: Settings) -> None:
    """Refuse to listen where others reach us without the secrets that this takes.

    With ``model_control`` "none" no credential is demanded: the routes that change something are then
    closed to everybody.  Secrets that are easily guessed are refused outside loopback in any case.

    Raises:
        InvalidSetting: It names all that is missing or weak, and never a secret.
    """
    superuser, password = settings.first_superuser, settings.first_superuser_password
    if (superuser is None) != (password is None):
        here, there = ("first_superuser", "first_superuser_password")
        if superuser is None:
            here, there = there, here
        raise InvalidSetting(f"{here} is set, {there} is not; the superuser needs both")
    for name in ("admin_token", "secret_key"):
        token: SecretStr | None = getattr(settings, name)
        if token is not None and is_hash(token.get_secret_value().lstrip("'\"")):
            raise InvalidSetting(f"{name} is a hash; tokens and keys are given as they are")
    if settings.on_loopback:
        return
    wrong = []
    if settings.model_control != "none":
        if superuser is None and settings.admin_token is None:
            wrong.append(
                "a credential for administrators is missing (FIRST_SUPERUSER and "
                "FIRST_SUPERUSER_PASSWORD, or AUGURY_ADMIN_TOKEN)"
            )
        if settings.secret_key is None:
            wrong.append(
                "the key that seals API keys is missing (AUGURY_SECRET_KEY; make one with: "
                "openssl rand -hex 32)"
            )
    for name in ("first_superuser_password", "admin_token", "secret_key"):
        value: SecretStr | None = getattr(settings, name)
        if value is None or is_hash(value.get_secret_value()):
            continue  # what a hash is of is not known
        if why := weakness(value.get_secret_value()):
            wrong.append(f"{name} {why}")
    if wrong:
        raise InvalidSetting(
            f"host {settings.host!r} can be reached from outside this machine: {'; '.join(wrong)}"
        )


def weakness(secret: str) -> str | None:
    """Why *secret* is too weak to be reachable from outside, or ``None``.

    >>> weakness("changethis"), weakness("a longer and better one")
    ('has 10 characters, 12 are the least', None)
    """
    if len(secret) < MIN_SECRET_CHARACTERS:
        return f"has {len(secret)} characters, {MIN_SECRET_CHARACTERS} are the least"
    letters = "".join(c for c in secret.lower() if c.isalnum())
    rest = letters
    for word in _WEAK:
        rest = rest.replace(word, "")
    if not rest.strip("0123456789"):
        return "is made of words that are guessed first"
    if len(set(secret)) < 5:
        return f"has only {len(set(secret))} different characters"
    return None


def secret_key_of(settings: Settings) -> SecretKey:
    """The secret key: of the setting; on loopback, else, of a file in the working folder."""
    given = settings.secret_key
    file = SECRET_KEY_FILE if settings.on_loopback else None
    return SecretKey(None if given is None else given.get_secret_value(), file)


def anonymous_scopes_of(settings: Settings) -> frozenset[Scope]:
    """What may be done without a credential.

    On loopback it is this machine's users who ask, unless a proxy lets others in: then its name is
    among the allowed hosts.
    """
    if settings.anonymous_scopes is not None:
        return frozenset(settings.anonymous_scopes)
    if settings.on_loopback and not settings.allowed_hosts:
        return frozenset({"predict", "read"})
    return frozenset()


def audit_of(settings: Settings, clock: Clock) -> Audit:
    """The audit log."""
    return Audit(clock, file=settings.audit_file, max_bytes=settings.audit_file_bytes)


@asynccontextmanager
async def open_access(
    settings: Settings, store: KeyValueStore, clock: Clock
) -> AsyncIterator[Access]:
    """The gate and the audit log; their threads and tasks end with the block.

    Raises:
        InvalidSetting: A hash or secret key that cannot be used.
    """
    secret_key = secret_key_of(settings)
    sealed = secret_key.read() is not None  # what is wrong with it is told at the start
    name, password = settings.first_superuser, settings.first_superuser_password
    superuser = (
        Superuser(name, password.get_secret_value())
        if name is not None and password is not None
        else None
    )
    token = settings.admin_token
    audit = audit_of(settings, clock)
    recall = Recall(clock)
    credentials = Credentials(
        KeyRing(store, clock),
        secret_key.read,
        superuser=superuser,
        admin_token=None if token is None else token.get_secret_value(),
        audit=audit,
        clock=clock,
    )
    browsers = Browsers(on_loopback=settings.on_loopback, allowed_hosts=settings.allowed_hosts)
    anonymous = anonymous_scopes_of(settings)
    if not (anonymous or credentials.has_admin or sealed):
        _log.warning(
            "nobody may ask this server anything but its health; set a credential, or "
            "AUGURY_ANONYMOUS_SCOPES"
        )
    try:
        yield Access(Gate(credentials, recall, browsers, anonymous=anonymous), audit)
    finally:
        await recall.close()
        if superuser is not None:
            superuser.close()
        audit.close()
