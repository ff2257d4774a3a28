"""``augury bench``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from augury.app.cli.bench_options import (
    cores,
    header_of,
    numbers,
    read_expected,
    read_trace,
    seconds,
)
from augury.app.cli.terminal import RepositoryOption, bundled_or, existing_file, tell

if TYPE_CHECKING:
    from augury.bench.load.arrivals import Trace
    from augury.bench.results import Level, Sweep
    from augury.bench.run import Load, Workload

_STANDARD = Path("-")
# Panels of --help.
_LOAD, _ASKED, _SERVER, _OUTPUT = "Load", "What is asked", "Server", "Output"


def bench(
    target: Annotated[
        str,
        typer.Argument(
            help="URL of a server, with or without the path that is asked; or a model: its name, the path "
            "of its folder, or a repository with --model. For a model a server is started.",
            show_default=False,
        ),
    ],
    *,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="The model's name.",
            show_default="the only one",
            rich_help_panel=_ASKED,
        ),
    ] = "",
    repository: RepositoryOption = None,
    dialect: Annotated[
        str | None,
        typer.Option(
            help="native, oip-v2, tf-v1, torchserve, or raw (any path; a line of the input is a body).",
            show_default="told by the URL's path, else native",
            rich_help_panel=_ASKED,
        ),
    ] = None,
    connections: Annotated[
        int | None,
        typer.Option(
            "--connections",
            "-c",
            min=1,
            max=50_000,
            help="Closed loop: so many connections, each sends its next request when it was answered.",
            show_default="32, without --rate, --trace or --sweep",
            rich_help_panel=_LOAD,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            "-r",
            help="Open loop: requests per second.",
            show_default="none",
            rich_help_panel=_LOAD,
        ),
    ] = None,
    arrivals: Annotated[
        Literal["poisson", "gamma", "constant"],
        typer.Option(help="How requests are spread in the open loop.", rich_help_panel=_LOAD),
    ] = "poisson",
    cv2: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=1000,
            help="For gamma: variance of the gaps over their squared mean; bursty above 1.",
            rich_help_panel=_LOAD,
        ),
    ] = 4.0,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Open loop: recorded arrivals, a number of seconds a line, or a JSON object with at_s or "
            "gap_s, and input. --rate makes it faster or slower.",
            show_default="none",
            rich_help_panel=_LOAD,
        ),
    ] = None,
    trace_kind: Annotated[
        Literal["times", "gaps"],
        typer.Option(help="What the trace's plain numbers are.", rich_help_panel=_LOAD),
    ] = "times",
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep",
            help="Open loop at rising rates: the highest that holds the SLO, then 1.5, 2 and 3 times that.",
            rich_help_panel=_LOAD,
        ),
    ] = False,
    rates: Annotated[
        str | None,
        typer.Option(
            help="A sweep over these rates, with commas.",
            show_default="searched for",
            rich_help_panel=_LOAD,
        ),
    ] = None,
    precision: Annotated[
        float,
        typer.Option(min=0.01, max=1, help="How finely a sweep searches.", rich_help_panel=_LOAD),
    ] = 0.05,
    slo: Annotated[
        float | None,
        typer.Option(
            parser=seconds,
            metavar="TIME",
            show_default="none",
            help="What counts as in time, such as 100ms.",
            rich_help_panel=_LOAD,
        ),
    ] = None,
    duration: Annotated[
        float,
        typer.Option(
            "--duration",
            "-d",
            parser=seconds,
            metavar="TIME",
            help="What is measured, at each rate.",
            rich_help_panel=_LOAD,
        ),
    ] = "10s",  # type: ignore[assignment]
    warm_up: Annotated[
        float,
        typer.Option(
            parser=seconds, metavar="TIME", help="Before that; not measured.", rich_help_panel=_LOAD
        ),
    ] = "2s",  # type: ignore[assignment]
    timeout: Annotated[
        float,
        typer.Option(
            parser=seconds, metavar="TIME", help="Then a request has failed.", rich_help_panel=_LOAD
        ),
    ] = "10s",  # type: ignore[assignment]
    seed: Annotated[
        int, typer.Option(min=0, help="Decides arrivals and order.", rich_help_panel=_LOAD)
    ] = 1,
    max_connections: Annotated[
        int,
        typer.Option(min=1, max=50_000, help="In the open loop at most.", rich_help_panel=_LOAD),
    ] = 1000,
    input: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            callback=lambda path: path and existing_file(path),
            help="Rows: .txt (a text a line), .csv, .tsv, .jsonl.",
            show_default="the model's own examples",
            rich_help_panel=_ASKED,
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            help="Of csv and tsv: a name in the header, or a number from 1 for a file without; of jsonl: the member.",
            show_default="the model's input, or the last",
            rich_help_panel=_ASKED,
        ),
    ] = None,
    unique: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000,
            show_default="none",
            help="Instead: so many rows made up, each different.",
            rich_help_panel=_ASKED,
        ),
    ] = None,
    order: Annotated[
        Literal["cycle", "random"],
        typer.Option(help="How the rows are gone through.", rich_help_panel=_ASKED),
    ] = "cycle",
    rows: Annotated[
        int, typer.Option(min=1, max=100_000, help="Rows of each request.", rich_help_panel=_ASKED)
    ] = 1,
    check: Annotated[
        Literal["rows", "status"],
        typer.Option(
            help="rows: each answer has as many rows as its request; status: 200 is enough.",
            rich_help_panel=_ASKED,
        ),
    ] = "rows",
    expect: Annotated[
        Path | None,
        typer.Option(
            callback=lambda path: path and existing_file(path),
            show_default="none",
            help="JSON lines: what must be answered to each row of the input, or a part of it.",
            rich_help_panel=_ASKED,
        ),
    ] = None,
    echo: Annotated[
        str | None,
        typer.Option(
            metavar="OUTPUT=INPUT",
            show_default="none",
            help="Each answer's OUTPUT must be its own request's INPUT; with --unique, no answer can be another's.",
            rich_help_panel=_ASKED,
        ),
    ] = None,
    deadline_header: Annotated[
        bool | None,
        typer.Option(
            "--deadline-header/--no-deadline-header",
            help="Tell the server the SLO: X-Request-Timeout (native), Triton's timeout (oip-v2).",
            show_default="with --slo, native only",
            rich_help_panel=_ASKED,
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            "-H",
            metavar="'NAME: VALUE'",
            help="Sent with each request.",
            rich_help_panel=_ASKED,
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=256, help="That send.", rich_help_panel=_LOAD)
    ] = 1,
    cpus: Annotated[
        str | None,
        typer.Option(
            help="Cores for those, with commas.", show_default="any", rich_help_panel=_LOAD
        ),
    ] = None,
    server_cpus: Annotated[
        str | None,
        typer.Option(
            help="Cores for the server that is started.",
            show_default="any",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    pid: Annotated[
        list[int] | None,
        typer.Option(
            help="A process of the server, for its CPU time and memory.",
            show_default="who listens on its port here, with all children",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache",
            help="Let the server that is started remember answers.",
            rich_help_panel=_SERVER,
        ),
    ] = False,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json",
            dir_okay=False,
            show_default="none",
            help="Write all of it here; - for standard output.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            dir_okay=False,
            show_default="none",
            help="Write a report with plots, one file.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
) -> None:
    """Load a server, ours or another, and tell how fast and how well it answers.

    Latencies count from the time at which a request was meant to go. What was never answered has failed.
    Exit code 1 when nothing was answered, or an answer was wrong.

    Example: `augury bench tweet-sentiment --sweep --slo 100ms`
    """
    from augury.bench.run import Load
    from augury.core.errors import OperatorError

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
    wanted_rates = numbers(rates, "--rates")
    if rates is not None and not all(wanted_rates):
        raise typer.BadParameter("a rate is above 0", param_hint="--rates")
    if (sweep or rates) and slo is None:
        raise typer.BadParameter(
            "a sweep looks for the highest rate that holds it; such as 100ms", param_hint="--slo"
        )
    if slo is not None and not slo > 0:
        raise typer.BadParameter("it must be above 0", param_hint="--slo")
    if not duration > 0:
        raise typer.BadParameter("it must be above 0", param_hint="--duration")
    if slo is not None and timeout <= slo:
        raise typer.BadParameter(f"{timeout:g} s is not above the SLO", param_hint="--timeout")
    if sum((input is not None, unique is not None)) > 1:
        raise typer.BadParameter("--input and --unique exclude each other", param_hint="--unique")
    if expect is not None and input is None:
        raise typer.BadParameter("goes with --input", param_hint="--expect")
    if echo is not None and "=" not in echo:
        raise typer.BadParameter(f"{echo!r} is not OUTPUT=INPUT", param_hint="--echo")
    if json == _STANDARD and html == _STANDARD:
        raise typer.BadParameter("standard output is --json's", param_hint="--html")
    headers = [header_of(one) for one in header or ()]
    load = Load(
        duration_s=duration,
        warm_up_s=warm_up,
        slo_s=slo,
        timeout_s=timeout,
        seed=seed,
        max_connections=max_connections,
        processes=processes,
        cpus=cores(cpus, "--cpus"),
        pids=tuple(pid or ()),
    )
    recorded = read_trace(trace, trace_kind) if trace is not None else None
    with _server(target, model, repository, cache, cores(server_cpus, "--server-cpus")) as (
        url,
        name,
        facts,
    ):
        from augury.bench.run import prepare

        workload = prepare(
            url,
            dialect=dialect,
            model=name,
            file=input,
            column=column,
            unique=unique,
            rows_per_request=rows,
            expect=read_expected(expect) if expect is not None else None,
            echo=(echo.partition("=")[0], echo.partition("=")[2]) if echo else None,
            slo_s=slo,
            deadline=deadline_header,
            headers=headers,
            check=check,
            order=order,
        )
        job = _Job(workload, load, arrivals, cv2 if arrivals == "gamma" else 1.0, recorded)
        result = job.run(connections, rate, sweep or bool(rates), wanted_rates or None, precision)
    from augury.app.cli.bench_tables import show_result

    if json != _STANDARD:
        show_result(result, workload, facts)
    if json is not None or html is not None:
        _write(result, job, json, html, {"server": facts, "trace": str(trace) if trace else None})
    if result.generator_limit:
        tell(
            f"WARNING: the generator, not the server, may be what was measured: {result.generator_limit}"
        )
    if result.interrupted:
        raise typer.Exit(130)
    levels = (result,) if not hasattr(result, "levels") else result.levels
    if wrong := sum(level.wrong for level in levels):
        raise OperatorError(f"{wrong:,} answers were wrong")
    if not any(level.ok for level in levels):
        raise OperatorError("nothing was answered")


@dataclass
class _Job:
    """What is measured, and how."""

    workload: Workload
    load: Load
    arrivals: Literal["poisson", "gamma", "constant"]
    cv2: float
    trace: Trace | None

    def run(
        self,
        connections: int | None,
        rate: float | None,
        sweeping: bool,
        rates: tuple[float, ...] | None,
        precision: float,
    ) -> Level | Sweep:
        """Measure, and show how far it is."""
        from augury.app.cli.bench_tables import Watching
        from augury.bench.run import run_closed, run_open
        from augury.bench.run import sweep as run_sweep

        with Watching() as watching:
            if sweeping:
                return run_sweep(
                    self.workload,
                    self.load,
                    rates=rates,
                    arrivals=self.arrivals,
                    cv2=self.cv2,
                    trace=self.trace,
                    precision=precision,
                    tell=watching.tell,
                    on_level=watching.add,
                )
            if rate is not None or self.trace is not None:
                return run_open(
                    self.workload,
                    self.load,
                    rate_rps=rate,
                    arrivals=self.arrivals,
                    cv2=self.cv2,
                    trace=self.trace,
                    tell=watching.tell,
                )
            return run_closed(
                self.workload, self.load, connections=connections or 32, tell=watching.tell
            )


@contextmanager
def _server(
    target: str, model: str, repository: Path | None, cache: bool, cpus: tuple[int, ...]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """URL, model and facts of the server; one of our own when *target* is a model."""
    if "://" in target:
        if cpus or cache:
            option = "--server-cpus" if cpus else "--cache"
            raise typer.BadParameter("is for a server that is started here", param_hint=option)
        yield target, model, {}
        return
    import signal
    import sys

    from augury.app.cli.terminal import quiet_logs
    from augury.app.local.own_server import serve_package
    from augury.app.local.selection import select_package
    from augury.packages.reader import available_versions

    quiet_logs()
    # The server that is started should not outlive a `kill` of this process.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    path = Path(target)
    if model and path.is_dir() and not available_versions(path):
        package = select_package(model, path)
    else:
        package = select_package(target, bundled_or(repository))
    tell(
        f"starting a server for {package.name} {package.version}, its cache {'on' if cache else 'off'}"
    )
    with serve_package(package, cache=cache, cpus=cpus) as server:
        facts = {"started": True, "cache": cache, "cpus": list(cpus), **server.settings}
        yield server.url, package.name, facts


def _write(
    result: Level | Sweep,
    job: _Job,
    to_json: Path | None,
    to_html: Path | None,
    more: dict[str, Any],
) -> None:
    import json

    from augury.app.local.files import open_output
    from augury.bench.report.document import document, settings_of

    told = document(
        result,
        settings_of(job.workload, job.load, arrivals=job.arrivals, cv2=job.cv2, **more),
    )
    if to_json is not None:
        with open_output(to_json) as file:
            file.write(json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n")
    if to_html is not None:
        from augury.bench.report.page import page

        with open_output(to_html) as file:
            file.write(page(told).encode())
