"""How near the server comes to a tight loop over the same model file.

The tight loop is the best that this machine can do without a server: the package's own preprocessing (normalise,
tokenise), the same model file, its postprocessing (softmax, label), with nothing around it; several batch sizes and thread layouts are tried,
and the best is the limit.  Rows lie in order of their length within windows of 64, as the server may choose a row's
companions from so many that wait: else the loop would pad more than it must.  The server is asked by 32 connections that send single tweets, each tweet
once, so that no answer is remembered.  Both take turns in one run, since machines are noisy.

    python -m benchmarks.tight_loop [--package DIR] [--data FILE] [--rounds 5] [--seconds 4]

``--package`` names another package of a text classifier, such as ``python -m benchmarks.models`` makes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort

from augury.app.build import TWEET_MODEL, bundled_repository
from augury.batching.merge import merge_columns
from augury.core.tensor import Ragged, bytes_column
from augury.packages.reader import read_package
from augury.pipeline.transforms.base import Batch, TransformContext
from augury.pipeline.transforms.registry import build_transforms
from augury.runtimes.base import RuntimeOptions
from augury.runtimes.registry import RUNTIMES
from benchmarks import load, tweets
from benchmarks.server import serving

BUNDLED = bundled_repository() / TWEET_MODEL
CONNECTIONS = 32
# Of `[batching] window`, as it comes.
WINDOW = 64
# (loops side by side, threads of each run, rows of each batch)
LAYOUTS = [
    (loops, threads, rows) for loops, threads in ((1, 2), (2, 1)) for rows in (1, 4, 8, 16, 32)
]


class Tight:
    """The loop, for one layout.

    Args:
        loops: Side by side.
        threads: Of each run.
        rows: Of each batch.
        model: Its folder, with the versions; the highest is taken.
    """

    def __init__(self, loops: int, threads: int, rows: int, model: Path = BUNDLED) -> None:
        version = max(int(folder.name) for folder in model.iterdir() if folder.name.isdigit())
        package = read_package(model, version)
        self.runtime = RUNTIMES.get(package.runtime)(
            package.model_file, RuntimeOptions(threads=threads, instances=loops)
        )
        context = TransformContext(package.path, self.runtime.signature)
        self.before = build_transforms(package.manifest.preprocess, context, "preprocess")
        self.after = build_transforms(package.manifest.postprocess, context, "postprocess")
        self.loops, self.rows = loops, rows

    def run(self, texts: list[str], seconds: float) -> float:
        """Rows a second over *texts*, in order, for about *seconds*."""
        shares = [texts[number :: self.loops] for number in range(self.loops)]
        started = time.perf_counter()
        with ThreadPoolExecutor(self.loops) as pool:
            rows = sum(pool.map(lambda share: self._loop(share, started + seconds), shares))
        return rows / (time.perf_counter() - started)

    def _loop(self, texts: list[str], until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            start = done % max(1, len(texts) - self.rows)
            self.answer(texts[start : start + self.rows])
            done += self.rows
        return done

    def answer(self, texts: list[str]) -> Batch:
        """One batch, all the way."""
        batch = self.prepare(texts)
        outputs = Batch(dict(self.runtime.run(merge_columns([batch.columns]))), len(texts))
        for step in self.after:
            step(outputs)
        return outputs

    def prepare(self, texts: list[str]) -> Batch:
        """The steps before the model."""
        batch = Batch({"text": bytes_column([text.encode() for text in texts])}, len(texts))
        for step in self.before:
            step(batch)
        return batch


def by_length(texts: list[str], tight: Tight, window: int = WINDOW) -> list[str]:
    """*texts* in order of their tokens within each *window* of them."""
    arranged: list[str] = []
    for start in range(0, len(texts), window):
        part = texts[start : start + window]
        lengths = [0] * len(part)
        for column in tight.prepare(part).columns.values():
            if isinstance(column, Ragged):
                lengths = [
                    max(len(row), most) for row, most in zip(column.rows, lengths, strict=True)
                ]
        arranged += [part[at] for at in sorted(range(len(part)), key=lengths.__getitem__)]
    return arranged


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--package", type=Path, default=BUNDLED)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    texts = tweets.load(args.data, 40_000)
    bodies: list[object] = [{"rows": [{"text": text}]} for text in texts]

    model: Path = args.package.resolve()
    path = f"/api/models/{model.name}/predict"
    arranged = by_length(texts, Tight(*LAYOUTS[0], model))
    trials = {layout: Tight(*layout, model).run(arranged, 1.0) for layout in LAYOUTS}
    for (loops, threads, rows), rate in trials.items():
        print(f"tight loop {loops} x {threads} threads, {rows:2} rows: {rate:7.0f} rows/s")
    best = sorted(trials, key=lambda layout: -trials[layout])[:2]

    ratios, limits, served, last = [], [], [], None
    loops_best = [Tight(*layout, model) for layout in best]
    with serving(*(() if model == BUNDLED.resolve() else (str(model.parent),))) as server:
        load.post(server.url, path, bodies, connections=CONNECTIONS, seconds=1, skip=30_000)
        skip = 0
        for number in range(args.rounds):
            limit = max(tight.run(arranged, args.seconds) for tight in loops_best)
            last = load.post(
                server.url, path, bodies, connections=CONNECTIONS, seconds=args.seconds, skip=skip
            )
            if last.bad_answers or last.broken:
                raise SystemExit(
                    f"{last.bad_answers} bad answers, {last.broken} broken connections"
                )
            skip = (skip + last.requests) % len(bodies)
            limits.append(limit)
            served.append(last.per_s)
            ratios.append(last.per_s / limit)
            print(
                f"round {number + 1}: limit {limit:6.0f} rows/s, served {last.per_s:6.0f} rows/s, "
                f"ratio {ratios[-1]:.3f}, p50 {last.p50_ms:.1f} ms, p99 {last.p99_ms:.1f} ms"
            )
        rss = server.rss_mib()
        ready = server.ready_s
    ratio = statistics.median(ratios)
    print(
        f"ratio {ratio:.3f} (median of {args.rounds} rounds; bar 0.90); "
        f"ready in {ready:.2f} s (bar 1.5), {rss:.0f} MiB resident (bar 250)"
    )
    if args.out:
        args.out.write_text(
            json.dumps(
                {
                    "best_layout": best[0],
                    "limit_rows_per_s": limits,
                    "served_rows_per_s": served,
                    "ratio_median": ratio,
                    "ready_s": ready,
                    "rss_mib": rss,
                    "onnxruntime": ort.__version__,
                    "numpy": np.__version__,
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
