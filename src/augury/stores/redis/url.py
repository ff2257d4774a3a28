"""From ``redis://user:password@host:port/db`` to an open store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote

from augury.core.clock import Clock
from augury.stores.redis.connections import Server
from augury.stores.redis.link import Link
from augury.stores.redis.store import RedisStore

DEFAULT_PORT: Final = 6379
DEFAULT_PREFIX: Final = "augury:"
DEFAULT_POOL: Final = 16
PARAMETERS: Final = ("timeout_s", "prefix", "pool", "tls_ca")


async def open_url(
    url: SplitResult,
    *,
    clock: Clock,
    on_corrupt: Callable[[Path, str], None],
    timeout_s: float,
) -> RedisStore:
    """Open ``redis://`` or, over TLS, ``rediss://``.

    Parameters: ``timeout_s`` for one operation, ``prefix`` of all keys ("augury:"), ``pool`` for
    the number of connections, ``tls_ca`` for the file of authorities that sign the certificate.

    A server that cannot be reached is no error: the store has a fault until it can.

    Args:
        url: The URL, split; ``%`` escapes in user name and password are understood.
        clock: Tells since when the server cannot be reached.
        on_corrupt: Not used; there is no file of ours.
        timeout_s: Where the URL says nothing.

    Raises:
        ValueError: The URL is not one of Redis.
        OperatorError: The server refuses the password or the database.
    """
    del on_corrupt
    given = _parameters(url)
    server = _server(url, given)
    link = Link(
        server,
        # Without user, password and parameters.
        name=f"{url.scheme.lower()}://{_shown_host(server.host)}:{server.port}/{server.db}",
        timeout_s=_seconds(given["timeout_s"]) if "timeout_s" in given else timeout_s,
        pool=_connections(given.get("pool", str(DEFAULT_POOL))),
        clock=clock,
    )
    await link.open()
    return RedisStore(link, prefix=given.get("prefix", DEFAULT_PREFIX))


def _server(url: SplitResult, given: dict[str, str]) -> Server:
    if not url.hostname:
        raise ValueError("write redis://host:port/db")
    if url.fragment:
        raise ValueError("write # in a password as %23")
    db = url.path.removeprefix("/") or "0"
    if not (db.isascii() and db.isdigit()):
        raise ValueError(f"database {db!r} is not a number; write redis://host:port/db")
    tls = url.scheme.lower() == "rediss"
    if "tls_ca" in given and not tls:
        raise ValueError("tls_ca is for rediss://")
    try:
        port = url.port
    except ValueError:
        raise ValueError("the port is not a number of 1 to 65535") from None
    return Server(
        host=url.hostname,
        port=port or DEFAULT_PORT,
        db=int(db),
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else None,
        tls=tls,
        tls_ca=given.get("tls_ca"),
    )


def _parameters(url: SplitResult) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)):
        if name not in PARAMETERS:
            raise ValueError(f"unknown parameter {name!r}; there are: {', '.join(PARAMETERS)}")
        given[name] = value
    return given


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.001 <= seconds <= 60:
        raise ValueError(f"timeout_s is {text!r}, it must be a number of 0.001 to 60")
    return seconds


def _connections(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 1000:
        raise ValueError(f"pool is {text!r}, it must be a whole number of 1 to 1000")
    return int(text)


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
