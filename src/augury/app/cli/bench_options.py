"""What the options of ``augury bench`` mean."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

if TYPE_CHECKING:
    from augury.bench.load.arrivals import Trace

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "": 1.0}


def seconds(text: str) -> float:
    """A duration: ``100ms``, ``2s``, ``1.5m``; a plain number is seconds.

    >>> seconds("100ms"), seconds("2"), seconds("1.5m")
    (0.1, 2.0, 90.0)
    """
    match = re.fullmatch(r"([0-9.]+)\s*([a-z]*)", str(text).strip())
    try:
        value = float(match[1]) * _UNITS[match[2]] if match else -1.0
    except (ValueError, KeyError):
        value = -1.0
    if not 0 <= value <= 86_400:
        raise typer.BadParameter(f"{text!r} is no duration; write 100ms, 2s or 1.5m, a day at most")
    return value


def numbers(text: str | None, option: str) -> tuple[float, ...]:
    """Numbers with commas between them, 0 or more; none for no *text*."""
    if not text:
        return ()
    try:
        found = tuple(float(word) for word in text.split(","))
    except ValueError:
        found = (-1.0,)
    if not all(0 <= one < 1e9 for one in found):
        raise typer.BadParameter(f"{text!r} are no numbers with commas", param_hint=option)
    return found


def cores(text: str | None, option: str) -> tuple[int, ...]:
    """Cores of this machine that this process may use."""
    wanted = tuple(int(one) for one in numbers(text, option))
    allowed = os.sched_getaffinity(0)
    if missing := [one for one in wanted if one not in allowed]:
        known = ", ".join(map(str, sorted(allowed)))
        raise typer.BadParameter(f"no core {missing[0]}; there are: {known}", param_hint=option)
    return wanted


def header_of(text: str) -> tuple[str, str]:
    """Name and value of a header."""
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not name or not text.isprintable():
        raise typer.BadParameter(f"{text!r} is not 'NAME: VALUE'", param_hint="--header")
    return name, value


def read_trace(path: Path, kind: Literal["times", "gaps"]) -> Trace:
    """The trace in a file."""
    from augury.app.local.files import open_input
    from augury.bench.load.arrivals import read_trace as read_lines

    with open_input(path) as file:
        return read_lines((line.decode(errors="replace") for line in file), str(path), kind)


def read_expected(path: Path) -> list[Any]:
    """A value of each line of a file."""
    from augury.app.local.files import open_input
    from augury.core.errors import OperatorError

    with open_input(path) as file:
        answers = []
        for number, line in enumerate(file, 1):
            try:
                answers.append(json.loads(line))
            except ValueError:
                raise OperatorError(f"{path}:{number}: no JSON") from None
    return answers
