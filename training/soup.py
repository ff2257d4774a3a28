"""Average the weights of several runs, and compare that with its members.

Runs that start from the same weights, head included, end close enough that
the mean of their weights scores about as well as the mean of their answers,
at the cost of one network (model soups, Wortsman et al. 2022).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from augury.monitor.evaluation import fit_temperature
from training.encoder import TweetClassifier, pretrained_folder
from training.train import describe_code, measure, score, softmax
from training.tweets import Posts, encode, load_tokenizer, posted_since, read_posts


def average(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Average the states stored at *paths*, each with equal weight."""
    states = [torch.load(path, weights_only=True) for path in paths]
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}


def _summarise(name: str, posts: Posts, logits: NDArray[np.float32]) -> dict[str, Any]:
    report = measure(posts, logits)
    recalls = " ".join(f"{part['recall']:.3f}" for part in report["classes"])
    print(f"  {name:24s} macro recall {report['macro_recall']:.4f}  ({recalls})")
    return report


def main() -> None:
    """Average runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("runs", type=Path, nargs="+", help="folders that training.train wrote")
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("--later-of", type=Path, help="TSV whose later part no run has learnt from")
    parser.add_argument("--since", type=np.datetime64, help="where that part begins")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    measured = {"val": read_posts(options.val)}
    if options.later_of:
        posts = read_posts(options.later_of)
        measured["later"] = posts.take(posted_since(posts, options.since))
    tokenizer = load_tokenizer(pretrained_folder() / "tokenizer.json")
    state = average([run / "weights.pt" for run in options.runs])
    torch.save(state, options.out / "weights.pt")
    model = TweetClassifier()
    model.load_state_dict(state)
    reports: dict[str, dict[str, Any]] = {}
    for name, posts in measured.items():
        print(name)
        # What each run scored for itself is on file.
        each = [np.load(run / f"{name}.npz")["logits"] for run in options.runs]
        for run, logits in zip(options.runs, each, strict=True):
            _summarise(run.name, posts, logits)
        together = np.log(np.mean([softmax(logits) for logits in each], axis=0)).astype(np.float32)
        _summarise("ensemble of answers", posts, together)
        logits = score(model, encode(tokenizer, posts.texts))
        reports[name] = _summarise("average of weights", posts, logits)
        print(f"  temperature of the average: {fit_temperature(logits, posts.labels):.3f}")
        np.savez(options.out / f"{name}.npz", logits=logits, labels=posts.labels)
    members = [json.loads((run / "run.json").read_text("utf-8")) for run in options.runs]
    record = {"code": describe_code(), "members": members, "metrics": reports}
    (options.out / "run.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
