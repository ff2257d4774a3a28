"""How well the cost model tells what a batch takes: predicted against observed, on the bundled model.

Batches of many sizes and lengths, in random order, are computed by the servable itself, one instance on
one thread, the steps after the model included.  Each is predicted before it is computed, and learnt from
afterwards, just as in the server.  The first WARM_UP batches are learnt from only.

On a machine that does other things, `--clock cpu` counts the time that the thread spent on a core.

    python -m benchmarks.cost_model [--clock wall|cpu] [--batches 1500] [--plot docs/images/cost-model.png] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from augury.app.build import TWEET_MODEL, bundled_repository
from augury.batching.cost import CostModel
from augury.batching.merge import merge_columns
from augury.core.clock import SystemClock
from augury.core.tensor import Columns, Ragged, bytes_column
from augury.observe.metrics import Metrics
from augury.packages.reader import read_package
from augury.pipeline.servable import ModelServable
from benchmarks import tweets

CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}
WARM_UP = 40
ROWS = (1, 1, 2, 3, 4, 6, 8, 12, 16)
LENGTHS = range(4, 129)
# Larger batches would take most of the time of the run, and are not what the policy makes.
MOST_TOKENS = 512


def token_stream(servable: ModelServable) -> dict[str, Any]:
    """The tokens of many texts in a row, one array for each input of the model file."""
    texts = [text.encode() for text in tweets.load(None, 400)]
    batch = servable.preprocess({"text": bytes_column(texts)}, len(texts), {})
    return {
        name: np.concatenate(column.rows)
        for name, column in batch.columns.items()
        if isinstance(column, Ragged)
    }


def cut(stream: dict[str, Any], rng: random.Random, rows: int, length: int) -> Columns:
    """*rows* rows of *length* tokens from somewhere in *stream*."""
    size = len(next(iter(stream.values())))
    starts = [rng.randrange(size - length) for _ in range(rows)]
    return {
        name: Ragged(tuple(values[start : start + length] for start in starts))
        for name, values in stream.items()
    }


def measure(
    batches: int, seed: int, time_s: Callable[[], float]
) -> tuple[list[tuple[int, int, float, float, float]], CostModel]:
    """For each batch its rows, length, predicted mean, predicted p95 and observed seconds."""
    clock = SystemClock()
    servable = ModelServable(
        read_package(bundled_repository() / TWEET_MODEL, 1), 1, clock=clock, metrics=Metrics()
    )
    stream = token_stream(servable)
    rng = random.Random(seed)
    cost = CostModel()
    seen = []
    for number in range(batches):
        rows = rng.choice(ROWS)
        length = rng.choice(LENGTHS)
        if rows * length > MOST_TOKENS:
            length = MOST_TOKENS // rows
        parts = [cut(stream, rng, rows, length)]
        predicted_s, tail_s = cost.predict(rows, length), cost.tail(rows, length, 0.95)
        started_s = time_s()
        servable.run_batch(merge_columns(parts), rows)
        took_s = time_s() - started_s
        cost.observe(rows, length, took_s)
        if number >= WARM_UP:
            seen.append((rows, length, predicted_s, tail_s, took_s))
    return seen, cost


def draw(seen: list[tuple[int, int, float, float, float]], cost: CostModel, path: Path) -> None:
    """The plot of the documentation; on a light ground of its own, so that it reads on dark pages too."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), dpi=130, facecolor="#fbfbf8")
    predicted = np.array([batch[2] for batch in seen]) * 1e3
    took = np.array([batch[4] for batch in seen]) * 1e3
    rows = np.array([batch[0] for batch in seen])
    ground = (min(predicted.min(), took.min()) * 0.8, max(predicted.max(), took.max()) * 1.2)
    left.plot(ground, ground, color="#333333", linewidth=1.2, label="predicted = observed")
    left.fill_between(
        ground,
        [0.8 * edge for edge in ground],
        [1.25 * edge for edge in ground],
        color="#333333",
        alpha=0.08,
        linewidth=0,
        label="within 25 %",
    )
    dots = left.scatter(predicted, took, c=rows, cmap="viridis", s=9, alpha=0.6, linewidths=0)
    left.set(xscale="log", yscale="log", xlim=ground, ylim=ground)
    left.set(
        xlabel="predicted, ms", ylabel="observed, ms", title="Each batch, before it was computed"
    )
    left.legend(loc="upper left", frameon=False)
    figure.colorbar(dots, ax=left, label="rows")
    shades = plt.get_cmap("viridis")
    lengths = np.arange(LENGTHS[0], LENGTHS[-1] + 1)
    for count in (1, 2, 4, 8):
        shade = shades(count / max(ROWS))
        right.plot(
            lengths,
            [cost.predict(count, int(length)) * 1e3 for length in lengths],
            color=shade,
            linewidth=1.8,
            label=f"{count} row{'s' if count > 1 else ''}",
        )
        for low in range(LENGTHS[0], LENGTHS[-1], 12):
            some = [b[4] * 1e3 for b in seen if b[0] == count and low <= b[1] < low + 12]
            if len(some) >= 3:
                right.scatter([low + 5.5], [statistics.median(some)], color=shade, s=22)
    right.set(
        xlabel="padded length S, tokens",
        ylabel="ms",
        title="T(n, S), and medians of what was observed",
    )
    right.set_ylim(bottom=0)
    right.legend(loc="upper left", frameon=False)
    for axes in (left, right):
        axes.set_facecolor("#fbfbf8")
        axes.grid(visible=True, color="#000000", alpha=0.08)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor=figure.get_facecolor())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=1500)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    seen, cost = measure(args.batches, args.seed, CLOCKS[args.clock])
    errors = sorted(abs(took / predicted - 1.0) for _, _, predicted, _, took in seen)
    over = sum(took > tail for _, _, _, tail, took in seen) / len(seen)
    found = cost.coefficients
    print(
        f"{len(seen)} batches: median error {statistics.median(errors):.1%}, nine in ten within "
        f"{errors[int(0.9 * len(errors))]:.1%}; {over:.1%} took longer than the predicted p95"
    )
    print(
        f"T(n, S) = {found.a * 1e3:.3f} ms + {found.d * 1e3:.3f} ms·n + {found.b * 1e6:.2f} µs·n·S "
        f"+ {found.c * 1e9:.1f} ns·n·S²"
    )
    if args.plot:
        draw(seen, cost, args.plot)
    if args.out:
        args.out.write_text(
            json.dumps(
                {
                    "cost": cost.to_dict(),
                    "batches": [
                        dict(
                            zip(
                                ("rows", "length", "predicted_s", "p95_s", "took_s"),
                                batch,
                                strict=True,
                            )
                        )
                        for batch in seen
                    ],
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
