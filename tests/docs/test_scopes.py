"""The page on credentials tells the table of scopes as it is."""

from __future__ import annotations

from pathlib import Path

from augury.edge.auth.scopes import RULES

_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "credentials.md"


def test_the_table_is_that_of_the_code() -> None:
    """Line by line, in the same order: the first that fits decides."""
    rows = [
        f"| {', '.join(sorted(rule.methods)) or 'any'} | `{rule.path}` | {rule.need} |"
        for rule in RULES
    ]
    table = "\n".join(["| method | path | scope |", "|---|---|---|", *rows])
    assert f"{table}\n| any | anything else | admin |\n" in _PAGE.read_text(encoding="utf-8")
