"""What ``augury bench`` does, once its options are known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import typer

from augury.app.cli.bench.options import (
    STANDARD,
    Chosen,
    cores,
    header_of,
    read_expected,
    read_trace,
)
from augury.app.cli.bench.tables import Watching, show_result
from augury.app.cli.terminal import bundled_or, tell
from augury.core.errors import OperatorError

if TYPE_CHECKING:
    from augury.bench.load.arrivals import Trace
    from augury.bench.results import Level, Sweep
    from augury.bench.run import Load, Workload


def run(chosen: Chosen) -> None:
    """Measure, show, write.

    Raises:
        OperatorError: Nothing could be measured, or an answer was wrong.
        typer.Exit: Ctrl-C.
    """
    from augury.bench.report.warnings import warnings_of

    chosen.check_asked()
    echoed, rates = chosen.echoed(), chosen.rates_rps()
    load = chosen.load()
    headers = [header_of(one) for one in chosen.header]
    trace = read_trace(chosen.trace, chosen.trace_kind) if chosen.trace is not None else None
    expect = read_expected(chosen.expect) if chosen.expect is not None else None
    with ExitStack() as stack:
        # Before anything is measured: a folder that is not there should not cost ten minutes.
        to_json = stack.enter_context(_output(chosen.json))
        to_html = stack.enter_context(_output(chosen.html))
        with _server(chosen) as (url, name, facts):
            from augury.bench.run import prepare

            workload = prepare(
                url,
                dialect=chosen.dialect,
                model=name,
                file=chosen.input,
                format=chosen.format,
                column=chosen.column,
                unique=chosen.unique,
                rows_per_request=chosen.rows,
                expect=expect,
                echo=echoed,
                slo_s=chosen.slo,
                deadline=chosen.deadline_header,
                headers=headers,
                check=chosen.check,
                order=chosen.order,
                fresh=False if chosen.cache else True if facts else None,
            )
            result = _measure(chosen, workload, load, rates, trace)
        warnings = warnings_of(result, workload)
        if chosen.json != STANDARD:
            show_result(result, workload, facts)
        if to_json is not None or to_html is not None:
            from augury.bench.report.document import document

            settings = _settings(chosen, workload, load, facts)
            _write(document(result, settings, warnings), to_json, to_html)
    for warning in warnings:
        tell(f"WARNING: {warning}")
    _judge(result)


def _judge(result: Level | Sweep) -> None:
    from augury.bench.results import Sweep

    if result.interrupted:
        raise typer.Exit(130)
    levels = result.levels if isinstance(result, Sweep) else (result,)
    if wrong := sum(level.wrong for level in levels):
        raise OperatorError(f"{wrong:,} answers were wrong")
    if isinstance(result, Sweep) and result.failure:
        raise OperatorError(f"{result.failure}; what was measured until then is above")
    if not any(level.ok for level in levels):
        raise OperatorError("nothing was answered")


def _measure(
    chosen: Chosen,
    workload: Workload,
    load: Load,
    rates: tuple[float, ...] | None,
    trace: Trace | None,
) -> Level | Sweep:
    """Measure, and show how far it is."""
    from augury.bench.run import run_closed, run_open, sweep

    with Watching() as watching:
        if chosen.sweeping:
            return sweep(
                workload,
                load,
                rates=rates,
                arrivals=chosen.arrivals,
                cv2=chosen.cv2,
                trace=trace,
                precision=chosen.precision,
                tell=watching.tell,
                on_level=watching.add,
            )
        if chosen.rate is not None or trace is not None:
            return run_open(
                workload,
                load,
                rate_rps=chosen.rate,
                arrivals=chosen.arrivals,
                cv2=chosen.cv2,
                trace=trace,
                tell=watching.tell,
            )
        return run_closed(workload, load, connections=chosen.connections or 32, tell=watching.tell)


@contextmanager
def _server(chosen: Chosen) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """URL, model and facts of the server; one of our own when the target is a model."""
    cpus = cores(chosen.server_cpus, "--server-cpus")
    if "://" in chosen.target:
        if cpus:
            raise typer.BadParameter(
                "is for a server that is started here", param_hint="--server-cpus"
            )
        yield chosen.target, chosen.model, {}
        return
    from augury.app.cli.terminal import quiet_logs
    from augury.app.local.own_server import ended_by_signals, serve_package
    from augury.app.local.selection import select_package
    from augury.packages.reader import available_versions

    quiet_logs()
    path = Path(chosen.target)
    if chosen.model and path.is_dir() and not available_versions(path):
        package = select_package(chosen.model, path)
    else:
        package = select_package(chosen.target, bundled_or(chosen.repository))
    tell(
        f"starting a server for {package.name} {package.version}, its cache {'on' if chosen.cache else 'off'}"
    )
    with ended_by_signals(), serve_package(package, cache=chosen.cache, cpus=cpus) as server:
        if server.inherited:
            tell(f"it also has {', '.join(server.inherited)} of the environment")
        facts = {
            "started": True,
            "cache": chosen.cache,
            "cpus": list(cpus),
            **server.settings,
            # Names only: values may be secrets.
            "inherited": list(server.inherited),
        }
        yield server.url, package.name, facts


def _settings(
    chosen: Chosen, workload: Workload, load: Load, facts: dict[str, Any]
) -> dict[str, Any]:
    from augury.bench.report.document import settings_of

    return settings_of(
        workload,
        load,
        arrivals=chosen.arrivals,
        cv2=chosen.cv2 if chosen.arrivals == "gamma" else 1.0,
        server=facts,
        trace=str(chosen.trace) if chosen.trace else None,
    )


class _Output(NamedTuple):
    """A file that is open.

    Args:
        file: It.
        replaced: Whether what it holds goes, once there is something to write.
    """

    file: BinaryIO
    replaced: bool

    def write(self, data: bytes) -> None:
        """Write all of it."""
        if self.replaced:
            self.file.truncate(0)
        self.file.write(data)
        self.file.flush()


@contextmanager
def _output(path: Path | None) -> Iterator[_Output | None]:
    """*path*, open to be written; what it holds stays until there is something to write.

    Raises:
        OperatorError: It cannot be opened.
    """
    if path is None:
        yield None
        return
    if path == STANDARD:
        from augury.app.local.files import open_output

        with open_output(path) as standard:
            yield _Output(standard, False)
        return
    is_new = not path.exists()
    try:
        file = path.open("ab")
    except OSError as error:
        raise OperatorError(f"cannot write {str(path)!r}: {error.strerror}") from None
    try:
        with file:
            yield _Output(file, file.seekable())
    finally:
        if is_new and path.is_file() and not path.stat().st_size:
            path.unlink()


def _write(told: dict[str, Any], to_json: _Output | None, to_html: _Output | None) -> None:
    import json

    from augury.bench.report.page import page

    if to_json is not None:
        to_json.write(json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n")
    if to_html is not None:
        to_html.write(page(told).encode())
