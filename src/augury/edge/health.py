"""``/livez`` and ``/readyz``, and the switch that turns readiness off when the server drains."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from augury.lifecycle.manager import Manager


class Drain:
    """Whether the server is going away."""

    def __init__(self) -> None:
        self.begun = False


def router(
    manager: Manager,
    drain: Drain,
    *,
    ready_without_models: bool,
    degradations: Callable[[], list[str]] = list,
) -> APIRouter:
    """The health routes.

    Args:
        manager: Knows the models that are wanted.
        drain: Whether the server is going away.
        ready_without_models: Whether a server that serves no model counts as ready.
        degradations: What does not work just now, though predictions do; asked at each look, it
            must not wait.  No secrets: anybody may read it.
    """
    routes = APIRouter(tags=["health"])

    @routes.get("/livez", summary="Is the process alive?")
    async def live() -> dict[str, bool]:
        """Answers as long as the event loop runs."""
        return {"live": True}

    @routes.get(
        "/readyz",
        summary="Should this server get traffic?",
        responses={503: {"description": "Not ready; `reasons` tells why"}},
    )
    async def ready() -> JSONResponse:
        """Ready when every wanted model has a ready version, and the server is not draining.

        What is `degraded` works in part: a store that is down costs memory, but no prediction.
        """
        reasons = []
        if drain.begun:
            reasons.append("draining")
        if not manager.models() and not ready_without_models:
            reasons.append("no model is wanted (ready_without_models allows that)")
        for harness in manager.unready():
            because = f": {harness.reason}" if harness.reason else ""
            reasons.append(f"{harness.name} version {harness.version} is {harness.state}{because}")
        status = 503 if reasons else 200
        return JSONResponse(
            {"ready": not reasons, "reasons": reasons, "degraded": degradations()},
            status_code=status,
        )

    return routes
