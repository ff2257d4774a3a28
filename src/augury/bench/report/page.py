"""Results as one HTML page with plots; it loads nothing, so it can be sent and kept.

Made from the JSON document, so that a page can be made of a run of last year.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

from augury.bench.report.svg import Line, Plot, number

Document = Mapping[str, Any]

# Of a sweep's latency, from the middle to the tail.
_PERCENTS: Final = (("p50", 4), ("p90", 1), ("p99", 2), ("p99.9", 3))
_FROM_WHEN: Final = (
    "Latency counts from the time at which a request was meant to go, whether or not a connection was free then; "
    "what was never answered has failed, and is in every share."
)
_OUTCOMES: Final = (("in time", 1), ("late", 2), ("refused", 5), ("failed or wrong", 3))


def page(document: Document) -> str:
    """The whole page that tells *document* (see :mod:`augury.bench.report.document`)."""
    style = files("augury.bench.report").joinpath("page.css").read_text(encoding="utf-8")
    settings = document["settings"]
    name = settings["model"] or settings["path"]
    body = [
        f"<h1>{escape(name)}</h1>",
        f'<p class="under">{escape(_subtitle(document))}</p>',
        _warnings(document),
        _tiles(document),
        _sweep_plots(document) if document["kind"] == "sweep" else "",
    ]
    levels = document["levels"]
    if document["kind"] == "sweep":
        body.append(f"<h2>Levels</h2>{_table(levels)}")
        body += [
            f"<details{' open' if level is _telling(document) else ''}><summary>"
            f"{_rate(level)}: {_percent(level['good_share'])} in time</summary>{_level_plots(level)}</details>"
            for level in levels
        ]
    else:
        body += [_level_plots(level) for level in levels]
        body.append(_table(levels))
    body += [f"<h2>How it was measured</h2>{_method(document)}", _facts(document)]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}: {escape(document['kind'])} load</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _subtitle(document: Document) -> str:
    settings, machine = document["settings"], document["machine"]
    own = settings.get("server") or {}
    where = "a server started for it" if own else settings["url"]
    told = [f"{settings['dialect']} dialect on {where}"]
    if own:
        told.append(f"cache {'on' if own.get('cache') else 'off'}")
    told += [f"{machine['cores']} × {machine['cpu']}", document["made_at"].replace("T", " ")]
    return " · ".join(told)


def _warnings(document: Document) -> str:
    told = [f"{one[:1].upper()}{one[1:]}." for one in document.get("warnings", ())]
    if failure := document.get("sweep", {}).get("failure"):
        told.append(f"Ended early: {failure}. This was measured until then.")
    if document["interrupted"]:
        told.append("Interrupted; this was measured until then.")
    return "".join(f'<p class="warning">{escape(one)}</p>' for one in told)


def _tiles(document: Document) -> str:
    tiles: list[tuple[str, str]] = []
    if document["kind"] == "sweep":
        sweep, level = document["sweep"], _telling(document)
        sustained = sweep["sustainable_rps"]
        slo = _ms(sweep["slo_s"] * 1e3)
        tiles.append((_number(sustained, "/s"), f"sustained, 99 % within {slo}"))
        tiles.append((_percent(sweep["goodput_kept"]), "of the most goodput at the highest rate"))
    else:
        level = document["levels"][0]
        tiles.append((_number(level["throughput_rps"], "/s"), "answered"))
        if level["slo_s"] is not None:
            slo = _ms(level["slo_s"] * 1e3)
            tiles.append((_percent(level["good_share"]), f"of all requests within {slo}"))
    if level is not None:
        latency = level["latency_ms"] or {}
        there = " at the sustained rate" if document["kind"] == "sweep" else ""
        tiles.append((_ms(latency.get("p50")), f"median{there}"))
        tiles.append((_ms(latency.get("p99")), f"99th percentile{there}"))
        if (server := level["server"]) is not None:
            tiles.append((f"{_number(server['cpu_s_per_1000'])} s", "server CPU for 1,000 answers"))
            peak = max(
                one["server"]["rss_peak_bytes"] for one in document["levels"] if one["server"]
            )
            tiles.append((f"{peak / 2**20:,.0f} MiB", "server memory at most"))
    cells = "".join(f"<div><b>{escape(value)}</b>{escape(name)}</div>" for value, name in tiles)
    return f'<section class="tiles">{cells}</section>'


def _telling(document: Document) -> Document | None:
    """The level that a sweep is about: the highest that holds, else the lowest."""
    levels: Sequence[Document] = document["levels"]
    held = [one for one in levels if one["holds"]]
    if held:
        return max(held, key=lambda one: float(one["offered_rps"]))
    return levels[0] if levels else None


def _sweep_plots(document: Document) -> str:
    levels = document["levels"]
    slo_ms = document["sweep"]["slo_s"] * 1e3
    sustained = document["sweep"]["sustainable_rps"]
    at = {"sustained": sustained} if sustained else {}
    latency = Plot(
        "Latency over offered rate", "requests per second", "ms, of the answered",
        y_log=True, marks={"SLO": slo_ms}, x_marks=at,
    ).lines(
        [
            Line(
                name,
                [(one["offered_rps"], _of(one["latency_ms"], name)) for one in levels],
                tone,
            )
            for name, tone in _PERCENTS
        ]
    )  # fmt: skip
    offered = [one["offered_rps"] for one in levels]
    most = max(offered, default=0.0)
    goodput = Plot(
        "Goodput over offered rate", "requests per second", "answers in time per second", x_marks=at
    ).lines(
        [
            Line("all of them", [(0.0, 0.0), (most, most)], 0, dashed=True, dots=False),
            Line("answered", [(one["offered_rps"], one["throughput_rps"]) for one in levels], 4),
            Line("in time", [(one["offered_rps"], one["goodput_rps"]) for one in levels], 1),
        ]
    )
    stacks = [
        (number(one["offered_rps"]), shares)
        for one in levels
        if (shares := _shares(one)) is not None
    ]
    outcomes = Plot("What became of the requests", "requests per second", "% of all").stacks(
        stacks, _OUTCOMES
    )
    cost = Plot(
        "What an answer costs", "requests per second", "server CPU seconds for 1,000"
    ).lines(
        [
            Line(
                "CPU",
                [(one["offered_rps"], _of(one["server"], "cpu_s_per_1000")) for one in levels],
                2,
            )
        ]
    )
    return f'<section class="plots">{latency}{goodput}{outcomes}{cost}</section>'


def _level_plots(level: Document) -> str:
    marks = {} if level["slo_s"] is None else {"SLO": level["slo_s"] * 1e3}
    histogram = Plot("Latency of the answered", "ms", "requests", x_log=True, x_marks=marks).bars(
        _bars(level["latency_buckets_us"]), 1, "requests"
    )
    series = level["series"]
    width = series[1]["from_s"] - series[0]["from_s"] if len(series) > 1 else level["duration_s"]
    width = width or 1.0
    columns = [
        ("offered", 0, True),
        ("good", 1, False),
        ("refused", 5, False),
        ("failed", 3, False),
    ]
    rates = Plot("Requests over time", "seconds", "per second").lines(
        [
            Line(
                "in time" if name == "good" else name,
                [(one["from_s"] + width / 2, one[name] / width) for one in series],
                tone, dashed, dots=False, area=name == "good",
            )
            for name, tone, dashed in columns
            if name in ("offered", "good") or any(one[name] for one in series)
        ]
    )  # fmt: skip
    latency = Plot("Latency over time", "seconds", "ms", y_log=True, marks=marks).lines(
        [
            Line(
                name,
                [(one["from_s"] + width / 2, _of(one, f"{name}_ms")) for one in series],
                tone,
                dots=False,
            )
            for name, tone in (("p50", 4), ("p99", 2))
        ]
    )
    kinds = [one for one in level["kinds"] if one["outcome"] != "ok"]
    return f'<section class="plots">{histogram}{rates}{latency}{_kinds(kinds, level["requests"])}</section>'


def _kinds(kinds: Sequence[Document], requests: int) -> str:
    if not kinds:
        return ""
    tones = {"refused": 5, "failed": 3, "wrong": 6}
    most = max(one["count"] for one in kinds)
    rows = "".join(
        f"<tr><td>{escape(one['outcome'])}</td><td>{escape(one['label'])}</td>"
        f'<td class="bar"><i class="swatch-{tones.get(one["outcome"], 0)}" '
        f'style="width:{100 * one["count"] / most:.1f}%"></i></td>'
        f"<td>{one['count']:,}</td><td>{one['count'] / requests:.2%}</td></tr>"
        for one in kinds
    )
    return (
        "<figure><figcaption>What was not answered right<small>requests, by kind</small></figcaption>"
        f'<table class="kinds">{rows}</table></figure>'
    )


def _table(levels: Sequence[Document]) -> str:
    heads = (
        "rate/s", "requests", "in time", "goodput/s", "p50", "p90", "p99", "p99.9", "max", "refused",
        "refusals p99", "failed", "wrong", "CPU s/1,000", "peak MiB", "generator lag p99",
    )  # fmt: skip
    rows = []
    for one in levels:
        latency, server = one["latency_ms"], one["server"]
        cells = [
            number(one["offered_rps"]),
            f"{one['requests']:,}",
            _percent(one["good_share"]),
            number(one["goodput_rps"]),
            *(_ms(_of(latency, name)) for name in ("p50", "p90", "p99", "p99.9", "max")),
            f"{one['refused']:,}",
            _ms(_of(one["refusal_ms"], "p99")),
            f"{one['failed']:,}",
            f"{one['wrong']:,}",
            _number(_of(server, "cpu_s_per_1000")),
            f"{server['rss_peak_bytes'] / 2**20:,.0f}" if server else "–",
            _ms(_of(one["generator"]["lag_ms"], "p99")),
        ]
        mark = "holds" if one["holds"] else "fails"
        rows.append(
            f'<tr class="{mark}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        )
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _method(document: Document) -> str:
    settings = document["settings"]
    told = [_FROM_WHEN]
    if document["kind"] != "closed":
        kind = settings.get("arrivals", "poisson")
        pattern = "a recorded trace" if settings.get("trace") else {
            "poisson": "Poisson arrivals",
            "gamma": f"gamma-distributed gaps (CV² = {settings.get('cv2', 1):g})",
            "constant": "equal gaps",
        }[kind]  # fmt: skip
        told.append(f"Open loop, {pattern}, drawn before the run from seed {settings['seed']}.")
    told.append(
        f"{settings['warm_up_s']:g} s of warm-up are not counted, {settings['duration_s']:g} s are; "
        f"{settings['distinct_requests']:,} distinct requests, rows in each: {settings['rows_per_request']:,}."
    )
    return f"<p>{escape(' '.join(told))}</p>"


def _facts(document: Document) -> str:
    parts = []
    for title in ("machine", "versions", "settings"):
        rows = "".join(
            f"<tr><td>{escape(str(name))}</td><td>{escape(_value(value))}</td></tr>"
            for name, value in document[title].items()
            if value not in (None, {}, [])
        )
        parts.append(
            f"<details><summary>{title}</summary><table class='facts'>{rows}</table></details>"
        )
    return "".join(parts)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _shares(level: Document) -> list[float] | None:
    total = level["requests"]
    if not total:
        return None
    late = level["ok"] - level["good"]
    counts = (level["good"], late, level["refused"], level["failed"] + level["wrong"])
    return [count / total for count in counts]


def _bars(buckets: Sequence[Sequence[int]]) -> list[tuple[float, float, float]]:
    """From, to (ms) and count of bars, each at least 4 % wide, so that counts compare."""
    bars: list[tuple[float, float, float]] = []
    for high_us, count in buckets:
        high = (high_us + 1) / 1e3
        low = bars[-1][1] if bars and bars[-1][1] >= high * 0.9 else high * 0.97
        if bars and high < bars[-1][0] * 1.06:
            start, _, before = bars[-1]
            bars[-1] = (start, high, before + count)
        else:
            bars.append((low, high, count))
    return bars


def _of(values: Mapping[str, Any] | None, name: str) -> float:
    value = None if values is None else values.get(name)
    return math.nan if value is None else float(value)


def _rate(level: Document) -> str:
    if level["rate_rps"] is None:
        return f"{level['connections']:,} connections"
    return f"{number(level['offered_rps'])} requests/s"


def _ms(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return (
        f"{value:.0f} ms"
        if value >= 100
        else f"{value:.1f} ms"
        if value >= 10
        else f"{value:.2f} ms"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.1%}"


def _number(value: float | None, unit: str = "") -> str:
    return "–" if value is None or not math.isfinite(value) else f"{number(value)}{unit}"
