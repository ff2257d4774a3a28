"""What scoring a file into the ledger costs beside bare predictions of the same texts.

`augury predict` answers the texts of a file, `augury tweets score` also keeps each prediction and adds it to
the aggregates of its author and topics.  Both take turns in one run, since machines are noisy.  Memory is
the most that the process ever held; the long file shows that it does not grow with the file.

    python -m benchmarks.bulk [--data FILE] [--rows 10000] [--rounds 3] [--store URL]

Without --store, each round has a fresh SQLite file; a store that is named is cleared before each round.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import tweets

AUTHORS = 5_000
# 2023-11-18, and a minute between two tweets.
FIRST_ID, STEP = 1_725_700_000_000_000_000, 60_000 << 22


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    rows_per_s: float
    cpu_s: float
    peak_mib: float


def run(rows: int, *arguments: str) -> Cost:
    """Run `augury` with *arguments*; the pace is what it tells, without loading the model."""
    command = [str(Path(sys.executable).with_name("augury")), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    told = re.search(r"([\d,]+) rows in ([\d.]+) s", said)
    if process.returncode or told is None or int(told[1].replace(",", "")) != rows:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {said}")
    return Cost(rows / float(told[2]), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def write(folder: Path, texts: list[str], name: str) -> Path:
    """*Texts* as tweets of many authors."""
    file = folder / name
    with file.open("w", encoding="utf-8") as out:
        for number, text in enumerate(texts):
            author = 1000 + number * 7919 % AUTHORS
            tweet = {
                "id": str(FIRST_ID + number * STEP),
                "text": text,
                "author_id": str(author),
                "username": f"author{author}",
            }
            out.write(json.dumps(tweet, ensure_ascii=False) + "\n")
    return file


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    texts = tweets.load(args.data, args.rows)

    ratios, predicted, scored = [], [], []
    with TemporaryDirectory() as name:
        folder = Path(name)
        file = write(folder, texts, "tweets.jsonl")
        short = write(folder, texts[: args.rows // 5], "short.jsonl")
        bare = folder / "texts.txt"
        bare.write_text(
            "\n".join(" ".join(text.split()) for text in texts) + "\n", encoding="utf-8"
        )

        def score(path: Path, rows: int, number: int) -> Cost:
            store = args.store or f"sqlite:///{folder}/{path.stem}{number}.sqlite3"
            if args.store:
                clear = ["tweets", "clear", "--yes", "--store", store]
                subprocess.run(
                    [str(Path(sys.executable).with_name("augury")), *clear],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
            return run(rows, "tweets", "score", str(path), "--store", store)

        small = score(short, len(texts[: args.rows // 5]), 0)
        for number in range(args.rounds):
            predicted.append(
                run(args.rows, "predict", "tweet-sentiment", "-i", str(bare), "-o", os.devnull)
            )
            scored.append(score(file, args.rows, number))
            ratios.append(scored[-1].rows_per_s / predicted[-1].rows_per_s)
            print(
                f"round {number + 1}: predict {predicted[-1].rows_per_s:5.0f} rows/s "
                f"({predicted[-1].cpu_s:.1f} s CPU), score {scored[-1].rows_per_s:5.0f} rows/s "
                f"({scored[-1].cpu_s:.1f} s CPU), ratio {ratios[-1]:.2f}",
                flush=True,
            )
        begun = time.perf_counter()
        again = (
            run(args.rows, "tweets", "score", str(file), "--store", args.store)
            if args.store
            else None
        )
        again_s = time.perf_counter() - begun
    ratio = statistics.median(ratios)
    ms_of = {
        name: 1e3 * min(one.cpu_s for one in costs) / args.rows
        for name, costs in (("predict", predicted), ("score", scored))
    }
    print(
        f"CPU, start included: predict {ms_of['predict']:.2f} ms a row, "
        f"score {ms_of['score']:.2f} ms a row"
    )
    print(
        f"ratio {ratio:.2f} (median of {args.rounds} rounds; bar 0.85); peak memory "
        f"{small.peak_mib:.0f} MiB for {args.rows // 5:,} tweets, "
        f"{max(one.peak_mib for one in scored):.0f} MiB for {args.rows:,}"
    )
    if again is not None:
        print(f"scored once more, all known: {again.rows_per_s:.0f} rows/s, {again_s:.1f} s in all")
    if args.out:
        args.out.write_text(
            json.dumps(
                {
                    "predict_rows_per_s": [one.rows_per_s for one in predicted],
                    "score_rows_per_s": [one.rows_per_s for one in scored],
                    "ratio_median": ratio,
                    "peak_mib": [small.peak_mib, max(one.peak_mib for one in scored)],
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
