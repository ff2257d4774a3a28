"""Ask X's API v2: the only file that talks to X.

Holds one pool of connections and one bearer token.  What an answer means is decided in
``x_answers``, what is asked for in ``x_api`` (one tweet) and ``x_search`` (a query); this file asks,
waits and gives up.  It keeps nothing of what it reads.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar
from urllib.parse import urlsplit

from augury.core.clock import Clock, SystemClock
from augury.core.errors import InvalidSetting, Overloaded, UpstreamFailed
from augury.services.tweets.sources.x_answers import (
    TOKEN_SETTING,
    Limited,
    Transient,
    limit_of,
)

if TYPE_CHECKING:
    # Imported where it is used: whoever asks no X need not have it, nor wait for it at start.
    import httpx2

DEFAULT_BASE_URL: Final = "https://api.x.com"

# What is asked of every tweet.
FIELDS: Final = {
    "expansions": "author_id",
    "tweet.fields": "author_id,created_at,lang,note_tweet,text",
    "user.fields": "name,protected,username",
}
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class XLimits:
    """How patient, and how generous, we are with X.

    Args:
        budget_s: Longest that one question may take, all waiting included.
        connect_s: Longest wait for a connection.
        read_s: Longest silence while X answers.
        attempts: Requests that one question may cost.
        backoff_s: Upper bound of the first wait between attempts; it doubles each time.
        rate_limit_wait_s: Longest wait for X's rate limit to end, rather than say so.
        max_response_bytes: A tweet with its author is about 1 KiB, the longest 30 KiB.
        max_connections: Connections to X at once.
    """

    budget_s: float = 10.0
    connect_s: float = 3.0
    read_s: float = 5.0
    attempts: int = 3
    backoff_s: float = 0.25
    rate_limit_wait_s: float = 3.0
    max_response_bytes: int = 1024 * 1024
    max_connections: int = 20


class Understand(Protocol[T_co]):
    """What an answer means; one of ``x_answers``' functions."""

    def __call__(
        self, *, status: int, headers: Mapping[str, str], body: bytes, now_s: float
    ) -> T_co | Limited | Transient:
        """See ``x_answers.understand``."""


class XClient:
    """Asks X, with patience within bounds.

    Use as an async context manager: it owns connections.

    Args:
        token: Bearer token of an X app; sent to *base_url* and shown nowhere.
        base_url: Where the API is; ``https``, or ``http`` on this machine.
        limits: Bounds of time and size.
        clock: Monotonic for the budget, wall for X's reset times.
        sleep: Waits so many seconds.
        uniform: A random number between its two arguments; jitter.
        on_wait: Told, before each wait, how many seconds it takes and what for.

    Raises:
        InvalidSetting: A token or URL that cannot be.
    """

    def __init__(
        self,
        token: str,
        *,
        base_url: str = DEFAULT_BASE_URL,
        limits: XLimits | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
        on_wait: Callable[[float, str], None] = lambda seconds, why: None,
    ) -> None:
        token = token.strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise InvalidSetting(
                f"{TOKEN_SETTING} is not a bearer token: it is empty, or has spaces or characters "
                "that no header may have"
            )
        parts = urlsplit(base_url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise InvalidSetting(
                f"the base URL of X's API is {base_url!r}; it must be https, since a token is sent "
                "there (http is allowed to this machine only)"
            )
        self._auth_header = _Secret(f"Bearer {token}")
        self._base_url = base_url.rstrip("/")
        self._limits = limits or XLimits()
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._uniform = uniform
        self._on_wait = on_wait
        self._client: httpx2.AsyncClient | None = None
        # What X last said, shared by all questions: once one was told to wait, the others know.
        self._limited: Limited | None = None

    def __repr__(self) -> str:
        return f"XClient(base_url={self._base_url!r})"

    async def __aenter__(self) -> Self:
        try:
            import httpx2
        except ImportError:
            raise InvalidSetting(
                f"{TOKEN_SETTING} is set, but asking X needs httpx2: pip install 'augury[tweets]'"
            ) from None
        limits = self._limits
        self._client = httpx2.AsyncClient(
            base_url=self._base_url,
            # Not `gzip`: a megabyte of zeros would pass the size limit as a kilobyte.
            headers={"accept": "application/json", "accept-encoding": "identity"},
            timeout=httpx2.Timeout(limits.read_s, connect=limits.connect_s),
            limits=httpx2.Limits(
                max_connections=limits.max_connections,
                max_keepalive_connections=limits.max_connections,
            ),
            # A redirect would carry the token to wherever it points.
            follow_redirects=False,
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def ask(self, path: str, query: Mapping[str, str], understand: Understand[T]) -> T:
        """What X answers to a GET of *path*.

        Args:
            path: Below the base URL.
            query: The parameters.
            understand: Called with each answer; what it raises is final.

        Raises:
            Overloaded: X's limit is reached for longer than we wait; ``retry_after_s`` tells.
            UpstreamFailed: X fails, hangs, talks nonsense or refuses our credentials.
        """
        if self._client is None:
            raise RuntimeError("XClient is used outside of `async with`")
        budget_s = self._limits.budget_s
        try:
            async with asyncio.timeout(budget_s):
                return await self._ask_again(self._client, path, query, understand)
        except TimeoutError:
            raise UpstreamFailed(
                f"X did not answer within {budget_s:g} s; try again later", upstream="x"
            ) from None

    async def _ask_again(
        self,
        client: httpx2.AsyncClient,
        path: str,
        query: Mapping[str, str],
        understand: Understand[T],
    ) -> T:
        give_up_s = self._clock.monotonic() + self._limits.budget_s
        attempts = self._limits.attempts
        outcome: Limited | Transient | None = None
        for attempt in range(attempts):
            if isinstance(outcome, Transient):
                # Full jitter: clients that failed together do not come back together.
                wait_s = self._uniform(0, self._limits.backoff_s * 2 ** (attempt - 1))
                self._on_wait(wait_s, outcome.reason)
                await self._sleep(wait_s)
            await self._wait_for_limit(give_up_s)
            answer = await self._ask_once(client, path, query, understand)
            if not isinstance(answer, Limited | Transient):
                return answer
            outcome = answer
            if isinstance(outcome, Limited):
                self._limited = outcome
        if isinstance(outcome, Limited):
            raise self._over_limit(outcome)
        reason = outcome.reason if outcome else "nothing was asked"
        raise UpstreamFailed(
            f"X failed {attempts} times, at last so: {reason}; try again later", upstream="x"
        )

    async def _wait_for_limit(self, give_up_s: float) -> None:
        """Sit a rate limit out when that is soon done.

        Raises:
            Overloaded: It is not.
        """
        limited = self._limited
        if limited is None:
            return
        wait_s = limited.until_s - self._clock.time()
        if wait_s <= 0:
            self._limited = None
            return
        patience_s = min(self._limits.rate_limit_wait_s, give_up_s - self._clock.monotonic())
        if wait_s > patience_s or not limited.passes:
            raise self._over_limit(limited)
        # A little later than told, and not all at the same moment.
        wait_s += self._uniform(0, self._limits.backoff_s)
        self._on_wait(wait_s, f"{limited.what} is reached")
        await self._sleep(wait_s)

    def _over_limit(self, limited: Limited) -> Overloaded:
        wait_s = max(1, math.ceil(limited.until_s - self._clock.time()))
        return Overloaded(
            f"{limited.what} is reached; X answers again in {wait_s} s"
            if limited.passes
            else f"{limited.what} is reached; it ends with the billing period, or with a larger plan",
            retry_after_s=wait_s,
            upstream="x",
        )

    async def _ask_once(
        self,
        client: httpx2.AsyncClient,
        path: str,
        query: Mapping[str, str],
        understand: Understand[T],
    ) -> T | Limited | Transient:
        """Send one request."""
        import httpx2

        try:
            async with client.stream(
                "GET", path, params=dict(query), auth=self._authorise
            ) as response:
                body = await self._read(response)
                status, headers = response.status_code, dict(response.headers)
        except httpx2.TransportError as error:
            # The cause holds the request, and with it the token: it is named, not chained.
            return Transient(_words(error))
        now_s = self._clock.time()
        outcome = understand(status=status, headers=headers, body=body, now_s=now_s)
        if not isinstance(outcome, Limited | Transient):
            self._limited = limit_of(headers, now_s) or self._limited
        return outcome

    async def _read(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._limits.max_response_bytes:
                raise UpstreamFailed(
                    f"X's answer is over {self._limits.max_response_bytes} bytes; none should be",
                    upstream="x",
                )
        return bytes(body)

    def _authorise(self, request: httpx2.Request) -> httpx2.Request:
        request.headers["authorization"] = self._auth_header.value
        return request


class _Secret:
    """Text that does not show in a traceback's locals."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "_Secret(…)"


def _words(error: httpx2.TransportError) -> str:
    """What a person makes of a transport error; without its text, which may quote the request."""
    import httpx2

    if isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout):
        return "no connection in time"
    if isinstance(error, httpx2.TimeoutException):
        return "it fell silent"
    if isinstance(error, httpx2.ConnectError):
        return "it cannot be reached"
    return f"the connection broke ({type(error).__name__})"
