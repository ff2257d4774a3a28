"""Decides about each request before its body is read: who asks, and whether they may.

The way of most requests, with a credential that was right a moment ago or with none, is synchronous
and takes about a microsecond; any other waits in :meth:`Gate.ask`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from augury.core.caller import Caller, Scope
from augury.core.errors import NotAllowed, Unauthenticated
from augury.edge.auth.browsers import Browsers, Misdirected
from augury.edge.auth.credentials import Credentials
from augury.edge.auth.presented import Login, Token, read_authorization, read_token, repeated
from augury.edge.auth.recall import Recall
from augury.edge.auth.scopes import changes_something
from augury.protocols.asgi import Headers, header

CHALLENGE: Final = b'Basic realm="augury", Bearer'

_HOW: Final = (
    "send an API key (Authorization: Bearer KEY, or X-API-Key: KEY) or a user name and password "
    "(Authorization: Basic)"
)


class Gate:
    """Who may pass.

    Args:
        credentials: Knows whose a credential is.
        recall: Remembers it.
        browsers: Refuses what foreign pages have a browser send.
        anonymous: What may be done without a credential.
    """

    def __init__(
        self,
        credentials: Credentials,
        recall: Recall,
        browsers: Browsers,
        *,
        anonymous: frozenset[Scope],
    ) -> None:
        self._credentials = credentials
        self._recall = recall
        self._find = recall.find
        self._browsers = browsers
        self.anonymous = Caller("anonymous", anonymous)

    def welcome(self, scope: Mapping[str, Any]) -> Caller:
        """The caller of a request that anybody may send; its credentials are not looked at.

        Raises:
            Misdirected: It is for another host.
        """
        self._browsers.check_host(header(scope["headers"], b"host"))
        return self.anonymous

    def identify(self, scope: Mapping[str, Any]) -> Caller | None:
        """Who sends a request, if that can be told at once; else ``None``: :meth:`ask`.

        Raises:
            Unauthenticated: Two credentials.
            NotAllowed: A foreign page made a browser send it.
            Misdirected: It is for another host.
        """
        headers = scope["headers"]
        shown = dict(headers)
        if len(shown) != len(headers):
            _refuse_repeated(headers)
        self._browsers.check_host(shown.get(b"host"))
        caller = self.anonymous
        if (credential := _credential(shown)) is not None:
            known = self._find(credential)
            if known is None:
                return None
            if known.due:
                self._renew(credential, scope)
            caller = known.caller
        if b"origin" in shown or b"sec-fetch-site" in shown:
            self._check_page(shown, credential, scope)
        return caller

    async def ask(self, scope: Mapping[str, Any]) -> Caller:
        """Who sends a request whose credential has to be looked up; :meth:`identify` comes first.

        Raises:
            Unauthenticated: The credential is wrong.
            NotAllowed: A foreign page made a browser send it.
            Overloaded: Too many wrong ones came from the same address, or too many at once.
            Unavailable: The store that knows the keys cannot be reached.
        """
        shown = dict(scope["headers"])
        credential = _credential(shown) or b""
        # First: a foreign page shall not even make us look.
        self._check_page(shown, credential, scope)
        read = _read(credential)
        digest = self._recall.digest(credential)
        if read is None or self._recall.is_wrong(digest):
            raise _wrong()
        address = address_of(scope)
        caller = await self._recall.learn(
            digest,
            lambda: self._credentials.look_up(read, address),
            fault=self._credentials.fault(read),
        )
        if caller is None:
            raise _wrong()
        return caller

    def check(self, caller: Caller, need: Scope) -> None:
        """Let *caller* do what needs the scope *need*.

        Raises:
            Unauthenticated: It is nobody, and a credential is needed.
            NotAllowed: It is somebody whose credential does not reach so far.
        """
        if caller.may(need):
            return
        if caller is not self.anonymous:
            has = ", ".join(sorted(caller.scopes)) or "none"
            raise NotAllowed(
                f"this needs the scope {need!r}, and {caller.name} has {has}", scope=need
            )
        how = _HOW
        if need == "admin" and not self._credentials.has_admin:
            how += (
                "; none for administrators is set up: set AUGURY_ADMIN_TOKEN, or FIRST_SUPERUSER and "
                "FIRST_SUPERUSER_PASSWORD, or make one with: augury keys create --scope admin"
            )
        raise Unauthenticated(f"this needs the scope {need!r}; {how}", scope=need)

    def _renew(self, credential: bytes, scope: Mapping[str, Any]) -> None:
        read = _read(credential)
        if read is not None:
            address, digest = address_of(scope), self._recall.digest(credential)
            self._recall.renew(
                digest, lambda: self._credentials.look_up(read, address, renewal=True)
            )

    def _check_page(
        self, shown: Mapping[bytes, bytes], credential: bytes | None, scope: Mapping[str, Any]
    ) -> None:
        # A browser adds by itself what it remembers, a password, but never a key or token.
        by_itself = not credential or credential[:6].lower() == b"basic "
        if by_itself and changes_something(scope["method"], scope["path"]):
            self._browsers.check_page(
                shown.get(b"sec-fetch-site"), shown.get(b"origin"), shown.get(b"host")
            )


def address_of(scope: Mapping[str, Any]) -> str:
    """The client's address, or "unknown"."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _credential(shown: Mapping[bytes, bytes]) -> bytes | None:
    """The one credential of a request, if there is one; that of ``X-API-Key`` is marked with a NUL."""
    authorization, key = shown.get(b"authorization"), shown.get(b"x-api-key")
    if key is None:
        return authorization
    if authorization is None:
        return b"\0" + key
    raise Unauthenticated("two credentials were sent, Authorization and X-API-Key; send one")


def _read(credential: bytes) -> Login | Token | None:
    if credential[:1] == b"\0":
        return read_token(credential[1:])
    return read_authorization(credential)


def _refuse_repeated(headers: Headers) -> None:
    """Refuse requests that could be read in two ways."""
    name = repeated(headers)
    if name in (b"authorization", b"x-api-key"):
        raise Unauthenticated(f"the header {name.decode()} was sent twice; send it once")
    if name == b"host":
        raise Misdirected("the header host was sent twice; send it once")
    if name is not None:
        raise NotAllowed(f"the header {name.decode()} was sent twice; send it once")


def _wrong() -> Unauthenticated:
    return Unauthenticated(f"the credentials are not valid; {_HOW}")
