"""Tests of ``augury.core.cancellation``."""

from __future__ import annotations

import threading

import pytest

from augury.core.cancellation import Cancellation, RunCancelled


def test_check_between_two_steps() -> None:
    """Nothing while the answer is wanted."""
    cancel = Cancellation()
    cancel.check()
    cancel.cancel()
    with pytest.raises(RunCancelled):
        cancel.check()


def test_whoever_comes_second_sees_the_other() -> None:
    """In a thousand races between beginning and cancelling, each run is told."""
    for _ in range(1000):
        cancel, stopped = Cancellation(), threading.Event()
        thread = threading.Thread(target=cancel.cancel)
        thread.start()
        cancel.on_cancel(stopped.set)
        thread.join()
        assert stopped.is_set()
