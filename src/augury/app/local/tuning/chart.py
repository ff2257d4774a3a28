"""A tuning as a picture: rows a second over the time of an answer, a line for each layout.

Pure: points in, SVG or HTML out.  One file that asks nothing of anybody: no script, no font, no style from
elsewhere; light or dark as the reader has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from augury.app.local.tuning.plan import WAIT_FACTOR, Layout, Point

# Pixels: the picture, and the margins around what is plotted.
_WIDTH: Final = 860
_HEIGHT: Final = 480
_LEFT: Final = 78
_RIGHT: Final = 190
_TOP: Final = 56
_BOTTOM: Final = 60

# Told apart by hue, by lightness and by mark, so that no eye and no printer is left out.
_COLOURS: Final = ("#2563b8", "#c2410c", "#0f766e", "#a21caf", "#4d7c0f", "#475569")
_MARKS: Final = ("circle", "square", "diamond", "triangle")

_STYLE: Final = """\
.tune { background: #fff; color: #1b2430; font: 13px system-ui, sans-serif; }
.tune text { fill: #1b2430; } .tune .quiet { fill: #56616f; } .tune .grid { stroke: #dfe3e8; }
.tune .slo { stroke: #b42318; stroke-dasharray: 6 4; } .tune .ring { stroke: #1b2430; fill: none; }
@media (prefers-color-scheme: dark) {
  .tune { background: #12171d; color: #e6eaee; } .tune text { fill: #e6eaee; }
  .tune .quiet { fill: #a3adb8; } .tune .grid { stroke: #2b333c; }
  .tune .slo { stroke: #ff8a7a; } .tune .ring { stroke: #e6eaee; }
  .tune .line { filter: brightness(1.6); }
}
"""


def draw_svg(
    points: Sequence[Point], *, slo_s: float, chosen: Point | None, title: str, about: str
) -> str:
    """The picture of *points*, one at least, as an SVG document.

    Args:
        points: What was measured.
        slo_s: Where answers begin to be too late.
        chosen: The point that is ringed.
        title: Its headline.
        about: One line below that.
    """
    shown = [point for point in points if point.batches]
    scale = _Scale(shown, slo_s)
    spoken = escape(_spoken(title, shown, chosen, slo_s))
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="tune" {size} role="img" aria-label="{spoken}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none"/>',
        _text(_LEFT, 24, title, size=16, weight=600),
        _text(_LEFT, 42, about, kind="quiet"),
        *_axes(scale),
        *_bound(scale, slo_s),
    ]
    for number, layout in enumerate(dict.fromkeys(point.layout for point in shown)):
        parts += _line(scale, number, layout, [one for one in shown if one.layout == layout])
    if chosen is not None:
        x, y = scale.x(chosen.latency_s), scale.y(chosen.rows_per_s)
        parts.append(f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="11" stroke-width="2.5"/>')
        parts.append(_text(x, y - 17, "chosen", anchor="middle", weight=600))
    return "\n".join([*parts, "</svg>", ""])


def draw_html(svg: str, *, title: str, table: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """A page with the picture *svg*, a *table* whose first row is its head, and *notes*."""
    head, *body = table
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    )
    paragraphs = "\n".join(f"<p>{escape(note)}</p>" for note in notes)
    return f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
svg {{ width: 100%; height: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 0.2rem 0.8rem; text-align: right; border-bottom: 1px solid #8885; }}
</style>
<h1>{escape(title)}</h1>
{svg}{paragraphs}
<table>
<thead><tr>{cells}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</html>
"""


class _Scale:
    """Seconds (logarithmic) and rows a second (from 0) to places in the picture."""

    def __init__(self, points: Sequence[Point], slo_s: float) -> None:
        times = [max(point.latency_s, 1e-7) for point in points] + [slo_s]
        self.low = math.log10(min(times)) - 0.1
        self.high = math.log10(max(times)) + 0.1
        self.most = 1.08 * max(max((point.rows_per_s for point in points), default=1.0), 1e-9)

    def x(self, seconds: float) -> float:
        part = (math.log10(max(seconds, 1e-7)) - self.low) / (self.high - self.low)
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)

    def y(self, rows_per_s: float) -> float:
        return _HEIGHT - _BOTTOM - rows_per_s / self.most * (_HEIGHT - _TOP - _BOTTOM)


def _axes(scale: _Scale) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value in _steps(scale.most):
        y = scale.y(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{value:,.10g}", anchor="end", kind="quiet"))
    for value in _decades(scale):
        x = scale.x(value)
        parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>')
        parts.append(_text(x, bottom + 18, told(value), anchor="middle", kind="quiet"))
    middle = (_LEFT + right) / 2
    parts.append(
        _text(
            middle, _HEIGHT - 16, f"time of an answer: {WAIT_FACTOR:g} × p99 of a batch", "middle"
        )
    )
    parts.append(
        f'<text transform="translate(16 {(_TOP + bottom) / 2:.0f}) rotate(-90)" '
        'text-anchor="middle">rows a second</text>'
    )
    return parts


def _bound(scale: _Scale, slo_s: float) -> list[str]:
    x = scale.x(slo_s)
    return [
        f'<path class="slo" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke-width="2"/>',
        _text(x - 5, _HEIGHT - _BOTTOM - 8, told(slo_s), anchor="end", weight=600),
    ]


def _line(scale: _Scale, number: int, layout: Layout, points: Sequence[Point]) -> list[str]:
    colour, mark = _COLOURS[number % len(_COLOURS)], _MARKS[number % len(_MARKS)]
    places = [(scale.x(point.latency_s), scale.y(point.rows_per_s)) for point in points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [f'<g class="line" stroke="{colour}" fill="{colour}">']
    parts.append(f'<path d="{path}" fill="none" stroke-width="2" stroke-opacity="0.7"/>')
    for (x, y), point in zip(places, points, strict=True):
        about = (
            f"{layout}, {point.rows} rows: {point.rows_per_s:,.0f} rows/s, p99 {told(point.p99_s)}"
        )
        parts.append(f"<g><title>{escape(about)}</title>{_mark(mark, x, y)}</g>")
    top = _TOP + 14 + 20 * number
    if top < _HEIGHT - _BOTTOM:
        parts.append(_mark(mark, _WIDTH - _RIGHT + 20, top - 4))
    parts.append("</g>")
    parts += [
        _text(x, y + 17, str(point.rows), anchor="middle", kind="quiet", size=11)
        for (x, y), point in zip(places, points, strict=True)
    ]
    if top < _HEIGHT - _BOTTOM:
        name = f"{layout} thread{'' if layout.threads == 1 else 's'}"
        parts.append(_text(_WIDTH - _RIGHT + 32, top, name))
    return parts


def _mark(kind: str, x: float, y: float) -> str:
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if kind == "square":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
    if kind == "diamond":
        return f'<path d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"/>'
    return f'<path d="M{x:.1f} {y - 5:.1f}l5.5 9.5h-11z"/>'


def _text(  # noqa: PLR0917 - a place, a text and how it looks
    x: float,
    y: float,
    content: str,
    anchor: str = "start",
    kind: str = "",
    size: int = 13,
    weight: int = 400,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}" font-size="{size}" '
        f'font-weight="{weight}">{escape(content)}</text>'
    )


def _steps(most: float) -> list[float]:
    """Four to eight round numbers from 0 to *most*."""
    raw = most / 5
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * 0.7)
    return [step * number for number in range(int(most / step) + 1)]


def _decades(scale: _Scale) -> list[float]:
    """Round times along the logarithmic axis: 1, 2 and 5 of each power of ten, if there is room."""
    factors = (1, 2, 5) if scale.high - scale.low < 3 else (1,)
    powers = range(math.floor(scale.low), math.ceil(scale.high) + 1)
    values = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in values if scale.low <= math.log10(value) <= scale.high]


def told(seconds: float) -> str:
    """A short time for people.

    >>> told(0.0000213), told(0.00734), told(0.05), told(1.5)
    ('21 µs', '7.3 ms', '50 ms', '1.5 s')
    """
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.2g} ms" if seconds < 0.01 else f"{seconds * 1e3:.0f} ms"


def _spoken(title: str, points: Sequence[Point], chosen: Point | None, slo_s: float) -> str:
    fits = f"none of {len(points)} fits {told(slo_s)}"
    if chosen is not None:
        fits = (
            f"chosen of {len(points)}: {chosen.layout} threads, {chosen.rows} rows a batch, "
            f"{chosen.rows_per_s:,.0f} rows a second within {told(slo_s)}"
        )
    return f"{title}; {fits}"
