"""Tests of how a run is stopped, with a model that takes seconds."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from augury.core.cancellation import Cancellation, RunCancelled
from augury.runtimes.base import RuntimeOptions
from augury.runtimes.onnx import OnnxRuntime
from tests.models import write_spin

# Some ten seconds of products of matrices.
LONG = {"turns": np.array([[500_000]], np.int64)}
SHORT = {"turns": np.array([[10]], np.int64)}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntime:
    folder = write_spin(tmp_path_factory.mktemp("repository"))
    return OnnxRuntime(folder / "1" / "model.onnx", RuntimeOptions(threads=1, instances=1))


def test_a_run_is_stopped(runtime: OnnxRuntime) -> None:
    """It ends soon after, in the runtime itself, and the next run is none the worse."""
    cancel = Cancellation()
    timer = threading.Timer(0.2, cancel.cancel)
    timer.start()
    started_s, cpu_s = time.monotonic(), time.process_time()
    with pytest.raises(RunCancelled):
        runtime.run(LONG, cancel)
    assert time.monotonic() - started_s < 3
    used_s = time.process_time() - cpu_s
    time.sleep(0.3)
    # The core is free: nothing goes on behind the call that has returned.
    assert time.process_time() - cpu_s - used_s < 0.15
    assert runtime.run(SHORT, Cancellation())["done"].tolist() == [[10]]


def test_stopped_before_it_begins(runtime: OnnxRuntime) -> None:
    """A run that nobody wants any more when it begins does not."""
    cancel = Cancellation()
    cancel.cancel()
    with pytest.raises(RunCancelled):
        runtime.run(LONG, cancel)


def test_stopped_after_it_has_ended(runtime: OnnxRuntime) -> None:
    """Too late for it, and none of the next one's business."""
    cancel = Cancellation()
    runtime.run(SHORT, cancel)
    cancel.cancel()
    assert runtime.run(SHORT, Cancellation())["done"].tolist() == [[10]]
    assert runtime.run(SHORT)["done"].tolist() == [[10]]
