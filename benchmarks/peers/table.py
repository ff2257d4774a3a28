"""The results as Markdown: a table for each work, who is ahead where, and how each server was set.  Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer

BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"
AUGURY = "augury"
_NONE = "–"

Server = Mapping[str, Any]


def median(values: Sequence[float | None]) -> float:
    """Median of those that are known.  NaN without any.

    >>> median([3, 1, 2]), median([1.0, 2.0]), median([])
    (2, 1.5, nan)
    """
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else math.nan


def number(value: float | None) -> str:
    """Three digits that count, no false precision.

    >>> number(17934.2), number(641.7), number(4.268), number(0.03), number(float("nan"))
    ('17,934', '642', '4.3', '0.03', '–')
    """
    if value is None or not math.isfinite(value):
        return _NONE
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"


def spread(values: Sequence[float | None]) -> str:
    """Median, and the range in brackets.

    >>> spread([650.0, 640.0, 661.0]), spread([5.0]), spread([])
    ('650 (640 to 661)', '5.0', '–')
    """
    known = [value for value in values if value is not None]
    if len(known) < 2 or min(known) == max(known):
        return number(median(known))
    return f"{number(median(known))} ({number(min(known))} to {number(max(known))})"


def render(result: Mapping[str, Any], peers: Mapping[str, Peer]) -> str:
    """All of it, between the markers."""
    machine = result["machine"]
    extensions = f" ({', '.join(machine['extensions'])})" if machine["extensions"] else ""
    plan = result["plan"]
    lines = [
        BEGIN,
        "<!-- written by `python -m benchmarks.peers`; edits are lost -->",
        "",
        (
            f"{machine['cores']} cores of an {machine['processor']}{extensions}, {machine['memory_gib']} GiB, {machine['system']}, "
            f"Python {machine['python']}, onnxruntime {result['versions'].get('onnxruntime', '?')}; {result['data']}; "
            f"{result['minutes']:.0f} minutes. Medians of {plan['repeats']} repeats (goodput: {plan['goodput_repeats']}), "
            "the lowest and the highest in brackets. Each rate that counts was held for "
            f"{plan['long'][1]:g} to {plan['long'][2]:g} s, {plan['long'][0]} requests if that lets it. A few answers of each server were read under "
            "load and held against the tight loop's."
        ),
        "",
        "![Requests and rows per second of Augury and its peers](images/peers.png)",
        "",
    ]
    for work in result["works"]:
        lines += [f"### {work['title'][0].upper()}{work['title'][1:]}", ""]
        lines += _identity(work, peers) if work["name"] == "identity" else _text(work, peers)
        lines += ["", *_ahead(work, peers), *_incidents(work, peers), ""]
    lines += [
        "### Versions and settings",
        "",
        "| server | version | settings |",
        "| --- | --- | --- |",
    ]
    shown = {server["peer"] for work in result["works"] for server in work["servers"]}
    lines += [
        f"| {peer.title} | {peer.package} {result['versions'].get(name, _NONE)} | {peer.settings}{_chosen(result, name)} |"
        for name, peer in peers.items()
        if name in shown
    ]
    return "\n".join([*lines, "", END])


def _chosen(result: Mapping[str, Any], name: str) -> str:
    """The setting for each work, with what the others made that were tried."""
    told: dict[str, list[str]] = {}
    for work in result["works"]:
        for one in work["servers"]:
            if one["peer"] == name and work["name"] != "identity" and one["setting"]:
                told.setdefault(_tried(one), []).append(work["name"])
    if not told:
        return ""
    return "; " + "; ".join(f"{', '.join(works)}: {said}" for said, works in told.items())


def _tried(one: Server) -> str:
    others = [
        f"{other['setting']} {number(other['rows_per_s'])}/{number(other['goodput'])}"
        for other in one["tried"]
        if other["setting"] != one["setting"]
    ]
    own = next((other for other in one["tried"] if other["setting"] == one["setting"]), None)
    if own is None:
        return str(one["setting"])
    numbers = f"{number(own['rows_per_s'])} rows/s, goodput {number(own['goodput'])}"
    return f"{one['setting']} ({numbers}; tried too: {', '.join(others) or 'nothing'})"


def _sorted(work: Mapping[str, Any]) -> list[Server]:
    """The quickest first, what could not be measured last."""
    return sorted(
        work["servers"], key=lambda one: (bool(one["reason"]), -_or_zero(median(one["rows_per_s"])))
    )


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _identity(work: Mapping[str, Any], peers: Mapping[str, Peer]) -> list[str]:
    lines = [
        "Server on one core, `wrk` with 32 connections on the other; each server's own REST route.",
        "",
        "| server | requests/s | of Triton | p99 ms | CPU ms per request | CPU at rest | memory MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    triton = _rate(work, "triton")
    for one in _sorted(work):
        title = peers[one["peer"]].title
        if one["reason"]:
            lines.append(f"| {title} | not measured: {_cell(one['reason'])} | | | | | |")
            continue
        lines.append(
            f"| {title} | {spread(one['rows_per_s'])} | {number(median(one['rows_per_s']) / triton)} "
            f"| {number(median(one['p99_ms']))} | {number(median(one['cpu_s_per_1000']))} | {_given(one['idle_cores']):.1%} | {number(one['rss_mib'])} |"
        )
    return lines


def _text(work: Mapping[str, Any], peers: Mapping[str, Peer]) -> list[str]:
    limit = median(work["limits"])
    layouts = " or ".join(
        f"{loops} × {threads} threads, {rows} rows" for loops, threads, rows in work["layouts"]
    )
    slo = work["slo_ms"]
    lines = [
        (
            f"The tight loop of the same runtime makes {spread(work['limits'])} rows/s ({layouts}). *Rows/s*: 32 clients in a closed loop, "
            f"one text each. *Goodput*: the highest rate with 99 % of all requests inside {slo} ms, Poisson or bursty (gamma, "
            "CV² = 4) arrivals, in brackets as a part of the tight loop; rates go up in steps of a twentieth to a tenth of that, and the servers "
            "take turns, round after round. *At 3×*: what is left of the best goodput at three times that rate. "
            "Bursts, repeats of the goodput and 3× are for Augury, the two best frameworks and the best other service; – was not asked. "
            f"{_cores(work)}"
        ),
        "",
        (
            "| server | rows/s | of the tight loop | goodput, Poisson | goodput, bursty | at 3× | refused within ms | p99 at 3×, ms "
            "| CPU s per 1,000 | CPU at rest | memory MiB |"
        ),
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in _sorted(work):
        title = peers[one["peer"]].title
        if one["reason"]:
            lines.append(f"| {title} | not measured: {_cell(one['reason'])} | | | | | | | | | |")
            continue
        over = one["overload"]
        kept = over.get("kept")
        goodput = [_goodput(one, arrivals, limit) for arrivals in ("poisson", "gamma")]
        lines.append(
            f"| {title} | {spread(one['rows_per_s'])} | {number(median(one['rows_per_s']) / limit)} | {goodput[0]} | {goodput[1]} "
            f"| {_NONE if kept is None or not math.isfinite(kept) else f'{kept:.0%}'} | {number(over.get('refusal_p99_ms'))} "
            f"| {number(over.get('p99_ms'))} | {number(median(one['cpu_s_per_1000']))} | {_given(one['idle_cores']):.1%} | {number(one['rss_mib'])} |"
        )
    return lines


def _cores(work: Mapping[str, Any]) -> str:
    cores = work.get("cores")
    if not cores:
        return ""
    server = ", ".join(map(str, cores["server"]))
    load = (
        f"the generator has {', '.join(map(str, cores['load']))}"
        if cores["apart"]
        else "the generator, a process of its own, shares them"
    )
    return f"Server on cores {server}; {load}."


def _goodput(one: Server, arrivals: str, limit: float) -> str:
    values = one["goodput"].get(arrivals)
    if not values:
        return _NONE
    return f"{spread(values)} [{median(values) / limit:.2f}]"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:160]


def _rate(work: Mapping[str, Any], name: str) -> float:
    return next(
        (median(one["rows_per_s"]) for one in work["servers"] if one["peer"] == name), math.nan
    )


def _ahead(work: Mapping[str, Any], peers: Mapping[str, Peer]) -> list[str]:
    """Ratios to the peers that the bars name, and where a peer is ahead of Augury."""
    ours = next(
        (one for one in work["servers"] if one["peer"] == AUGURY and not one["reason"]), None
    )
    if ours is None:
        return []
    others = [
        one for one in work["servers"] if one["peer"] not in (AUGURY, "bare") and not one["reason"]
    ]
    measures: list[tuple[str, Callable[[Server], float], bool]] = [
        (
            "rows/s" if work["name"] != "identity" else "requests/s",
            lambda one: median(one["rows_per_s"]),
            True,
        )
    ]
    for arrivals, title in (("poisson", "goodput, Poisson"), ("gamma", "goodput, bursty")):
        if ours["goodput"].get(arrivals):
            measures.append((title, partial(_sustained, arrivals), True))
    if ours["overload"]:
        measures.append(
            ("goodput kept at 3×", lambda one: _given(one["overload"].get("kept")), True)
        )
    measures += [
        ("CPU for each answer", lambda one: median(one["cpu_s_per_1000"]), False),
        ("CPU at rest", lambda one: _given(one["idle_cores"]), False),
        ("memory", lambda one: _given(one["rss_mib"]), False),
    ]
    lines = []
    ahead = []
    for title, value, more in measures:
        own = value(ours)
        if title.startswith("goodput,"):
            best = _best(others, value, lambda one: peers[one["peer"]].framework)
            if best is not None and value(best) > 0:
                lines.append(
                    f"- {title}: {own / value(best):.2f} × {peers[best['peer']].title}, the best serving framework here"
                )
            service = _best(others, value, lambda one: not peers[one["peer"]].framework)
            if service is not None and value(service) > 0:
                lines.append(
                    f"- {title}: {own / value(service):.2f} × {peers[service['peer']].title}, the best service without a framework"
                )
        better = sorted(
            (one for one in others if _is_better(value(one), own, more)), key=value, reverse=more
        )
        if better:
            names = ", ".join(
                f"{peers[one['peer']].title} {_measure(title, value(one))}" for one in better
            )
            ahead.append(
                f"- Peers that are ahead in {title} (Augury: {_measure(title, own)}): {names}."
            )
    for name in ("triton", "seed"):
        rate = _rate({**work, "servers": others}, name)
        if math.isfinite(rate):
            unit = measures[0][0]
            lines.append(f"- {unit}: {median(ours['rows_per_s']) / rate:.2f} × {peers[name].title}")
    seed, quantised = (_rate({**work, "servers": others}, one) for one in ("seed", "seed_int8"))
    if math.isfinite(seed) and math.isfinite(quantised):
        lines.append(
            f"- Of that, {quantised / seed:.2f} × is the INT8 file and ONNX Runtime in TorchScript's place (FP32) alone; the seed's "
            f"design with them is {median(ours['rows_per_s']) / quantised:.2f} × behind"
        )
    lines += ahead or ["- No peer is ahead in any column."]
    return lines


def _is_better(value: float, own: float, more: bool) -> bool:
    return math.isfinite(value) and (value > own if more else value < own)


def _measure(title: str, value: float) -> str:
    return f"{value:.1%}" if title in ("goodput kept at 3×", "CPU at rest") else number(value)


def _given(value: float | None) -> float:
    return math.nan if value is None else value


def _sustained(arrivals: str, one: Server) -> float:
    return median(one["goodput"].get(arrivals, []))


def _incidents(work: Mapping[str, Any], peers: Mapping[str, Peer]) -> list[str]:
    """What went wrong on the way with servers that are in the table nevertheless."""
    lines = []
    for one in work["servers"]:
        title = peers[one["peer"]].title
        if one["failures"] and not one["reason"]:
            count = len(one["failures"])
            lines.append(
                f"- {title}: {count} measurements failed, the last: {_cell(one['failures'][-1])}."
            )
        refused = median(one["refused"])
        if refused >= 0.01 and not one["reason"]:
            lines.append(f"- {title} refused {refused:.0%} of the requests of the closed loop.")
        if one["waiting"]:
            lines.append(
                f"- {title} was started anew before the open loop, with the deadline or with {one['waiting']} requests that may wait."
            )
        if one["restarts"]:
            lines.append(
                f"- {title} no longer answered and was started anew, {one['restarts']} times."
            )
    return lines


def _best(
    servers: Sequence[Server], value: Callable[[Server], float], kind: Callable[[Server], bool]
) -> Server | None:
    fitting = [one for one in servers if kind(one) and math.isfinite(value(one))]
    return max(fitting, key=value, default=None)


def insert(document: Path, text: str) -> None:
    """Put *text* between the markers of *document*; at its end, when it has none."""
    old = document.read_text(encoding="utf-8")
    if BEGIN in old and END in old:
        before, rest = old.split(BEGIN, 1)
        after = rest.split(END, 1)[1]
        document.write_text(before + text + after, encoding="utf-8")
    else:
        document.write_text(f"{old.rstrip()}\n\n## Beside its peers\n\n{text}\n", encoding="utf-8")
