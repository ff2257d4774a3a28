"""The reference pages tell what the code has, and nothing else."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

_DOCS = Path(__file__).parents[2] / "docs"
_PAGES: dict[str, Callable[[], str]] = runpy.run_path(str(_DOCS / "reference.py"))["PAGES"]


@pytest.mark.parametrize("name", sorted(_PAGES))
def test_page_is_what_the_code_says(name: str) -> None:
    """`make docs` was run after the last change to settings, metrics, errors, commands or routes."""
    stale = (_DOCS / name).read_text(encoding="utf-8") != _PAGES[name]()
    assert not stale, f"docs/{name} is not what the code says; write it anew with: make docs"


def test_every_decision_is_whole() -> None:
    """A decision tells its context, what was decided, and what would change our mind."""
    decisions = sorted((_DOCS / "decisions").glob("0*.md"))
    assert len(decisions) >= 5
    for file in decisions:
        text = file.read_text(encoding="utf-8")
        for part in ("**Context.**", "**Decision.**", "**What would change our mind.**"):
            assert part in text, f"{file.name} lacks {part}"


def test_readme_names_only_targets_that_exist() -> None:
    """Each `make X` in README and CONTRIBUTING is a target of the Makefile."""
    root = _DOCS.parent
    targets = {
        line.split(":", 1)[0]
        for line in (root / "Makefile").read_text(encoding="utf-8").splitlines()
        if ":" in line and line[0].isalpha()
    }
    for page in ("README.md", "CONTRIBUTING.md"):
        for line in (root / page).read_text(encoding="utf-8").splitlines():
            words = line.replace("`", " ").split()
            if len(words) > 1 and words[0] == "make":
                assert words[1] in targets, f"{page}: make {words[1]}"
