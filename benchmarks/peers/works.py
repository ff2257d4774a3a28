"""What is asked of all servers: the same model file, the same tokenizer, the same texts.

- ``identity``: FP32 of 4, comes back.
- ``tweets``: the bundled classifier on tweets.
- ``roberta``: a RoBERTa-base classifier (random weights, INT8) on tweets.
- ``mixed``: the bundled classifier on texts of 5 to 400 tokens, log-uniform: most are short, some are long.

Tweets are normalised beforehand, since that step is Augury's own: the peers are spared it, Augury does it again.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from augury.pipeline.transforms.tweet_text import normalise_tweet
from benchmarks import models, tweets
from benchmarks.overhead import write_identity

NAMES = ("identity", "tweets", "roberta", "mixed")
SHORTEST, LONGEST = 5, 400


@dataclass(frozen=True)
class Work:
    """One workload.

    Args:
        name: One of NAMES.
        title: In the table.
        kind: ``identity`` or ``text``.
        package: Augury's package.
        slo_s: What counts as in time.
        rows: Inputs, each different.
        max_rows: Of a batch, for the peers that batch.
        files: For the peers: ``onnx``, ``torchscript``, ``tokenizer``.
        max_tokens: A longer text is cut.
    """

    name: str
    title: str
    kind: str
    package: Path
    slo_s: float
    rows: list[Any] = field(repr=False)
    max_rows: int = 1
    files: dict[str, str] = field(default_factory=dict, repr=False)
    max_tokens: int = 0

    def write(self, folder: Path) -> Path:
        """Write ``work.json`` for a peer."""
        file = folder / "work.json"
        file.write_text(
            json.dumps(
                {
                    "kind": self.kind,
                    "max_tokens": self.max_tokens,
                    "max_rows": self.max_rows,
                    "slo_ms": round(self.slo_s * 1000),
                    "pad_id": 0,
                    "pad_token": "[PAD]",
                    "labels": models.LABELS,
                    **self.files,
                }
            ),
            encoding="utf-8",
        )
        return file


def make(name: str, cache: Path, data: Path | None, count: int = 20_000) -> Work:
    """Make the work's files and inputs."""
    if name == "identity":
        return _identity(cache)
    version = models.bundled_version()
    tokenizer = str(version / "tokenizer.json")
    onnx = str(version / "model.onnx")
    if name == "mixed":
        package = models.long(cache)
        script = models.export(cache, "tweets", "--onnx", onnx)
        texts = mixed_texts(tweets.load(data, count), tokenizer, 5_000)
        return Work(
            name, "mixed lengths, 5 to 400 tokens", "text", package, 0.25, texts, max_rows=8,
            files={"onnx": onnx, "torchscript": str(script / "model.pt"), "tokenizer": tokenizer},
            max_tokens=512,
        )  # fmt: skip
    texts = [
        text
        for text in map(normalise_tweet, tweets.load(data, count))
        if text == normalise_tweet(text)
    ]
    if name == "roberta":
        package = models.roberta(cache)
        onnx = str(package / "1" / "model.onnx")
        folder = models.export(cache, "roberta", "--tokenizer", tokenizer)
        title, slo_s, max_rows = "RoBERTa-base, tweets", 0.25, 8
    else:
        package = models.uncached(cache)
        folder = models.export(cache, "tweets", "--onnx", onnx)
        title, slo_s, max_rows = "bundled model, tweets", 0.1, 16
    return Work(
        name, title, "text", package, slo_s, texts, max_rows=max_rows,
        files={"onnx": onnx, "torchscript": str(folder / "model.pt"), "tokenizer": tokenizer},
        max_tokens=128,
    )  # fmt: skip


def _identity(cache: Path) -> Work:
    repository = cache / "models" / "identity" / "repository"
    if not repository.exists():
        write_identity(repository)
    # The peers have no cache; with one, keys and shared flights are made even when nothing is kept.
    (repository / "identity" / "model.toml").write_text(models.NO_CACHE, encoding="utf-8")
    rng = random.Random(3)
    rows = [[round(rng.random(), 6) for _ in range(4)] for _ in range(50_000)]
    script = models.export(cache, "identity")
    return Work(
        "identity", "identity, FP32[4]", "identity", repository / "identity", 0.1, rows,
        files={"torchscript": str(script / "model.pt")},
    )  # fmt: skip


def mixed_texts(sources: list[str], tokenizer_file: str, count: int) -> list[str]:
    """*count* texts of 5 to 400 tokens (the model's two special ones among them), log-uniform."""
    tokenizer = Tokenizer.from_file(tokenizer_file)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rng = random.Random(11)
    spread = math.log((LONGEST + 0.5) / (SHORTEST - 0.5))
    texts: dict[str, None] = {}
    while len(texts) < count:
        wanted = min(LONGEST, round((SHORTEST - 0.5) * math.exp(rng.random() * spread)))
        text = ""
        while True:
            encoding = tokenizer.encode(text)
            if len(encoding.ids) >= wanted:
                break
            text = f"{text} {rng.choice(sources)}".strip()
        # Special tokens stand at both ends.
        texts[text[: encoding.offsets[wanted - 2][1]]] = None
    return list(texts)
