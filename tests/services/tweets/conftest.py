"""Real parts for the tests of the tweet service: a store, X's server, a small lexicon model."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from augury.core.clock import ManualClock
from augury.core.errors import AuguryError, InvalidInput, TooLarge
from augury.core.request import InferRequest, InferResponse, Timing
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import bytes_column
from augury.services.tweets.sources.x_api import XLimits, XSource
from augury.stores.memory import MemoryStore
from tests.services.tweets.x_server import TOKEN, XServer, running_x_server

LABELS = ("negative", "neutral", "positive")
# 2018-10-11T00:00:00Z
NOW_S = 1_539_216_000.0

_GOOD = {"good", "love", "great", "sweet", "happy"}
_BAD = {"bad", "hate", "awful", "sad", "terrible"}


@dataclass(frozen=True)
class LeasedLexicon:
    """A version that was there when it was leased."""

    version: int
    signature: Signature


class LexiconPredictor:
    """Counts good and bad words: a real, if small, model behind the engine's Protocol."""

    def __init__(self, version: int = 1) -> None:
        self.served = version
        self.rows_asked = 0

    def version(self, model: str) -> int:
        return self.served

    def signature(self, model: str) -> Signature:
        return Signature(
            inputs=(TensorSpec("text", "BYTES"),),
            outputs=(
                TensorSpec("label", "BYTES"),
                TensorSpec("scores", "FP32", (3,), labels=LABELS),
            ),
        )

    @contextmanager
    def lease(self, model: str) -> Iterator[LeasedLexicon]:
        yield LeasedLexicon(self.served, self.signature(model))

    async def infer_leased(self, servable: LeasedLexicon, request: InferRequest) -> InferResponse:
        response = await self.infer(request)
        response.version = servable.version
        return response

    async def infer(self, request: InferRequest) -> InferResponse:
        rows = self.signature(request.model).validate(request.inputs)
        self.rows_asked += rows
        scores = np.zeros((rows, 3), "f4")
        errors: dict[int, AuguryError] = {}
        for row, value in enumerate(request.inputs["text"]):
            text = value.decode()
            if not text.strip("\0 "):
                errors[row] = InvalidInput("'text' is empty; send some text")
            elif len(text) > 25_000:
                errors[row] = TooLarge(f"'text' has {len(text)} characters, the limit is 25000")
            words = re.findall(r"\w+", text.lower())
            logits = np.array(
                [sum(w in _BAD for w in words), 0.5, sum(w in _GOOD for w in words)], "f4"
            )
            scores[row] = np.exp(logits * 2) / np.exp(logits * 2).sum()
        labels = bytes_column([LABELS[int(best)].encode() for best in scores.argmax(axis=1)])
        return InferResponse(
            request.model,
            self.served,
            {"label": labels, "scores": scores},
            rows,
            errors,
            timing=Timing(runtime_s=0.001, total_s=0.002),
        )


class Sleeper:
    """Keeps a manual clock's time instead of anybody waiting."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.slept_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.clock.advance(seconds)


@pytest.fixture
def x_server() -> Iterator[XServer]:
    with running_x_server() as server:
        yield server


@pytest.fixture
async def x(x_server: XServer) -> AsyncIterator[XSource]:
    limits = XLimits(budget_s=2.0, read_s=0.3, connect_s=0.5, backoff_s=0.01)
    async with XSource(TOKEN, base_url=x_server.url, limits=limits) as source:
        yield source


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(clock=ManualClock())


@pytest.fixture
def predictor() -> LexiconPredictor:
    return LexiconPredictor()


class DownStore:
    """A store whose backend is gone."""

    def __getattr__(self, name: str) -> Any:
        from augury.core.errors import Unavailable

        async def refuse(*args: Any, **kwargs: Any) -> Any:
            raise Unavailable("the store cannot be reached")

        return refuse
