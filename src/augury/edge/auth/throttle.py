"""Slow down whoever guesses: so many tries at once for each address, then one every few seconds.

Pure but for the clock that is passed in.  The table is bounded; an address that has not tried for the
longest time makes room, and one that has all its tries again is forgotten.
"""

from __future__ import annotations

import ipaddress
from itertools import islice
from typing import Final

from augury.core.clock import Clock

# Whoever has one IPv6 address usually has all of its /64.
_IPV6_PREFIX: Final = 64


class Throttle:
    """Counts tries for each address.

    Args:
        clock: Monotonic time.
        burst: Tries at once, 1 or more.
        every_s: Seconds after which one more is allowed.
        max_addresses: Addresses that are remembered.
    """

    def __init__(
        self, clock: Clock, *, burst: int = 5, every_s: float = 6.0, max_addresses: int = 10_000
    ) -> None:
        self._clock = clock
        self._burst_s = burst * every_s
        self._every_s = every_s
        self._max_addresses = max_addresses
        # Network to the time at which it has all its tries again; the latest to try comes last.
        self._rested_at_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._rested_at_s)

    def try_once(self, address: str) -> float:
        """Take one try.

        Returns:
            0.0, or the seconds after which *address* may try, when it may not now.
        """
        network = network_of(address)
        now_s = self._clock.monotonic()
        rested_at_s = max(self._rested_at_s.get(network, 0.0), now_s) + self._every_s
        if (wait_s := rested_at_s - now_s - self._burst_s) > 1e-6:
            return wait_s
        self._rested_at_s.pop(network, None)
        self._rested_at_s[network] = rested_at_s
        self._forget(now_s)
        return 0.0

    def give_back(self, address: str) -> None:
        """The last try was none of guessing."""
        network = network_of(address)
        if network in self._rested_at_s:
            self._rested_at_s[network] -= self._every_s

    def _forget(self, now_s: float) -> None:
        # Two at a time: the table shrinks while others join it.
        for network in list(islice(self._rested_at_s, 2)):
            if self._rested_at_s[network] <= now_s or len(self._rested_at_s) > self._max_addresses:
                del self._rested_at_s[network]


def network_of(address: str) -> str:
    """What counts as one client: an IPv4 address, an IPv6 /64, or whatever name there is.

    >>> network_of("192.0.2.7"), network_of("2001:db8::7"), network_of("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::', '192.0.2.7')
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False).network_address)
