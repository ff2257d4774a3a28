"""The whole application in this process, asked without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from augury.app.build import Application, open_application
from augury.app.settings import Settings


class InProcess:
    """A running application and a client of it."""

    def __init__(self, application: Application, client: httpx2.AsyncClient) -> None:
        self.application = application
        self.client = client

    async def predict(
        self, model: str, *rows: Any, path: str = "", **options: Any
    ) -> httpx2.Response:
        """Ask *model* for *rows*; *path* names a version or label."""
        return await self.client.post(
            f"/api/models/{model}{path}/predict", json={"rows": list(rows)}, **options
        )

    def count(self, name: str, **labels: str) -> float:
        """A metric's value; 0 when there is none with these labels."""
        registry = self.application.core.metrics.registry
        return registry.get_sample_value(name, labels) or 0.0

    def label_values(self, label: str) -> set[str]:
        """Every value of *label* among the requests that were counted."""
        return {
            sample.labels[label]
            for metric in self.application.core.metrics.requests.collect()
            for sample in metric.samples
        }


@asynccontextmanager
async def in_process(
    repository: Path, *, headers: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[InProcess]:
    """The application over *repository*, as ``augury serve`` builds it.

    Args:
        repository: The models.
        headers: Sent with each request of its client.
        **settings: In the place of defaults.
    """
    chosen = Settings(**{"store": "memory://", "model_control": "none", "costs": None, **settings})
    async with open_application(chosen, repository, ()) as application:
        transport = httpx2.ASGITransport(app=application.edge)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://localhost", headers=headers
        ) as client:
            yield InProcess(application, client)
