"""Choosing a peer's setting among those that were tried."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.peers.servers import NAMES, load
from benchmarks.peers.setting import Setting, Tried, best_of, chosen, write

SETTINGS = (Setting("one"), Setting("two", 2, 1))


def test_goodput_decides_and_the_rate_among_equals() -> None:
    """A setting that lets more through but is late is no better; what fails is never chosen."""
    found = best_of([Tried("fast", 500, 100.0), Tried("soon", 400, 300.0), Tried("dead", 0, None)])

    assert found is not None
    assert found.title == "soon"
    assert best_of([Tried("dead", 0, None)]) is None


def test_what_was_found_is_taken_the_next_time(tmp_path: Path) -> None:
    """The file has the choice and all that was measured; works that were not searched take that of the tweets."""
    file = tmp_path / "setting.json"
    assert chosen(SETTINGS, "tweets", file) == (SETTINGS[0], [])

    assert (
        write(file, "tweets", [Tried("one", 300, 100.0), Tried("two", 400, 200)], "2 cores")
        == "two"
    )

    for work in ("tweets", "mixed", "roberta"):
        setting, tried = chosen(SETTINGS, work, file)
        assert setting == SETTINGS[1]
        assert [one["rows_per_s"] for one in tried] == [300, 400]
    write(file, "roberta", [Tried("one", 30, 10.0), Tried("two", 20, 5.0)], "2 cores")
    assert chosen(SETTINGS, "roberta", file)[0] == SETTINGS[0]
    assert chosen(SETTINGS, "identity", file)[0] == SETTINGS[0]


def test_a_choice_that_is_no_longer_there_is_told(tmp_path: Path) -> None:
    """Renaming a setting does not silently take another one."""
    file = tmp_path / "setting.json"
    write(file, "tweets", [Tried("gone", 300, 100.0)], "2 cores")

    with pytest.raises(ValueError, match="'gone', which is not there; search again"):
        chosen(SETTINGS, "tweets", file)


@pytest.mark.parametrize("name", NAMES)
def test_every_peer_s_kept_setting_is_one_of_its_list(name: str) -> None:
    """And every framework was given more than one chance, each by its own name."""
    peer = load(name)
    for work in ("tweets", "roberta", "mixed"):
        assert chosen(peer.tried, work, peer.setting_file)[0] in peer.tried
    assert len({setting.title for setting in peer.tried}) == len(peer.tried)
    if peer.framework:
        assert len(peer.tried) >= 2
