"""On which line of a TOML text a key stands; ``tomllib`` forgets it.

Reads only headers and the first key of a line.  Good enough to point at a fault, and not a
parser: text that ``tomllib`` refuses never comes here.
"""

from __future__ import annotations

import re

_HEADER = re.compile(r"^\s*(\[\[?)([^\[\]]+)\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"^\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*="
)

_QUOTES = re.compile(r"\"{3}|'{3}")

Path = tuple[str | int, ...]


def key_lines(text: str) -> dict[Path, int]:
    """Map the path of each table and key in *text* to its line, counted from 1.

    Elements of an array of tables carry their index, as in pydantic's error locations.

    >>> key_lines("[cache]")[("cache",)]
    1
    """
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    quotes = ""
    # Not splitlines(): to it, U+2028 and others end a line; to TOML and to editors they do not.
    for number, line in enumerate(text.split("\n"), start=1):
        inside = quotes
        for quote in _QUOTES.findall(line):
            quotes = "" if quote == quotes else quotes or quote
        if inside:
            continue
        header = _HEADER.match(line)
        if header:
            names = _names(header[2])
            table = ()
            for position, name in enumerate(names):
                table = (*table, name)
                last = position == len(names) - 1
                if last and header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    lines.setdefault(table, number)
                if table in counts:
                    table = (*table, counts[table])
            lines.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key:
            path = table
            for name in _names(key[1]):
                path = (*path, name)
                lines.setdefault(path, number)
    return lines


def _names(dotted: str) -> list[str]:
    parts = re.findall(r"\"[^\"]*\"|'[^']*'|[^.\s]+", dotted)
    return [part.strip("\"'") for part in parts]
