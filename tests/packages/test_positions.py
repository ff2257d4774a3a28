"""Tests of ``augury.packages.positions``."""

from __future__ import annotations

import pytest

from augury.packages.positions import Path, key_lines


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1", ("a",), 1),
        ("# a = 2\n\na = 1", ("a",), 3),
        ("\ta\t=\t1", ("a",), 1),
        ("a.b = 1", ("a", "b"), 1),
        ("a . b = 1", ("a", "b"), 1),
        ('"a.b" = 1', ("a.b",), 1),
        ("'a b'.c = 1", ("a b", "c"), 1),
        ("[t]\na = 1", ("t", "a"), 2),
        ("[t] # why\na = 1", ("t",), 1),
        ("[ t . u ]\na = 1", ("t", "u", "a"), 2),
        ('[t."a.b".u]\nc = 1', ("t", "a.b", "u", "c"), 2),
        ("[[e]]\na = 1\n[[e]]\na = 2", ("e", 1, "a"), 4),
        ("[[e]]\n[e.t]\na = 1\n[[e]]\n[e.t]\na = 2", ("e", 1, "t", "a"), 6),
        ("[[e]]\n[[e.f]]\n[[e.f]]\na = 1", ("e", 0, "f", 1, "a"), 4),
        ("a = [\n  'b = 1',\n]\nc = 1", ("c",), 4),
        ("a = 1\r\nb = 2\r\n", ("b",), 2),
        ("a = 'x\u2028y\x0bz'\nb = 2", ("b",), 2),
        ('a = """\n[t]\nb = 1\n"""\nb = 2', ("b",), 5),
        ("a = '''\n\"\"\"\nb = 1\n'''\nb = 2", ("b",), 5),
        ('a = """one line"""\nb = 2', ("b",), 2),
        ("[a]\n[b]\n[a.c]", ("a",), 1),
        ("", ("a",), None),
    ],
)
def test_the_line_of_a_key(text: str, path: Path, line: int | None) -> None:
    """Lines count from 1; elements of arrays of tables carry their index."""
    assert key_lines(text).get(path) == line


def test_text_in_strings_is_no_key() -> None:
    """What a multi-line string quotes is not there."""
    assert set(key_lines('a = """\n[t]\nb = 1\n"""')) == {("a",)}
