"""What a browser must not be made to do for a foreign page.

Two tricks need no stolen credential.  *Cross-site requests*: a page anywhere makes the visitor's
browser send a request here, with the password that the browser keeps, or from a loopback address
that needs none.  Browsers tell on such pages, in ``Sec-Fetch-Site`` and ``Origin``.  *DNS rebinding*: a
page's own name is made to point to 127.0.0.1, and the browser takes this server for that page's.
The name stands in ``Host``, hence on loopback only names of this machine are answered.

Pure.  Programs that are no browsers send neither header, and pass.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from augury.core.errors import InvalidInput, NotAllowed

# As many spellings of Host are remembered.
_MAX_KNOWN: Final = 256

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class Misdirected(InvalidInput):
    """The request is for a host that this server is not."""

    code, title, status = "misdirected", "Misdirected request", 421


class Browsers:
    """Tells requests that a foreign page has made from all others.

    Args:
        on_loopback: Whether the server listens on loopback only.
        allowed_hosts: Further names by which it is asked, such as a proxy's, with or without port.
    """

    def __init__(self, *, on_loopback: bool, allowed_hosts: Iterable[str] = ()) -> None:
        self._on_loopback = on_loopback
        self._allowed = frozenset(name.lower() for name in allowed_hosts)
        self._known: set[bytes] = set()

    def check_host(self, host: bytes | None) -> None:
        """Let requests pass that ask this server by a name of its own.

        Browsers always send the header, so a request without it is not a browser's.

        Raises:
            Misdirected: The server is on loopback, and *host* is a name of something else.
        """
        if not self._on_loopback or host is None or host in self._known:
            return
        split = _split(host)
        if split is None or not (_is_loopback(split[0]) or self._allows(*split)):
            shown = host.decode("latin-1")[:80]
            raise Misdirected(
                f"this server answers on loopback, not for host {shown!r}; ask for localhost, or add "
                "the name to allowed_hosts (AUGURY_ALLOWED_HOSTS)"
            )
        if len(self._known) < _MAX_KNOWN:
            self._known.add(host)

    def check_page(self, site: bytes | None, origin: bytes | None, host: bytes | None) -> None:
        """Let requests pass that no page sent, or one of this server.

        Args:
            site: ``Sec-Fetch-Site``.
            origin: ``Origin``.
            host: ``Host``.

        Raises:
            NotAllowed: A page of another origin sent it.
        """
        if site is not None:
            if site in (b"same-origin", b"none"):
                return
        elif origin is None or self._is_ours(origin, host):
            return
        if origin is not None and self._allows_origin(origin):
            return
        raise NotAllowed(
            "a page of another origin made the browser send this; a request that changes or fetches "
            "something must come from a page of this server, or carry an API key or token (allowed_hosts)"
        )

    def _is_ours(self, origin: bytes, host: bytes | None) -> bool:
        scheme, _, rest = origin.decode("latin-1").lower().partition("://")
        asked = _split(host or b"")
        sent = _split(rest.encode("latin-1"))
        if asked is None or sent is None or scheme not in _DEFAULT_PORTS:
            return False
        # A proxy may speak TLS for us, so either scheme's own port may be left out.
        ports = {sent[1] or _DEFAULT_PORTS[scheme]}
        own = {asked[1]} if asked[1] else set(_DEFAULT_PORTS.values())
        return asked[0] == sent[0] and bool(ports & own)

    def _allows_origin(self, origin: bytes) -> bool:
        split = _split(origin.partition(b"://")[2])
        return split is not None and self._allows(*split)

    def _allows(self, name: str, port: str) -> bool:
        return name in self._allowed or f"{name}:{port}" in self._allowed


def _split(host: bytes) -> tuple[str, str] | None:
    """Name and port (maybe empty) of a ``Host`` header; ``None`` when it is none."""
    match = _HOST.fullmatch(host.decode("latin-1"))
    if match is None:
        return None
    return match[1].lower().removesuffix("."), match[2] or ""


def _is_loopback(name: str) -> bool:
    # Browsers resolve localhost and what is below it without asking a name server.
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
