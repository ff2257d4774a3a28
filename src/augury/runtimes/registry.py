"""The runtimes that there are."""

from __future__ import annotations

from typing import Final

from augury.core.registry import Registry
from augury.runtimes.base import RuntimeLoader

RUNTIMES: Final[Registry[RuntimeLoader]] = Registry(
    kind="runtime",
    group="augury.runtimes",
    entries={"onnx": "augury.runtimes.onnx:OnnxRuntime"},
)
