"""The results as bars: one picture, readable on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer
from benchmarks.peers.table import median

# Greys and hues of middling lightness, on a transparent ground.
INK, FAINT = "#7d8590", "#7d859055"
OURS, THEIRS, LIGHTER = "#e8622c", "#4a8fd0", "#9cc3e8"
OURS_LIGHTER = "#f3ac8b"


def draw(result: Mapping[str, Any], peers: Mapping[str, Peer], folder: Path) -> Path:
    """Write ``peers.png`` into *folder*."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    style: Any = {
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
        "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "savefig.transparent": True,
        "font.family": "DejaVu Sans",
    }  # fmt: skip
    shown = [work for work in result["works"] if any(not one["reason"] for one in work["servers"])]
    with plt.rc_context(style):
        rows = math.ceil(len(shown) / 2)
        figure, axes = plt.subplots(
            rows,
            min(2, len(shown)),
            figsize=(10 if len(shown) > 1 else 5.5, 3.4 * rows),
            squeeze=False,
            layout="constrained",
        )
        for axis, work in zip(axes.flat, shown, strict=False):
            _panel(axis, work, peers)
        for axis in list(axes.flat)[len(shown) :]:
            axis.set_visible(False)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "peers.png"
        figure.savefig(file, dpi=160)
        plt.close(figure)
    return file


def _panel(axis: Any, work: Mapping[str, Any], peers: Mapping[str, Peer]) -> None:
    measured = sorted(
        (one for one in work["servers"] if not one["reason"] and one["rows_per_s"]),
        key=lambda one: median(one["rows_per_s"]),
    )
    names = [peers[one["peer"]].title.replace("*", "") for one in measured]
    ours = [one["peer"] == "augury" for one in measured]
    rates = [median(one["rows_per_s"]) for one in measured]
    errors = [
        [rate - min(one["rows_per_s"]) for rate, one in zip(rates, measured, strict=True)],
        [max(one["rows_per_s"]) - rate for rate, one in zip(rates, measured, strict=True)],
    ]
    at = list(range(len(measured)))
    goodput = [median(one["goodput"].get("poisson", [])) for one in measured]
    has_goodput = any(math.isfinite(value) for value in goodput)
    height = 0.38 if has_goodput else 0.7
    axis.barh(
        [y + (height / 2 if has_goodput else 0) for y in at], rates, height,
        color=[OURS if own else THEIRS for own in ours], xerr=errors, ecolor=INK, error_kw={"elinewidth": 0.8},
        label="closed loop, 32 clients",
    )  # fmt: skip
    if has_goodput:
        axis.barh(
            [y - height / 2 for y in at], [value if math.isfinite(value) else 0 for value in goodput], height,
            color=[OURS_LIGHTER if own else LIGHTER for own in ours], label=f"goodput, 99 % inside {work['slo_ms']} ms",
        )  # fmt: skip
    top = max(
        [*rates, *[value for value in goodput if math.isfinite(value)], *work["limits"]], default=1
    )
    for y, rate, error, value in zip(at, rates, errors[1], goodput, strict=True):
        place = (rate + error + top * 0.015, y + (height / 2 if has_goodput else 0))
        axis.text(*place, f"{rate:,.0f}", va="center", fontsize=7.5)
        if math.isfinite(value):
            axis.text(
                value + top * 0.015, y - height / 2, f"{value:,.0f}", va="center", fontsize=7.5
            )
    if work["limits"]:
        limit = median(work["limits"])
        axis.axvline(limit, color=INK, linestyle="--", linewidth=0.9)
        axis.text(limit, len(at) - 0.42, "tight loop ", ha="right", va="bottom", fontsize=7.5)
    axis.set_yticks(at, names)
    axis.set_xlim(0, top * 1.18)
    axis.locator_params(axis="x", nbins=6)
    axis.xaxis.grid(visible=True, color=FAINT, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_title(
        f"{work['title']}, {'requests' if work['name'] == 'identity' else 'rows'}/s", fontsize=10
    )
    if has_goodput:
        axis.legend(
            loc="upper center", bbox_to_anchor=(0.4, -0.08), ncols=2, frameon=False, fontsize=7.5
        )
