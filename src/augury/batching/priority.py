"""Lets the event loop go before the instances where cores are short.

The loop reads, refuses and answers in microseconds what the instances compute in milliseconds.  On a machine
whose cores are all busy the kernel would share them out evenly between the threads, and requests would
wait in the sockets, where no deadline counts and nothing is refused.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import Final

# Each step weighs a tenth or so: at five, a thread gets a third of what one at zero gets, where both
# want the same core. More would let a stranger's load starve the model; and a thread that waits for a core
# while it holds the interpreter's lock holds up the loop as well.
NICENESS: Final = 5


def step_back() -> None:
    """Let the calling thread go after the process's others; on Linux, where threads have a niceness."""
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    with suppress(OSError):  # forbidden by a sandbox: then it is not to be
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(now + NICENESS, 19))
