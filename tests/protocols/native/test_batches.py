"""What is told of batches."""

from __future__ import annotations

from tests.application import InProcess


async def test_the_last_batches_with_their_reasons(served: InProcess) -> None:
    """Of a model's default version, the newest first, with totals."""
    for text in ("good one", "good two", "good three"):
        await served.predict("mood", {"text": text}, headers={"cache-control": "no-cache"})
    told = (await served.client.get("/api/models/mood/batches")).json()
    assert (told["model"], told["version"], told["waiting_rows"]) == ("mood", "2", 0)
    assert sum(told["totals"]["batches"].values()) == 3
    assert told["totals"]["outcomes"] == {"ok": 3}
    assert told["totals"]["shed"] == {}
    assert len(told["batches"]) == 3
    newest = told["batches"][0]
    assert newest["at"] >= told["batches"][1]["at"] > 1_700_000_000
    assert newest["reason"] in told["totals"]["batches"]
    assert (newest["rows"], newest["pieces"], newest["outcome"]) == (1, 1, "ok")
    assert 0 < newest["runtime_s"] < 10
    limited = (await served.client.get("/api/models/mood/batches?limit=1")).json()
    assert [one["runtime_s"] for one in limited["batches"]] == [newest["runtime_s"]]


async def test_batches_of_a_version(served: InProcess) -> None:
    """By its number; a failed batch and its parts are there, too."""
    await served.predict("picky", {"x": [-1, 1]}, {"x": [1, 1]}, {"x": [2, 2]})
    told = (await served.client.get("/api/models/picky/versions/1/batches")).json()
    assert told["totals"]["outcomes"]["failed"] >= 1
    other = (await served.client.get("/api/models/mood/versions/1/batches")).json()
    assert (other["version"], other["batches"]) == ("1", [])


async def test_unknown_ones_are_404(served: InProcess) -> None:
    """A model, or a version; and a limit beyond what is kept is refused."""
    for path in ("none/batches", "mood/versions/9/batches"):
        assert (await served.client.get(f"/api/models/{path}")).status_code == 404
    assert (await served.client.get("/api/models/mood/batches?limit=1001")).status_code in (
        400,
        422,
    )


async def test_the_cost_stands_beside_the_provenance(served: InProcess) -> None:
    """Coefficients in seconds, and the machine that they hold for."""
    model = (await served.client.get("/api/models/mood")).json()
    cost = model["versions"][1]["provenance"]["cost"]
    assert {"a", "b", "c", "d", "known", "samples", "machine"} == cost.keys()
    assert cost["machine"]["threads"] >= 1
