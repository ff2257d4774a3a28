"""When a server is done with what it was given."""

from __future__ import annotations

import time
from typing import Final

from augury.bench.measure.processes import Watcher

# So long a server that is still busy with the last level may go on before the next begins.
SETTLE_S: Final = 30.0
# Of a core, above what the server uses without any load.
REST_CORES: Final = 0.1
_LOOK_S: Final = 0.3
_IDLE_S: Final = 1.0


class Rest:
    """Waits until a server does no more than it did before the first load.

    Servers with a runtime of their own (a JVM, Ray's processes) use part of a core when nobody asks them anything.

    Args:
        watcher: Looks at its processes; ``None`` when they are not known: then a second must do.
        settle_s: To wait at most.
    """

    def __init__(self, watcher: Watcher | None, *, settle_s: float = SETTLE_S) -> None:
        self._watcher = watcher
        self._settle_s = settle_s
        self.idle_cores = 0.0

    def learn(self) -> None:
        """Look for a second at what the server uses without load."""
        if self._watcher is not None:
            self.idle_cores = self._cores(self._watcher, _IDLE_S)

    def wait(self) -> float:
        """Seconds until the server was at rest; ``settle_s`` at most."""
        began_s = time.monotonic()
        if self._watcher is None:
            time.sleep(1.0)
        else:
            while time.monotonic() - began_s < self._settle_s:
                if self._cores(self._watcher, _LOOK_S) < self.idle_cores + REST_CORES:
                    break
        return time.monotonic() - began_s

    @staticmethod
    def _cores(watcher: Watcher, for_s: float) -> float:
        before_s, from_s = watcher.sample(), time.monotonic()
        time.sleep(for_s)
        return (watcher.sample() - before_s) / (time.monotonic() - from_s)
