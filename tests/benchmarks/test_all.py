"""``python -m benchmarks``: which benchmarks are run, and with what."""

from __future__ import annotations

import pytest
from benchmarks.__main__ import NAMES, commands


def test_the_peers_are_part_of_it() -> None:
    """All of them, the peers last, since they take longest."""
    assert [command[0] for command in commands([])] == [f"benchmarks.{name}" for name in NAMES]
    assert NAMES[-1] == "peers"


def test_options_are_passed_on_to_the_peers() -> None:
    """What `make bench ARGS=...` does not know itself is theirs."""
    asked = commands(["--only", "peers", "--quick", "--works", "tweets"])

    assert asked == [["benchmarks.peers", "--quick", "--works", "tweets"]]


@pytest.mark.parametrize("arguments", [["--only", "starts"], ["--skip", "peers", "--quick"]])
def test_mistakes_are_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown name, and an option that nothing would read, are no reason to measure for an hour."""
    with pytest.raises(SystemExit):
        commands(arguments)

    assert "unknown: starts" in (said := capsys.readouterr().err) or "is for peers" in said
