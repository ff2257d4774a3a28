"""The texts that all servers are asked about."""

from __future__ import annotations

from benchmarks.peers.works import LONGEST, SHORTEST, mixed_texts
from tokenizers import Tokenizer

from benchmarks import models, tweets


def test_mixed_texts_have_the_lengths_that_are_told() -> None:
    """From 5 to 400 tokens, both ends come near, and most are short."""
    file = str(models.bundled_version() / "tokenizer.json")
    tokenizer = Tokenizer.from_file(file)
    tokenizer.no_truncation()
    tokenizer.no_padding()

    texts = mixed_texts(tweets.make(300), file, 300)

    lengths = sorted(len(tokenizer.encode(text).ids) for text in texts)
    assert len(set(texts)) == 300
    assert lengths[0] >= SHORTEST - 1
    assert lengths[-1] <= LONGEST
    assert lengths[-1] > 300
    assert lengths[150] < 100
