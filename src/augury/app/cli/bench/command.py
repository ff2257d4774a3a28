"""``augury bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from augury.app.cli.bench.options import Chosen, check_loop, seconds, slo_seconds
from augury.app.cli.terminal import InputFormat, RepositoryOption, existing_file

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
            parser=slo_seconds,
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
            help="Rows: .txt (a text a line), .csv, .tsv, .jsonl; - for standard input.",
            show_default="1,000 made up after the model's example",
            rich_help_panel=_ASKED,
        ),
    ] = None,
    format: Annotated[
        InputFormat | None,
        typer.Option(
            "--format",
            "-f",
            help="Of the input: jsonl, csv, tsv or txt.",
            show_default="told by the ending; of standard input jsonl",
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
            help="A process of the server, for its CPU time and memory; may be given again.",
            show_default="who listens on its port here, with all children",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache",
            help="Let the server remember and share answers; without, one that is started has no cache, "
            "and requests of the native dialect say no-store.",
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
    check_loop(connections=connections, rate=rate, trace=trace, sweep=sweep, rates=rates, slo=slo)
    chosen = Chosen(
        target=target,
        model=model,
        repository=repository,
        dialect=dialect,
        connections=connections,
        rate=rate,
        arrivals=arrivals,
        cv2=cv2,
        trace=trace,
        trace_kind=trace_kind,
        sweep=sweep,
        rates=rates,
        precision=precision,
        slo=slo,
        duration=duration,
        warm_up=warm_up,
        timeout=timeout,
        seed=seed,
        max_connections=max_connections,
        input=input,
        format=format,
        column=column,
        unique=unique,
        order=order,
        rows=rows,
        check=check,
        expect=expect,
        echo=echo,
        deadline_header=deadline_header,
        header=tuple(header or ()),
        processes=processes,
        cpus=cpus,
        server_cpus=server_cpus,
        pid=tuple(pid or ()),
        cache=cache,
        json=json,
        html=html,
    )
    from augury.app.cli.bench.job import run

    run(chosen)
