"""The API's document and its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openapi_spec_validator import validate

from tests.application import InProcess
from tests.models import CLASSIFIER_MANIFEST, write_classifier, write_identity


def references(node: Any) -> Iterator[str]:
    """Every ``$ref`` below *node*."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


async def document(served: InProcess) -> Any:
    """The document as a client gets it."""
    return (await served.client.get("/openapi.json")).json()


async def test_the_document_is_valid(served: InProcess) -> None:
    """Every reference leads somewhere, every operation is named once and has answers."""
    told = await document(served)
    assert told["openapi"].startswith("3.1")
    for reference in references(told):
        node = told
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    operations = [one for item in told["paths"].values() for one in item.values()]
    ids = [one["operationId"] for one in operations]
    assert len(ids) == len(set(ids))
    assert all(one["responses"] for one in operations)


async def test_the_document_passes_the_validator(served: InProcess) -> None:
    """OpenAPI's own rules hold."""
    validate(await document(served))


async def test_invalid_requests_are_told_as_they_are_answered(served: InProcess) -> None:
    """FastAPI's 422 and its schemas, which nobody gets here, are not in the document."""
    told = await document(served)
    assert "422" not in told["paths"]["/api/models/{name}"]["get"]["responses"]
    assert "400" in told["paths"]["/api/models/{name}"]["get"]["responses"]
    assert not {"HTTPValidationError", "ValidationError"} & set(told["components"]["schemas"])


async def test_the_document_follows_the_models(served: InProcess, tmp_path: Path) -> None:
    """A new model, a version and a label appear, and what is gone disappears."""
    manager = served.application.core.manager
    before = await document(served)
    assert "/api/models/late/predict" not in before["paths"]
    write_identity(tmp_path, "late")
    labelled = CLASSIFIER_MANIFEST + "\n[versions.labels]\nstable = 1\n"
    write_classifier(tmp_path, manifest=labelled)
    (tmp_path / "identity").rename(tmp_path / ".identity")
    await manager.refresh()
    await manager.settle()
    paths = (await document(served))["paths"]
    assert "/api/models/late/predict" in paths
    assert "/api/models/mood/labels/stable/predict" in paths
    assert "/api/models/identity/predict" not in paths


async def test_the_page_shows_the_document(served: InProcess) -> None:
    """``/docs`` is a page that loads the document from here."""
    page = await served.client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "url: 'openapi.json'" in page.text


async def test_the_page_needs_no_other_host(served: InProcess) -> None:
    """All that the page loads comes from this server."""
    page = await served.client.get("/docs")
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 3
    for link in links:
        if not link.startswith("data:"):
            response = await served.client.get(f"/{link}")
            assert response.status_code == 200
            assert len(response.content) > 100_000
    assert "https:" not in page.text


async def test_no_foreign_page_can_frame_it(served: InProcess) -> None:
    """Its buttons act with the visitor's own credentials, so that it stands alone or not at all."""
    page = await served.client.get("/docs")
    assert page.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert page.headers["x-content-type-options"] == "nosniff"
