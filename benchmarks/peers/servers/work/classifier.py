"""The work that every peer does with ONNX Runtime: text to scores, or numbers to the same numbers.

Runs in the peers' own environments, so it imports nothing of Augury's.  Tokens are padded to the longest
row of the batch, which is what each framework's examples do.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

# The runner writes one folder per workload and names its work.json here.
VARIABLE = "PEER_WORK"


def read_work() -> dict[str, Any]:
    """What the runner wants served: ``kind`` (``identity`` or ``text``), files, limits, batching."""
    work: dict[str, Any] = json.loads(Path(os.environ[VARIABLE]).read_text(encoding="utf-8"))
    return work


def read_options() -> dict[str, Any]:
    """How the server is set: ``delay_ms``, ``slo_ms`` (``None``: nothing is late), ``waiting`` (0: any number), and its own."""
    options: dict[str, Any] = json.loads(os.environ["PEER_OPTIONS"])
    return options


class Classifier:
    """Tokenizer and session of one model.

    Args:
        work: As :func:`read_work` gives it.
        threads: Of one run.
    """

    def __init__(self, work: dict[str, Any], threads: int) -> None:
        # Here, so that a handler that serves the identity model needs neither.
        import onnxruntime as ort
        from tokenizers import Tokenizer

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads take the cores from tokenising and from the generator, which share them:
        # https://onnxruntime.ai/docs/performance/tune-performance/threading.html
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(
            work["onnx"], options, providers=["CPUExecutionProvider"]
        )
        self.tokenizer = Tokenizer.from_file(work["tokenizer"])
        self.tokenizer.enable_truncation(work["max_tokens"])
        self.tokenizer.enable_padding(pad_id=work["pad_id"], pad_token=work["pad_token"])
        self.labels: list[str] = work["labels"]

    def scores(self, texts: list[str]) -> np.ndarray:
        """Probabilities, FP32 of shape ``(rows, labels)``."""
        encodings = self.tokenizer.encode_batch(texts)
        feed = {
            "input_ids": np.array([encoding.ids for encoding in encodings], dtype=np.int64),
            "attention_mask": np.array(
                [encoding.attention_mask for encoding in encodings], dtype=np.int64
            ),
        }
        logits = self.session.run(None, feed)[0]
        shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
        result: np.ndarray = shifted / shifted.sum(axis=-1, keepdims=True)
        return result

    def answers(self, texts: list[str]) -> list[dict[str, Any]]:
        """One ``{"label", "scores"}`` for each text."""
        return [
            {"label": self.labels[int(row.argmax())], "scores": row.tolist()}
            for row in self.scores(texts)
        ]
