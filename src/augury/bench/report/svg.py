"""Plots as inline SVG: lines and bars over linear or logarithmic axes.

Colours are classes (``tone-1`` …), which the page's style gives for light and dark; values are told as
tooltips (``<title>``), so that nothing needs a script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

WIDTH: Final = 560
HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 14, 42


@dataclass(frozen=True)
class Scale:
    """From values to pixels.

    Args:
        low: Value at *from_px*.
        high: Value at *to_px*.
        from_px: Pixel.
        to_px: Pixel.
        log: Whether it is logarithmic; then *low* is above 0.
    """

    low: float
    high: float
    from_px: float
    to_px: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of *value*; what lies outside is put on the border."""
        value = min(max(value, self.low), self.high)
        if self.log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.from_px + part * (self.to_px - self.from_px)

    def ticks(self) -> list[float]:
        """Round values to mark."""
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """About *wanted* round values from *low* to *high*.

    >>> ticks(0, 870)
    [0.0, 200.0, 400.0, 600.0, 800.0]
    """
    span = high - low
    if span <= 0:
        return [low]
    raw = span / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((one * power for one in (1, 2, 2.5, 5, 10)), key=lambda one: abs(one - raw))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten, or only those when there are many.

    >>> log_ticks(0.9, 25)
    [1.0, 2.0, 5.0, 10.0, 20.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    found = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [one for one in found if low * 0.999 <= one <= high * 1.001]


@dataclass(frozen=True)
class Line:
    """One line of a plot.

    Args:
        name: For the legend.
        points: x and y; a NaN breaks the line.
        tone: Its colour, 1 to 6; 0 is grey.
        dashed: Whether it is dashed, as what is meant rather than measured.
        dots: Whether its points are marked.
        area: Whether the area under it is filled.
    """

    name: str
    points: Sequence[tuple[float, float]]
    tone: int
    dashed: bool = False
    dots: bool = True
    area: bool = False


@dataclass
class Plot:
    """A plot with lines or bars over two axes.

    Args:
        title: Read out by screen readers.
        x_name: Of the axis, with its unit.
        y_name: Likewise.
        x_log: Whether it is logarithmic.
        y_log: Likewise.
        marks: Horizontal lines, by name.
        x_marks: Vertical lines, by name.
    """

    title: str
    x_name: str
    y_name: str
    x_log: bool = False
    y_log: bool = False
    marks: dict[str, float] = field(default_factory=dict)
    x_marks: dict[str, float] = field(default_factory=dict)

    def lines(self, lines: Sequence[Line]) -> str:
        """The plot with *lines*, and a legend; empty without a point."""
        shown = [
            (x, y)
            for line in lines
            for x, y in line.points
            if math.isfinite(x) and math.isfinite(y) and not (self.y_log and y <= 0)
        ]
        if not shown:
            return ""
        x = _scale([one for one, _ in shown], _LEFT, WIDTH - _RIGHT, log=self.x_log)
        heights = [one for _, one in shown] + list(self.marks.values())
        y = _scale(heights, HEIGHT - _BOTTOM, _TOP, log=self.y_log)
        parts = [self._axes(x, y)]
        parts += [self._line(line, x, y) for line in lines]
        return self._frame("".join(parts), [(one.name, one.tone, one.dashed) for one in lines])

    def bars(self, bars: Sequence[tuple[float, float, float]], tone: int, name: str) -> str:
        """The plot with *bars* (from, to, height) along a continuous axis; empty without one."""
        if not bars:
            return ""
        edges = [one for low, high, _ in bars for one in (low, high)]
        x = _scale(edges, _LEFT, WIDTH - _RIGHT, log=self.x_log, tight=True)
        y = _scale([height for *_, height in bars], HEIGHT - _BOTTOM, _TOP)
        parts = [self._axes(x, y)]
        for low, high, height in bars:
            left, right, top = x(low), x(high), y(height)
            width = max(right - left - 0.6, 0.8)
            parts.append(
                f'<rect class="fill-{tone}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
                f'height="{HEIGHT - _BOTTOM - top:.1f}"><title>{number(low)} – {number(high)}: '
                f"{height:,.0f} {escape(name)}</title></rect>"
            )
        return self._frame("".join(parts), [])

    def stacks(
        self, stacks: Sequence[tuple[str, Sequence[float]]], names: Sequence[tuple[str, int]]
    ) -> str:
        """Bars of stacked shares: label and a part of 1 for each of *names* (with their tones)."""
        if not stacks:
            return ""
        y = Scale(0, 100, HEIGHT - _BOTTOM, _TOP)
        parts = [_y_axis(y), self._names()]
        step = (WIDTH - _LEFT - _RIGHT) / len(stacks)
        for index, (label, shares) in enumerate(stacks):
            left, base = _LEFT + index * step + step * 0.12, 0.0
            for (name, tone), share in zip(names, shares, strict=True):
                if share <= 0:
                    continue
                top, bottom = y(base + 100 * share), y(base)
                base += 100 * share
                parts.append(
                    f'<rect class="fill-{tone}" x="{left:.1f}" y="{top:.1f}" width="{step * 0.76:.1f}" '
                    f'height="{bottom - top:.2f}"><title>{escape(label)}: {share:.2%} {escape(name)}'
                    "</title></rect>"
                )
            if len(stacks) <= 8 or index % math.ceil(len(stacks) / 8) == 0:
                parts.append(_text(left + step * 0.38, HEIGHT - _BOTTOM + 16, label, "middle"))
        return self._frame("".join(parts), [(name, tone, False) for name, tone in names])

    def _line(self, line: Line, x: Scale, y: Scale) -> str:
        runs: list[list[tuple[float, float]]] = [[]]
        for px, py in line.points:
            if math.isfinite(px) and math.isfinite(py) and not (self.y_log and py <= 0):
                runs[-1].append((px, py))
            elif runs[-1]:
                runs.append([])
        parts: list[str] = []
        for run in filter(None, runs):
            path = " ".join(f"{x(px):.1f},{y(py):.1f}" for px, py in run)
            if line.area:
                base = HEIGHT - _BOTTOM
                parts.append(
                    f'<polygon class="area-{line.tone}" points="{x(run[0][0]):.1f},{base} {path} '
                    f'{x(run[-1][0]):.1f},{base}"/>'
                )
            dash = ' stroke-dasharray="5 4"' if line.dashed else ""
            parts.append(f'<polyline class="line-{line.tone}" points="{path}"{dash}/>')
            if line.dots:
                parts += [
                    f'<circle class="fill-{line.tone}" cx="{x(px):.1f}" cy="{y(py):.1f}" r="3.2"><title>'
                    f"{escape(line.name)}: {number(py)} at {number(px)}</title></circle>"
                    for px, py in run
                ]
        return "".join(parts)

    def _axes(self, x: Scale, y: Scale) -> str:
        parts = [_y_axis(y), self._names()]
        parts += [
            _text(x(tick), HEIGHT - _BOTTOM + 16, number(tick), "middle") for tick in x.ticks()
        ]
        for name, value in self.marks.items():
            if y.low <= value <= y.high:
                at = y(value)
                parts.append(
                    f'<line class="mark" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
                    + _text(_LEFT + 4, at - 5, name, "start")
                )
        for name, value in self.x_marks.items():
            if x.low <= value <= x.high:
                at = x(value)
                side = "end" if at > WIDTH / 2 else "start"
                parts.append(
                    f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
                    + _text(at + (-5 if side == "end" else 5), _TOP + 10, name, side)
                )
        return "".join(parts)

    def _names(self) -> str:
        return _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, self.x_name, "middle", "name")

    def _frame(self, inside: str, legend: Sequence[tuple[str, int, bool]]) -> str:
        keys = "".join(
            f'<span class="key"><i class="swatch-{tone}{" dashed" if dashed else ""}"></i>{escape(name)}</span>'
            for name, tone, dashed in legend
        )
        return (
            f"<figure><figcaption>{escape(self.title)}<small>{escape(self.y_name)}</small></figcaption>"
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">{inside}</svg>'
            + (f'<div class="legend">{keys}</div>' if keys else "")
            + "</figure>"
        )


def number(value: float) -> str:
    """*value* as short as it may be.

    >>> number(1234567.0), number(1500.0), number(12.5), number(0.25), number(0.0)
    ('1,234,567', '1,500', '12.5', '0.25', '0')
    """
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _scale(
    values: Sequence[float], from_px: float, to_px: float, *, log: bool = False, tight: bool = False
) -> Scale:
    low, high = min(values), max(values)
    if log:
        low = max(low, 1e-6)
        high = max(high, low * 1.01)
        room = 1.0 if tight else 1.12
        return Scale(low / room, high * room, from_px, to_px, log=True)
    if tight:
        return Scale(low, high if high > low else low + 1, from_px, to_px)
    return Scale(0, high * 1.06 if high > 0 else 1, from_px, to_px)


def _y_axis(y: Scale) -> str:
    parts = []
    for tick in y.ticks():
        at = y(tick)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        parts.append(_text(_LEFT - 8, at + 4, number(tick), "end"))
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
