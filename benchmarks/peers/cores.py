"""Which cores the server has, and which the load.  Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

# As many as the peers have threads, on however large a machine.
SERVER_CORES = 2


@dataclass(frozen=True)
class Cores:
    """Where they run.

    Args:
        server: Of the server.
        load: Of the load generator; empty: any, since there are too few to give it one of its own.
    """

    server: tuple[int, ...]
    load: tuple[int, ...]

    @property
    def apart(self) -> bool:
        """Whether the load has a core that the server has not."""
        return bool(self.load) and not set(self.server) & set(self.load)


def share(available: Collection[int], kind: str) -> Cores:
    """Divide the cores that this process may use.

    The identity work: one for the server, another for the load.  A model: two for the server, another for the load
    where there are three; with two the load shares them, since half a machine would measure another server.

    Raises:
        SystemExit: There is but one core.

    >>> share({0, 1}, "identity"), share({0, 1}, "text")
    (Cores(server=(0,), load=(1,)), Cores(server=(0, 1), load=()))
    >>> share({4, 5, 6, 7}, "text")
    Cores(server=(4, 5), load=(7,))
    """
    cores = sorted(available)
    if len(cores) < 2:
        raise SystemExit("server and load need two cores")
    if kind == "identity":
        return Cores((cores[0],), (cores[-1],))
    load = (cores[-1],) if len(cores) > SERVER_CORES else ()
    return Cores(tuple(cores[:SERVER_CORES]), load)


def listed(cores: tuple[int, ...]) -> str:
    """For ``taskset``.

    >>> listed((0, 1))
    '0,1'
    """
    return ",".join(map(str, cores))
