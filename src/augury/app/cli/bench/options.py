"""What the options of ``augury bench`` mean."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from augury.app.cli.terminal import InputFormat, tell

if TYPE_CHECKING:
    from augury.bench.load.arrivals import Trace
    from augury.bench.run import Load

STANDARD = Path("-")
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


def slo_seconds(text: str) -> float:
    """As :func:`seconds`; says what a plain number means, which is rarely what was meant."""
    found = seconds(text)
    if hint := unit_hint("--slo", str(text)):
        tell(hint)
    return found


def unit_hint(option: str, text: str) -> str:
    """What to say of a time of a second or more without its unit; empty when there is nothing to say.

    >>> unit_hint("--slo", "50")
    '--slo 50 is 50 seconds; did you mean 50ms?'
    >>> unit_hint("--slo", "50s"), unit_hint("--slo", "0.05")
    ('', '')
    """
    plain = str(text).strip()
    if not re.fullmatch(r"[0-9]+\.?[0-9]*", plain) or float(plain) < 1:
        return ""
    return f"{option} {plain} is {plain} seconds; did you mean {plain}ms?"


@dataclass(frozen=True)
class Chosen:
    """All options, as they were given; see ``command``."""

    target: str
    model: str
    repository: Path | None
    dialect: str | None
    connections: int | None
    rate: float | None
    arrivals: Literal["poisson", "gamma", "constant"]
    cv2: float
    trace: Path | None
    trace_kind: Literal["times", "gaps"]
    sweep: bool
    rates: str | None
    precision: float
    slo: float | None
    duration: float
    warm_up: float
    timeout: float
    seed: int
    max_connections: int
    input: Path | None
    format: InputFormat | None
    column: str | None
    unique: int | None
    order: Literal["cycle", "random"]
    rows: int
    check: Literal["rows", "status"]
    expect: Path | None
    echo: str | None
    deadline_header: bool | None
    header: tuple[str, ...]
    processes: int
    cpus: str | None
    server_cpus: str | None
    pid: tuple[int, ...]
    cache: bool
    json: Path | None
    html: Path | None

    @property
    def sweeping(self) -> bool:
        """Whether it is more than one rate."""
        return self.sweep or bool(self.rates)

    def rates_rps(self) -> tuple[float, ...] | None:
        """The rates of a sweep that has some."""
        found = numbers(self.rates, "--rates")
        if self.rates is not None and not all(found):
            raise typer.BadParameter("a rate is above 0", param_hint="--rates")
        return found or None

    def echoed(self) -> tuple[str, str] | None:
        """Output and input of --echo."""
        if self.echo is None:
            return None
        output, sign, asked = self.echo.partition("=")
        if not sign:
            raise typer.BadParameter(f"{self.echo!r} is not OUTPUT=INPUT", param_hint="--echo")
        return output, asked

    def load(self) -> Load:
        """How it is asked."""
        from augury.bench.run import Load

        if not self.duration > 0:
            raise typer.BadParameter("it must be above 0", param_hint="--duration")
        if self.slo is not None and self.timeout <= self.slo:
            raise typer.BadParameter(
                f"{self.timeout:g} s is not above the SLO of {self.slo:g} s", param_hint="--timeout"
            )
        return Load(
            duration_s=self.duration,
            warm_up_s=self.warm_up,
            slo_s=self.slo,
            timeout_s=self.timeout,
            seed=self.seed,
            max_connections=self.max_connections,
            processes=self.processes,
            cpus=cores(self.cpus, "--cpus"),
            pids=processes_of(self.pid),
        )

    def check_asked(self) -> None:
        """Refuse what does not go together in what is asked, and in where it is written."""
        if self.input is not None and self.unique is not None:
            raise typer.BadParameter(
                "--input and --unique exclude each other", param_hint="--unique"
            )
        if self.format is not None and self.input is None:
            raise typer.BadParameter("goes with --input", param_hint="--format")
        if self.expect is not None and self.input is None:
            raise typer.BadParameter("goes with --input", param_hint="--expect")
        if self.expect is not None and self.echo is not None:
            raise typer.BadParameter("--expect and --echo exclude each other", param_hint="--echo")
        if [self.input, self.expect, self.trace].count(STANDARD) > 1:
            raise typer.BadParameter("standard input is one of them only", param_hint="--input")
        if self.json == STANDARD and self.html == STANDARD:
            raise typer.BadParameter("standard output is --json's", param_hint="--html")


def check_loop(
    *,
    connections: int | None,
    rate: float | None,
    trace: Path | None,
    sweep: bool,
    rates: str | None,
    slo: float | None,
) -> None:
    """Refuse what does not go together in the load."""
    if connections is not None and (rate is not None or trace is not None or sweep or rates):
        raise typer.BadParameter(
            "is of the closed loop; leave it out, or --rate, --trace and --sweep",
            param_hint="--connections",
        )
    if rate is not None and not 0 < rate < 1e7:
        raise typer.BadParameter(
            f"{rate:g} is not above 0 and below 10 million", param_hint="--rate"
        )
    if rate is not None and (sweep or rates):
        raise typer.BadParameter(
            "is one rate, a sweep has several; give --rates", param_hint="--rate"
        )
    if (sweep or rates) and slo is None:
        raise typer.BadParameter(
            "a sweep looks for the highest rate that holds it; such as 100ms", param_hint="--slo"
        )
    if slo is not None and not slo > 0:
        raise typer.BadParameter("it must be above 0", param_hint="--slo")


def processes_of(pids: tuple[int, ...]) -> tuple[int, ...]:
    """*pids*, all of which are there."""
    for pid in pids:
        if not Path(f"/proc/{pid}").exists():
            raise typer.BadParameter(f"no process {pid} on this machine", param_hint="--pid")
    return pids


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
        # Without what was given: it may be a secret.
        raise typer.BadParameter("that is not 'NAME: VALUE'", param_hint="--header")
    try:
        text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise typer.BadParameter(
            f"{name.encode('ascii', 'replace').decode()} holds {text[error.start]!r}, which HTTP cannot carry",
            param_hint="--header",
        ) from None
    return name, value


def read_trace(path: Path, kind: Literal["times", "gaps"]) -> Trace:
    """The trace in a file."""
    from augury.bench.lines import open_lines
    from augury.bench.load.arrivals import read_trace as read_lines

    with open_lines(path) as lines:
        return read_lines(lines, str(path), kind)


def read_expected(path: Path) -> list[Any]:
    """A value of each line of a file."""
    from augury.bench.lines import open_lines
    from augury.core.errors import OperatorError

    answers = []
    with open_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                answers.append(json.loads(line))
            except (ValueError, RecursionError):
                raise OperatorError(f"{path}:{number}: no JSON in this line") from None
    return answers
