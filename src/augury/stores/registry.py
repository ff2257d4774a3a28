"""From a URL to an open store.

A scheme names a function that opens its stores; ours are listed here, those of other packages come
through the entry-point group ``augury.stores``.  A store that needs a package which is not
installed costs nothing until its scheme is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

from augury.core.clock import Clock
from augury.core.errors import InvalidSetting, NotFound
from augury.core.registry import Registry
from augury.stores.base import KeyValueStore


class StoreOpener(Protocol):
    """What is registered under a scheme."""

    async def __call__(
        self,
        url: SplitResult,
        *,
        clock: Clock,
        on_corrupt: Callable[[Path, str], None],
        timeout_s: float,
    ) -> KeyValueStore:
        """Open the store that *url* names.

        Args:
            url: The URL, split; its scheme is the one registered.
            clock: Decides what has expired.
            on_corrupt: Told, on the event loop, that a damaged file was kept aside: where it lies
                now, and what was wrong with it.  Of no use to stores without files.
            timeout_s: For one operation, where the URL says nothing.  Of no use to stores that
                nobody waits for.

        Raises:
            ValueError: The URL is not one of this store's; the message says why, without the URL.
            OperatorError: The URL is, but what it names cannot be opened.
        """


STORES: Final[Registry[StoreOpener]] = Registry(
    "store",
    "augury.stores",
    {
        "memory": "augury.stores.memory:open_url",
        "sqlite": "augury.stores.sqlite:open_url",
        "redis": "augury.stores.redis.url:open_url",
        "rediss": "augury.stores.redis.url:open_url",
    },
)

# What brings the packages that a scheme of ours needs.
_EXTRAS: Final = {"redis": "redis", "rediss": "redis"}

# For one operation of a store that lies elsewhere.
DEFAULT_TIMEOUT_S: Final = 0.5

# Greedy up to the last "@": a password with an unescaped "/", "?" or "@" is hidden whole.
_USERINFO = re.compile(r"://(?:([^:@/?#]*):)?.*@", re.DOTALL)
_SECRET_PARAMETER = re.compile(
    r"([?&][^=&]*(?:password|passwd|secret|token|key)[^=&]*=)[^&#]*", re.IGNORECASE
)


def masked(url: str) -> str:
    """*url* as it may be shown: ``***`` in place of its password.

    >>> masked("redis://augury:hunter2@cache:6379/0")
    'redis://augury:***@cache:6379/0'
    >>> masked("redis://cache/0?password=hunter2")
    'redis://cache/0?password=***'
    """
    hidden = _USERINFO.sub(lambda m: f"://{m[1]}:***@" if m[1] is not None else "://***@", url)
    return _SECRET_PARAMETER.sub(r"\1***", hidden)


async def open_store(
    url: str,
    *,
    clock: Clock,
    on_corrupt: Callable[[Path, str], None],
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> KeyValueStore:
    """Open the store that *url* names; its owner closes it.

    Args:
        url: ``memory://``, ``sqlite:///relative/path``, ``sqlite:////absolute/path``,
            ``redis://host:port/db``, or a scheme that another package registered.
        clock: Decides what has expired.
        on_corrupt: Told that a damaged file was kept aside: where it lies now, and why.
        timeout_s: For one operation of a store that lies elsewhere, where its URL says nothing.

    Raises:
        InvalidSetting: The scheme is unknown, needs a package that is not installed, or the rest
            of the URL is not what the scheme asks for.
        OperatorError: The store that it names cannot be opened.
    """
    shown = masked(url)
    known = ", ".join(f"{name}://" for name in STORES.names())
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise InvalidSetting(f"store {shown!r} is not a URL; known are: {known}", url=shown)
    try:
        opener = STORES.get(scheme.lower())
    except NotFound:
        raise InvalidSetting(
            f"store {shown!r} has an unknown scheme; known are: {known}", url=shown
        ) from None
    except ImportError as error:
        extra = _EXTRAS.get(scheme.lower())
        how = f"; pip install 'augury[{extra}]'" if extra else ""
        raise InvalidSetting(
            f"store {shown!r} needs a package that is not installed: {error}{how}", url=shown
        ) from error
    try:
        split = urlsplit(url)
    except ValueError:
        # The parser's own words may hold the password.
        raise InvalidSetting(
            f"store {shown!r} is not a URL; known are: {known}", url=shown
        ) from None
    try:
        return await opener(split, clock=clock, on_corrupt=on_corrupt, timeout_s=timeout_s)
    except ValueError as error:
        raise InvalidSetting(f"store {shown!r}: {error}; known are: {known}", url=shown) from error
