"""Who cannot be in time is refused where the request is read: no task, and nothing is prepared."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from augury.batching.scheduler import Scheduler
from augury.core.clock import SystemClock
from augury.core.errors import Overloaded
from augury.core.request import Priority
from augury.protocols.asgi import Answer
from augury.protocols.native.routes import Pending, PredictRoute, Target
from tests import models
from tests.pipeline.serving import Gate, Serving, ask, serving, turns

HURRIED = [(b"x-request-timeout", b"60")]


def route_of(served: Serving) -> PredictRoute:
    return PredictRoute(served.engine, served.metrics, SystemClock(), max_body_bytes=1 << 20)


def asked(route: PredictRoute, body: bytes, *headers: tuple[bytes, bytes]) -> Answer | Pending:
    outcome = route.begin(Target("m"), {"headers": headers}, body)
    if isinstance(outcome, Pending):
        outcome.close()
    return outcome


def body_of(*row: float) -> bytes:
    return json.dumps({"rows": [{"x": list(row)}]}).encode()


@pytest.fixture
def overloaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float | None, int]]:
    """Whoever names a deadline is turned away; who asked is noted."""
    noted: list[tuple[float | None, int]] = []

    def turn_away(
        scheduler: Scheduler, deadline_s: float | None, priority: int, least: int = 0
    ) -> None:
        noted.append((deadline_s, priority))
        if deadline_s is not None:
            raise Overloaded("too much waits", retry_after_s=2.5)

    monkeypatch.setattr(Scheduler, "turn_away", turn_away)
    # Else a model as quick as these is computed where the request is read.
    monkeypatch.setattr(Scheduler, "try_inline", lambda *_: None)
    return noted


async def test_without_a_memory_it_is_answered_at_once(
    tmp_path: Path, overloaded: list[tuple[float | None, int]]
) -> None:
    """429 with Retry-After, counted as the version's; what is no request is told so all the same."""
    folder = models.write_identity(tmp_path, "m")
    (folder / "model.toml").write_text("[cache]\nenabled = false\n", encoding="utf-8")
    async with serving(tmp_path) as served:
        route = route_of(served)
        answer = asked(route, body_of(1, 2), *HURRIED)
        assert isinstance(answer, Answer)
        assert answer.status == 429
        assert dict(answer.headers)[b"retry-after"] == b"3"
        assert served.metrics.registry.get_sample_value(
            "augury_requests_total",
            {"model": "m", "version": "1", "protocol": "native", "code": "429"},
        )
        broken = asked(route, b"{", *HURRIED)
        assert isinstance(broken, Answer)
        assert broken.status == 400
        assert isinstance(asked(route, body_of(1, 2)), Pending)  # who names no deadline has time


async def test_bulk_work_has_no_deadline_of_the_model(
    tmp_path: Path, overloaded: list[tuple[float | None, int]]
) -> None:
    """The model's own deadline turns away who names none, but not low priority."""
    folder = models.write_identity(tmp_path, "m")
    (folder / "model.toml").write_text(
        "[cache]\nenabled = false\n[batching]\ndeadline_s = 60\n", encoding="utf-8"
    )
    async with serving(tmp_path) as served:
        route = route_of(served)
        refused = asked(route, body_of(1, 2))
        assert isinstance(refused, Answer)
        assert refused.status == 429
        overloaded.clear()
        assert isinstance(asked(route, body_of(1, 2), (b"x-request-priority", b"low")), Pending)
        assert overloaded == []


async def test_what_is_remembered_or_under_way_is_answered_all_the_same(
    tmp_path: Path, overloaded: list[tuple[float | None, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a row that would have to be computed is refused."""
    models.write_identity(tmp_path, "m")
    async with serving(tmp_path) as served:
        route = route_of(served)
        await served.engine.infer(ask("m", [1, 2]))
        remembered = asked(route, body_of(1, 2), *HURRIED)
        assert isinstance(remembered, Answer)
        assert remembered.status == 200
        gate = Gate(monkeypatch)
        computing = asyncio.create_task(served.engine.infer(ask("m", [3, 4])))
        await gate.running()
        await turns()
        assert isinstance(asked(route, body_of(3, 4), *HURRIED), Pending)
        new = asked(route, body_of(5, 6), *HURRIED)
        assert isinstance(new, Answer)
        assert new.status == 429
        gate.open.set()
        assert (await computing).errors == {}


async def test_the_priority_is_the_requests(
    tmp_path: Path, overloaded: list[tuple[float | None, int]]
) -> None:
    """Who is important is asked for as such."""
    folder = models.write_identity(tmp_path, "m")
    (folder / "model.toml").write_text("[cache]\nenabled = false\n", encoding="utf-8")
    async with serving(tmp_path) as served:
        asked(route_of(served), body_of(1, 2), *HURRIED, (b"x-request-priority", b"high"))
        assert [priority for _, priority in overloaded] == [Priority.HIGH]
