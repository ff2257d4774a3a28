"""Readiness and liveness."""

from __future__ import annotations

from pathlib import Path

import httpx2
from fastapi import FastAPI

from augury.edge.health import router
from tests.application import InProcess, in_process
from tests.models import write_identity


async def readiness(served: InProcess) -> tuple[int, list[str]]:
    """Status and reasons of ``/readyz``."""
    response = await served.client.get("/readyz")
    document = response.json()
    assert document["ready"] is (response.status_code == 200)
    return response.status_code, document["reasons"]


async def test_ready_with_every_model(served: InProcess) -> None:
    """All wanted models have a ready version."""
    assert await readiness(served) == (200, [])


async def test_not_ready_without_models(tmp_path: Path) -> None:
    """An empty repository is no service; the reason names the setting that allows it."""
    async with in_process(tmp_path) as served:
        status, reasons = await readiness(served)
        assert status == 503
        assert "ready_without_models" in reasons[0]


async def test_ready_without_models_when_asked_for(tmp_path: Path) -> None:
    """The setting makes it ready."""
    async with in_process(tmp_path, ready_without_models=True) as served:
        assert await readiness(served) == (200, [])


async def test_not_ready_with_a_failed_model(tmp_path: Path) -> None:
    """One model that cannot be loaded makes the server not ready, and it says which and why."""
    write_identity(tmp_path)
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "model.onnx").write_bytes(b"nonsense")
    async with in_process(tmp_path) as served:
        status, reasons = await readiness(served)
        assert status == 503
        assert len(reasons) == 1
        assert reasons[0].startswith("broken version 1 is failed: ")
        assert (await served.predict("identity", {"x": [1, 2]})).status_code == 200


async def test_not_ready_while_draining(served: InProcess) -> None:
    """A draining server asks not to be sent anything, but still answers."""
    served.application.drain.begun = True
    assert await readiness(served) == (503, ["draining"])
    assert (await served.predict("identity", {"x": [1, 2]})).status_code == 200


async def test_degraded_is_ready(served: InProcess) -> None:
    """A store that cannot be reached is told, and is no reason to send requests elsewhere."""
    app = FastAPI()
    faults = ["store redis://cache:6379/0: cannot be reached since 2026-01-01T00:00:00Z (refused)"]
    manager, drain = served.application.core.manager, served.application.drain
    app.include_router(
        router(manager, drain, ready_without_models=False, degradations=lambda: list(faults))
    )
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://augury") as client:
        response = await client.get("/readyz")
        assert response.status_code == 200
        assert response.json() == {"ready": True, "reasons": [], "degraded": faults}
        faults.clear()
        assert (await client.get("/readyz")).json()["degraded"] == []


async def test_alive_whatever_the_models_do(tmp_path: Path) -> None:
    """Liveness is the loop's; a restart would not mend a model."""
    async with in_process(tmp_path) as served:
        served.application.drain.begun = True
        response = await served.client.get("/livez")
        assert (response.status_code, response.json()) == (200, {"live": True})
