"""How a run of load is shown on the terminal: live while it lasts, as tables at the end."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from augury.bench.dialects.base import plain_words
from augury.bench.results import Level, Snapshot, Sweep, errors_of
from augury.bench.run import Workload

if TYPE_CHECKING:  # Rich costs a fifth of a second
    from rich.console import RenderableType
    from rich.live import Live
    from rich.table import Table

_BLOCKS = " ▁▂▃▄▅▆▇█"


class Watching:
    """Paints on stderr while a run lasts: on a terminal a live view, else a line for each level."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._levels: list[Level] = []
        self._courses: dict[str, list[float]] = {}
        self._title = ""
        self._last: Snapshot | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def add(self, level: Level) -> None:
        """A level of a sweep is over."""
        self._levels.append(level)
        if self._live is None:
            sys.stderr.write(
                f"{plain(level.rate_rps or 0)}/s: {percent(level.good_share)} in time, "
                f"p99 {milliseconds(level.latency_ms(99))}\n"
            )

    def tell(self, snapshot: Snapshot) -> None:
        """How far the level is that runs."""
        if self._live is None:
            return
        if snapshot.title != self._title:
            self._title, self._courses, self._last = snapshot.title, {"rate": [], "p99": []}, None
        last = self._last
        if last is None or snapshot.offered != last.offered:
            if last is not None and snapshot.now_s > last.now_s:
                passed_s = snapshot.now_s - last.now_s
                self._courses["rate"].append((snapshot.ok - last.ok) / passed_s)
                self._courses["p99"].append(snapshot.p99_ms)
            self._last = snapshot
        self._live.update(self._view(snapshot))

    def _view(self, now: Snapshot) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        grid = Table.grid(padding=(0, 2))
        measured_s = max(min(now.now_s, now.total_s) - now.warm_up_s, 1e-9)
        phase = "warm-up" if now.now_s < now.warm_up_s else "measuring"
        left_s = max(now.total_s - now.now_s, 0)
        if not left_s:
            phase = "waiting for the last answers"
        grid.add_row(
            f"[bold]{now.title}[/]",
            ProgressBar(now.total_s, min(max(now.now_s, 0), now.total_s), width=30),
            f"{phase}, {left_s:.0f} s left",
        )
        facts = Table.grid(padding=(0, 2))
        facts.add_row("answered", f"{now.ok / measured_s:,.0f}/s", _bars(self._courses["rate"]))
        facts.add_row("p99", milliseconds(now.p99_ms), _bars(self._courses["p99"]))
        facts.add_row("p50", milliseconds(now.p50_ms), "")
        share = f"{now.good / now.offered:.1%}" if now.offered else "–"
        facts.add_row("in time", share, f"refused {now.refused:,}, failed {now.failed:,}")
        parts: list[RenderableType] = [grid, facts]
        if self._levels:
            parts.insert(0, level_table(self._levels))
        return Group(*parts)


def show_result(result: Level | Sweep, workload: Workload, facts: dict[str, Any]) -> None:
    """Print *result* on standard output."""
    from rich.markup import escape

    from augury.app.cli.terminal import count, show

    target = workload.target
    name = plain_words(target.model.name, 100) or target.shown_path
    where = "a server started for it" if facts else target.url
    told = [f"dialect {target.dialect.name}"]
    if facts:
        told.append(f"cache {'on' if facts['cache'] else 'off'}")
    if workload.deadline:
        told.append(workload.deadline)
    if workload.rows_from != "given":
        rows = {"file": "of the file", "examples": "the model's examples", "made up": "made up"}
        told.append(f"{count(len(workload.requests), 'request')} {rows[workload.rows_from]}")
    if workload.expects:
        told.append("every answer compared with what was expected")
    show(f"[bold]{escape(name)}[/] on {escape(where)}: {escape(', '.join(told))}")
    levels = result.levels if isinstance(result, Sweep) else (result,)
    if result.interrupted:
        show("[yellow]interrupted; this was measured so far[/]")
    if isinstance(result, Sweep) and result.failure:
        show(f"[yellow]ended early: {escape(result.failure)}[/]")
    if isinstance(result, Sweep):
        show("", level_table(levels))
        show(
            "p50 to p99.9 in ms; CPU: the server's seconds for 1,000 answers; MiB: its most memory"
        )
        show("")
        show(_verdict(result))
    else:
        show("", *_one(result))
    errors = errors_of(levels)
    if errors:
        show("", _table_of(("what was not answered right", "requests"), errors.items()))


def level_table(levels: Sequence[Level]) -> Table:
    """A line for each level; times in milliseconds, narrow enough for 80 columns."""
    wide = any(level.server for level in levels)
    table = _table(
        *("rate/s", "in time", "good/s", "p50", "p99", "p99.9", "refused", "failed"),
        *(("CPU", "MiB") if wide else ()),
    )
    for level in levels:
        share = percent(level.good_share)
        cells = [
            plain(level.offered_rps or level.rate_rps or 0.0),
            f"[{'yellow' if level.interrupted else 'green' if level.holds else 'red'}]{share}[/]",
            plain(level.goodput_rps),
            *(plain(level.latency_ms(one)) for one in (50, 99, 99.9)),
            f"{level.refused:,}",
            f"{level.failed + level.wrong:,}",
        ]
        if wide:
            peak = level.server.rss_peak_bytes / 2**20 if level.server else math.nan
            cells += [plain(level.cpu_s_per_1000), plain(peak)]
        table.add_row(*cells)
    return table


def plain(value: float) -> str:
    """*value* in a few characters.

    >>> plain(1234.5), plain(99.5), plain(3.14159), plain(0.25), plain(float("nan"))
    ('1,234', '99.5', '3.1', '0.25', '–')
    """
    if not math.isfinite(value):
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def percent(share: float, digits: int = 1) -> str:
    """*share* in per cent.

    >>> percent(0.98765), percent(0.98765, 2), percent(float("nan"))
    ('98.8%', '98.77%', '–')
    """
    return f"{share:.{digits}%}" if math.isfinite(share) else "–"


def milliseconds(value: float) -> str:
    """*value* for people.

    >>> milliseconds(0.1234), milliseconds(12.34), milliseconds(1234.0), milliseconds(float("nan"))
    ('0.12 ms', '12.3 ms', '1.23 s', '–')
    """
    if not math.isfinite(value):
        return "–"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.1f} ms" if value >= 10 else f"{value:.2f} ms"


def _one(level: Level) -> list[Table | str]:
    lines: list[tuple[str, str]] = [
        ("requests", f"{level.requests:,} in {level.duration_s:.1f} s"),
        ("answered", f"{level.ok:,} ({level.throughput_rps:,.1f}/s)"),
    ]
    if level.slo_s is not None:
        lines.append(
            (
                f"within {milliseconds(level.slo_s * 1e3)}",
                f"{level.good:,} ({level.goodput_rps:,.1f}/s, {percent(level.good_share, 2)} of all)",
            )
        )
    lines += [(f"p{one:g}", milliseconds(level.latency_ms(one))) for one in (50, 90, 99, 99.9)]
    lines.append(("slowest", milliseconds(level.latency.max_us / 1e3 if level.ok else math.nan)))
    if level.refused:
        lines.append(("refusals, p99", milliseconds(level.refusals.percentile_us(99) / 1e3)))
    if level.server is not None:
        use = level.server
        part = f"{use.cores:.2f} cores"
        if math.isfinite(level.cpu_s_per_1000):
            part = f"{level.cpu_s_per_1000:.3f} s for 1,000 answers, {part}"
        lines.append(("server CPU", part if math.isfinite(use.cores) else "not known"))
        memory = [use.rss_before_bytes, use.rss_peak_bytes, use.rss_after_bytes]
        before, peak, after = (f"{one / 2**20:,.0f}" for one in memory)
        lines.append(("server memory", f"{before} MiB before, {peak} peak, {after} after"))
    lag = f", lag p99 {milliseconds(level.lag.percentile_us(99) / 1e3)}" if level.lag.count else ""
    lines.append(("generator", f"{level.generator_cpu:.0%} of a core{lag}"))
    return [_table_of((_loop(level), ""), lines)]


def _loop(level: Level) -> str:
    if level.rate_rps is None:
        return f"closed loop, {level.connections} connections"
    return f"open loop, {level.rate_rps:,.4g} requests/s"


def _verdict(result: Sweep) -> str:
    slo = milliseconds(result.slo_s * 1e3)
    if result.sustainable_rps is None:
        return f"No rate had 99 % of all requests answered within {slo}."
    text = (
        f"[bold]{result.sustainable_rps:,.1f} requests/s[/] with 99 % of all answered within {slo}"
    )
    beyond = result.beyond
    if beyond is not None and not beyond.holds:
        times = beyond.offered_rps / result.sustainable_rps
        text += f"; at {times:.1f} times that, goodput is {result.goodput_kept:.0%} of its peak"
    return text + "."


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _table_of(header: tuple[str, str], pairs: Any) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=True)
    table.add_column(escape(header[0]))
    table.add_column(escape(header[1]), justify="right")
    for name, value in pairs:
        table.add_row(
            escape(str(name)), f"{value:,}" if isinstance(value, int) else escape(str(value))
        )
    return table


def _bars(values: list[float]) -> str:
    shown = [value for value in values[-60:] if math.isfinite(value)]
    high = max(shown, default=0)
    return "".join(_BLOCKS[round(value / high * 8)] for value in shown) if high > 0 else ""
