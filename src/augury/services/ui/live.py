"""``/api/ui``: the server's recent past as JSON, and what comes next as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter

import augury
from augury.core.clock import Clock
from augury.lifecycle.harness import Harness
from augury.lifecycle.manager import Manager
from augury.observe.metrics import Metrics
from augury.services.ui import readings
from augury.services.ui.sampler import Sampler, Subscription
from augury.services.ui.schemas import ModelState, Range, ServerHistory

# A silence of this length is broken by a comment, so that no proxy takes the stream for dead.
HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 3000
# Whoever listens is asked for their credentials again after this long.
LASTS_S: Final = 300.0

_STATES: Final = TypeAdapter(list[ModelState])
_NO_STORE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def sampler_of(
    metrics: Metrics, manager: Manager, clock: Clock, *, draining: Callable[[], bool]
) -> Sampler:
    """A sampler of the server that *metrics* and *manager* belong to.

    Args:
        metrics: What is sampled.
        manager: Tells the models' states.
        clock: Time.
        draining: Whether the server is going away.
    """
    return Sampler(lambda: readings.read(metrics, clock), lambda: _models(manager), draining, clock)


def router(
    sampler: Sampler,
    *,
    tweets: bool,
    heartbeat_s: float = HEARTBEAT_S,
    lasts_s: float = LASTS_S,
) -> APIRouter:
    """The routes.

    Args:
        sampler: Where samples come from.
        tweets: Whether the tweet application is served, too.
        heartbeat_s: The longest silence of a live stream.
        lasts_s: After so long a stream ends; its reader comes back.
    """
    routes = APIRouter(prefix="/api/ui", tags=["dashboard"])

    @routes.get("/history", summary="The server's recent past", response_model=ServerHistory)
    async def history(
        range: Annotated[
            Range, Query(description="15m: steps of 5 s; 24h: steps of 2 min")
        ] = "15m",
    ) -> Response:
        """Requests, latencies, queue, batches, lookups, CPU and memory over time, and the models."""
        tier = sampler.fine if range == "15m" else sampler.coarse
        frame = ServerHistory(
            version=augury.__version__,
            tweets=tweets,
            range=range,
            interval_s=tier.interval_s,
            keep=tier.keep,
            models=[],
            samples=[],
        ).model_dump_json(exclude={"models", "samples"})
        # Samples and models are JSON already.
        body = b'%b,"models":%b,"samples":[%b]}' % (
            frame[:-1].encode(),
            sampler.models(),
            b",".join(tier.samples()),
        )
        return Response(body, media_type="application/json", headers=_NO_STORE)

    @routes.get(
        "/live",
        summary="What happens from now on",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events: `sample` every 5 s, `models` when a state "
                "changes; their data are those of the history",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            429: {"description": "Too many listen already"},
            503: {"description": "The server is draining"},
        },
    )
    async def live() -> Response:
        """Ends when the server drains, when the reader falls 16 samples behind, and after 5 minutes.

        Browsers ask again by themselves, and are asked for their credentials again.
        """
        held = ExitStack()
        subscription = held.enter_context(sampler.subscribed())
        return StreamingResponse(
            _events(held, subscription, heartbeat_s=heartbeat_s, lasts_s=lasts_s),
            media_type="text/event-stream",
            headers={**_NO_STORE, "X-Accel-Buffering": "no"},
        )

    return routes


async def _events(
    held: ExitStack, subscription: Subscription, *, heartbeat_s: float, lasts_s: float
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + lasts_s
    with held:
        yield b"retry: %d\n: hello\n\n" % RETRY_MS
        while (left_s := ends_s - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(heartbeat_s, left_s)):
                    event = await subscription.next()
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if event is None:
                return
            yield event


def _models(manager: Manager) -> bytes:
    return _STATES.dump_json([_state(manager, harness) for harness in manager.versions()])


def _state(manager: Manager, harness: Harness) -> ModelState:
    package = harness.package
    labels = manager.labels(harness.name)
    return ModelState(
        model=harness.name,
        version=str(harness.version),
        state=harness.state,
        reason=harness.reason,
        runtime=package.runtime if package else None,
        labels=sorted(label for label, version in labels.items() if version == harness.version),
        answers=manager.default_version(harness.name) == harness.version,
    )
