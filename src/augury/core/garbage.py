"""Keep the garbage collector off what lives as long as the server.

A collection of the oldest generation looks at every object there is: some 90,000 after start, which holds
everybody up for 40 ms.  What is frozen is not looked at, and not freed either while it is part of a
cycle, so that whoever lets go of something large settles anew.
"""

from __future__ import annotations

import gc


def freeze() -> None:
    """What lives now will go on living: leave it out of all collections."""
    gc.freeze()


def settle() -> None:
    """After something large has gone: collect it, then leave out what lives, if that was done before.

    Holds all threads up for some 40 ms.
    """
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
        gc.freeze()
