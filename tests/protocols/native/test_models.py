"""What is told of models."""

from __future__ import annotations

from tests.application import InProcess


async def test_all_models_are_listed_with_their_states(served: InProcess) -> None:
    """Every model is there, the failed one with its reason."""
    listed = {one["name"]: one for one in (await served.client.get("/api/models")).json()["models"]}
    assert list(listed) == ["broken", "mood", "picky", "spin"]
    broken = listed["broken"]
    assert (broken["ready"], broken["default_version"]) == (False, None)
    assert broken["versions"][0]["state"] == "failed"
    assert "cannot load" in broken["versions"][0]["reason"]
    assert broken["versions"][0]["signature"] is None


async def test_one_model_tells_all_of_itself(served: InProcess) -> None:
    """Versions, labels, signature, instances and an example that can be sent as it is."""
    model = (await served.client.get("/api/models/mood")).json()
    assert model["description"] == "Says whether a text is good."
    assert (model["ready"], model["default_version"]) == (True, "2")
    first, second = model["versions"]
    assert (first["labels"], second["labels"]) == (["stable"], ["50%25", "très new"])
    assert (first["state"], first["runtime"]) == ("ready", "onnx")
    assert first["instances"]["count"] >= 1
    assert first["signature"]["outputs"][1] == {
        "name": "scores",
        "datatype": "FP32",
        "shape": [2],
        "labels": ["bad", "good"],
        "description": "",
    }
    answer = await served.client.post("/api/models/mood/predict", json=first["example"])
    assert answer.json()["rows"][0]["label"] == "good"


async def test_an_unknown_model_is_404(served: InProcess) -> None:
    """The message lists the models that there are."""
    response = await served.client.get("/api/models/none")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert "broken, mood, picky, spin" in response.json()["detail"]


async def test_a_model_without_examples_has_none(served: InProcess) -> None:
    """No example is made up."""
    model = (await served.client.get("/api/models/picky")).json()
    assert model["versions"][0]["example"] is None
    assert model["description"] == ""
