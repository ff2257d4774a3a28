"""Read labelled posts and cut them into batches of like length.

The first stage of training.  Texts pass through the very function that
serves (:func:`augury.pipeline.transforms.tweet_text.normalise_tweet`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from augury.pipeline.transforms.tweet_text import normalise_tweet

LABELS = ("negative", "neutral", "positive")
MAX_TOKENS = 96
PAD_ID, UNK_ID, CLS_ID, SEP_ID, MASK_ID = 0, 100, 101, 102, 103

# A snowflake id counts milliseconds since this moment, above 22 low bits.
_SNOWFLAKE_EPOCH_MS = 1_288_834_974_657


@dataclass(frozen=True)
class Posts:
    """Labelled posts of one file.

    Attributes:
        ids: As in the file; a snowflake or any other name.
        texts: Normalised texts.
        labels: Shape ``(rows,)``, int64, positions in :data:`LABELS`.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, chosen: NDArray[np.bool_]) -> Posts:
        """Keep the rows where *chosen*, shape ``(rows,)``, is true."""
        kept = np.flatnonzero(chosen)
        return Posts(
            tuple(self.ids[row] for row in kept),
            tuple(self.texts[row] for row in kept),
            self.labels[kept],
        )


def read_posts(
    path: Path, *, id_column: int = 0, label_column: int = 1, text_column: int = 2
) -> Posts:
    """Read a tab-separated file without header.

    Raises:
        ValueError: A line has too few columns or an unknown label.
    """
    ids, texts, labels = [], [], []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), start=1):
        if not line:
            continue
        cells = line.rstrip("\r").split("\t")
        try:
            ids.append(cells[id_column])
            labels.append(LABELS.index(cells[label_column]))
            texts.append(normalise_tweet(cells[text_column]))
        except (IndexError, ValueError) as error:
            raise ValueError(f"{path.name}, line {number}: {error}") from error
    return Posts(tuple(ids), tuple(texts), np.array(labels, np.int64))


def posted_ms(post_id: str) -> int:
    """Tell when a post was made, in Unix milliseconds, from its snowflake id."""
    return (int(post_id) >> 22) + _SNOWFLAKE_EPOCH_MS


def posted_since(posts: Posts, moment: np.datetime64) -> NDArray[np.bool_]:
    """Mark the posts made at *moment* or later; shape ``(rows,)``."""
    start_ms = int(moment.astype("datetime64[ms]").astype(np.int64))
    return np.array([posted_ms(post_id) >= start_ms for post_id in posts.ids], np.bool_)


def describe_file(path: Path, rows: int) -> dict[str, object]:
    """Name a data file by content: name, SHA-256 and rows used."""
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "rows": rows,
    }


def load_tokenizer(path: Path) -> Tokenizer:
    """Load a tokenizer that neither pads nor truncates by itself."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Answer each text's token ids, at most :data:`MAX_TOKENS`."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def pad(tokens: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pad to the longest; answers ids and mask, both ``(rows, longest)`` int64."""
    longest = max(map(len, tokens))
    ids = np.full((len(tokens), longest), PAD_ID, np.int64)
    mask = np.zeros((len(tokens), longest), np.int64)
    for row, sequence in enumerate(tokens):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return ids, mask


def batches(
    lengths: NDArray[np.int64], batch_rows: int, rng: np.random.Generator | None = None
) -> Iterator[NDArray[np.int64]]:
    """Cut rows into batches of like length.

    With *rng* the rows are shuffled, then sorted inside pools of 50 batches,
    and the batches come in random order; without it, all are sorted.
    """
    rows = len(lengths)
    if rng is None:
        order = np.argsort(lengths, kind="stable")
    else:
        shuffled = rng.permutation(rows)
        pool = 50 * batch_rows
        order = np.concatenate(
            [
                part[np.argsort(lengths[part], kind="stable")]
                for part in (shuffled[start : start + pool] for start in range(0, rows, pool))
            ]
        )
    starts = np.arange(0, rows, batch_rows)
    for start in starts if rng is None else rng.permutation(starts):
        yield order[start : start + batch_rows]
