"""Names of ``[cache] policy`` to what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from augury.cache.policies.base import Policy
from augury.core.registry import Registry

POLICIES: Final[Registry[Callable[[], Policy]]] = Registry(
    "cache policy",
    "augury.cache_policies",
    {
        "lru": "augury.cache.policies.lru:LeastRecentlyUsed",
        "lfu": "augury.cache.policies.lfu:LeastFrequentlyUsed",
        "ttl": "augury.cache.policies.ttl:SoonestToExpire",
    },
)
