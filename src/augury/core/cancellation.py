"""How a run that is under way learns that nobody wants its answer any more."""

from __future__ import annotations

from collections.abc import Callable


class RunCancelled(Exception):
    """A run ended early because its :class:`Cancellation` said so; never told to a caller."""


class Cancellation:
    """Stops one run; made for it, and of no use afterwards.

    Without a lock.  :meth:`cancel` sets the flag and then looks for somebody to tell, :meth:`on_cancel`
    leaves a way to be told and then looks at the flag: whichever comes second sees the other.  A run that
    is over when it is cancelled is not harmed, and neither is the next, which has one of its own.

    >>> stopped = []
    >>> cancel = Cancellation()
    >>> cancel.on_cancel(lambda: stopped.append("the run"))
    >>> cancel.cancel()
    >>> stopped, cancel.cancelled
    (['the run'], True)
    """

    __slots__ = ("_stop", "cancelled")

    def __init__(self) -> None:
        self.cancelled = False
        self._stop: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Nobody wants the answer; from any thread, and more than once does no harm."""
        self.cancelled = True
        stop = self._stop
        if stop is not None:
            stop()

    def on_cancel(self, stop: Callable[[], None]) -> None:
        """For the runtime: *stop*, which may be called twice, ends the run that is about to begin."""
        self._stop = stop
        if self.cancelled:
            stop()

    def check(self) -> None:
        """For a runtime between two steps of a run.

        Raises:
            RunCancelled: Nobody wants the answer.
        """
        if self.cancelled:
            raise RunCancelled
