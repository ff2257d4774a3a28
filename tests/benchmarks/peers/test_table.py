"""The table of Augury and its peers."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from benchmarks.peers.servers import NAMES, load

from benchmarks.peers import table

PEERS = {name: load(name) for name in NAMES}


def server(name: str, rate: float, **more: Any) -> dict[str, Any]:
    """What was measured of one server."""
    return {
        "peer": name,
        "reason": "",
        "setting": "",
        "tried": [],
        "waiting": 0,
        "rows_per_s": [rate, rate * 0.9, rate * 1.1],
        "p99_ms": [50.0],
        "cpu_s_per_1000": [2.0],
        "rss_mib": 150.0,
        "idle_cores": 0.001,
        "restarts": 0,
        "failures": [],
        "refused": [0.0],
        "goodput": {"poisson": [rate * 0.6], "gamma": [rate * 0.4]},
        "overload": {},
        **more,
    }


def result(*servers: dict[str, Any], name: str = "tweets") -> dict[str, Any]:
    """A run with one work."""
    return {
        "machine": {
            "cores": 2,
            "processor": "AMD EPYC",
            "extensions": ["avx2"],
            "memory_gib": 24,
            "system": "Linux 6",
            "python": "3.11.7",
        },
        "plan": {"repeats": 3, "goodput_repeats": 1, "long": (400, 10.0, 40.0)},
        "data": "made texts",
        "minutes": 12.0,
        "versions": {"onnxruntime": "1.31.1", "augury": "0.1", "mlserver": "1.7.1"},
        "works": [
            {
                "name": name,
                "title": "bundled model, tweets",
                "slo_ms": 100,
                "layouts": [(2, 1, 8)],
                "limits": [1000.0],
                "servers": list(servers),
            }
        ],
    }


def test_a_peer_that_could_not_be_measured_is_in_the_table_with_its_reason() -> None:
    """Nothing is left out silently, and a bar in the reason does not break the table."""
    text = table.render(
        result(server("augury", 900), server("ray", math.nan, reason="not installed: no | wheel")),
        PEERS,
    )

    assert "| Ray Serve | not measured: not installed: no / wheel |" in text


def test_what_went_wrong_on_the_way_is_told() -> None:
    """A server that had to be started again is in the table, and that is told below it."""
    text = table.render(
        result(server("augury", 900), server("triton", 500, restarts=2, failures=["failed: x"])),
        PEERS,
    )

    assert "- Triton 2.51 no longer answered and was started anew, 2 times." in text
    assert "- Triton 2.51: 1 measurements failed, the last: failed: x." in text


def test_a_peer_that_wins_is_named() -> None:
    """A column in which a peer is ahead is told in words."""
    text = table.render(result(server("augury", 500), server("mlserver", 650, rss_mib=300)), PEERS)

    assert "- Peers that are ahead in rows/s (Augury: 500): MLServer 650." in text
    assert "ahead in memory" not in text


def test_goodput_is_held_against_the_best_serving_framework() -> None:
    """A plain FastAPI service is no framework, so it is not what the ratio is taken to."""
    text = table.render(
        result(server("augury", 900), server("mlserver", 300), server("fastapi_onnx", 600)), PEERS
    )

    assert "goodput, Poisson: 3.00 × MLServer, the best serving framework here" in text
    assert "goodput, Poisson: 1.50 × FastAPI + ONNX Runtime, the best service without" in text


def test_what_the_seed_owes_to_its_file_is_told() -> None:
    """The distance to the seed is divided into the model file's part and the server's."""
    text = table.render(
        result(server("augury", 900), server("seed", 100), server("seed_int8", 300)), PEERS
    )

    assert "Of that, 3.00 × is the INT8 file" in text
    assert "3.00 × behind" in text


def test_the_setting_and_what_else_was_tried_are_told() -> None:
    """Nobody needs to take our word for a peer's tuning."""
    tried = [
        {"setting": "one", "rows_per_s": 300.0, "goodput": 200.0},
        {"setting": "two", "rows_per_s": 100.0, "goodput": None},
    ]
    text = table.render(result(server("mlserver", 300, setting="one", tried=tried)), PEERS)

    assert "tweets: one (300 rows/s, goodput 200; tried too: two 100/–) |" in text


def test_the_middle_of_two_lies_between_them() -> None:
    """An even number of repeats favours nobody."""
    assert table.median([100.0, 200.0]) == 150


def test_numbers_show_what_they_know() -> None:
    """Medians with their range; a dash where nothing was measured."""
    assert table.spread([650.0, 640.0, 661.0]) == "650 (640 to 661)"
    assert table.number(4.268) == "4.3"
    assert table.number(math.nan) == table.number(None) == "–"


def test_the_table_replaces_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    """What stands around the markers stays as it is; without markers the table is added at the end."""
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n\nbefore\n", encoding="utf-8")
    for rate in (500, 700):
        table.insert(page, table.render(result(server("augury", rate)), PEERS))
        page.write_text(page.read_text("utf-8") + "after\n", encoding="utf-8")
    text = page.read_text("utf-8")

    assert text.startswith("# Benchmarks\n\nbefore\n")
    assert text.count("after\n") == 2
    assert text.count(table.BEGIN) == 1
    assert "700 (630 to 770)" in text
    assert "500 (" not in text


def test_every_peer_pins_what_it_installs() -> None:
    """A peer's environment is the same tomorrow."""
    for name in NAMES:
        peer = PEERS[name]
        if name in ("augury", "bare"):
            continue
        lines = peer.requirements.read_text(encoding="utf-8").splitlines()

        assert lines, name
        for line in lines:
            assert re.fullmatch(r"[\w.-]+(\[[\w,]+\])?==[\w.+]+", line), f"{name}: {line}"
