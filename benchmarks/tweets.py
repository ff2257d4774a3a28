"""Texts for the benchmarks: real ones from a file, or made ones of the same lengths.

The project ships no tweets.  ``--data FILE`` (tab-separated, text in the last column) or the environment
variable ``AUGURY_BENCH_TWEETS`` names real ones; otherwise texts are made from common words, with the
length distribution of tweets (words: log-normal, median 19, at most 40).
"""

from __future__ import annotations

import os
import random
from pathlib import Path

_WORDS = [
    "the",
    "a",
    "to",
    "I",
    "you",
    "and",
    "is",
    "in",
    "it",
    "of",
    "for",
    "on",
    "my",
    "that",
    "at",
    "with",
    "me",
    "do",
    "have",
    "just",
    "this",
    "be",
    "so",
    "are",
    "not",
    "was",
    "can",
    "if",
    "but",
    "out",
    "like",
    "all",
    "up",
    "now",
    "know",
    "get",
    "good",
    "day",
    "what",
    "one",
    "got",
    "new",
    "time",
    "go",
    "love",
    "we",
    "no",
    "want",
    "lol",
    "need",
    "tomorrow",
    "today",
    "see",
    "going",
    "how",
    "about",
    "as",
    "back",
    "night",
    "game",
    "really",
    "still",
    "people",
    "think",
    "great",
    "last",
    "first",
    "when",
    "make",
    "work",
    "week",
    "morning",
    "never",
    "from",
    "much",
    "right",
    "let",
    "best",
    "friday",
    "sunday",
    "saturday",
    "happy",
    "watch",
    "show",
    "team",
    "win",
    "play",
    "better",
    "season",
    "live",
    "next",
    "year",
    "thanks",
    "wait",
    "school",
    "song",
    "album",
    "concert",
    "tickets",
    "vote",
    "news",
]
_EXTRAS = ("@user", "http", "#news", "#monday", "😂", "😊", "😭", "!!", "...", ":)", ":(")


def load(data: Path | None, count: int) -> list[str]:
    """*count* different texts, in a fixed order."""
    named = os.environ.get("AUGURY_BENCH_TWEETS")
    file = data or (Path(named) if named else None)
    if file is not None:
        lines = file.read_text(encoding="utf-8").splitlines()
        texts = list(dict.fromkeys(line.rsplit("\t", 1)[-1] for line in lines))
        random.Random(7).shuffle(texts)
        if len(texts) < count:
            raise SystemExit(f"{file} holds {len(texts)} different texts, {count} are needed")
        return texts[:count]
    return make(count)


def make(count: int) -> list[str]:
    """*count* different made texts."""
    rng = random.Random(7)
    texts: dict[str, None] = {}
    while len(texts) < count:
        size = min(40, max(3, round(rng.lognormvariate(2.94, 0.42))))
        words = [rng.choice(_EXTRAS if rng.random() < 0.07 else _WORDS) for _ in range(size)]
        texts[" ".join(words)] = None
    return list(texts)
