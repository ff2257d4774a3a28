"""Make the files that need PyTorch and transformers; runs in their environment, not in Augury's.

    python export.py roberta FOLDER --tokenizer tokenizer.json
    python export.py tweets FOLDER --onnx model.onnx
    python export.py identity FOLDER

``roberta`` writes ``model.onnx`` (INT8) and ``model.pt`` (TorchScript, FP32), ``tweets`` and ``identity`` only ``model.pt``.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

SEED = 7
INPUTS = ("input_ids", "attention_mask")


class Logits(nn.Module):
    """A transformers classifier with plain tensors at both ends."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Map ids and mask, both ``(rows, tokens)`` INT64, to ``(rows, 3)``."""
        logits: Tensor = self.model(input_ids=ids, attention_mask=mask, return_dict=False)[0]
        return logits


def roberta(folder: Path, tokenizer_file: Path) -> None:
    """A RoBERTa-base with three labels and random weights.

    The head is scaled so that its scores differ from text to text: otherwise all of them would be near a third,
    and a mixed-up answer could not be told from a right one.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.optimizer import optimize_model
    from tokenizers import Tokenizer
    from transformers import RobertaConfig, RobertaForSequenceClassification

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    torch.manual_seed(SEED)
    config = RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=514, type_vocab_size=1,
        num_labels=3, pad_token_id=tokenizer.token_to_id("[PAD]"), attn_implementation="eager",
    )  # fmt: skip
    model = RobertaForSequenceClassification(config).eval()
    wrapped = Logits(model).eval()
    ids = torch.randint(1000, 20_000, (64, 24))
    # As in every text: else the first token alone would decide.
    ids[:, 0], ids[:, -1] = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    mask = torch.ones_like(ids)
    with torch.no_grad():
        logits = wrapped(ids, mask)
        head = model.classifier.out_proj
        head.weight.mul_((1.5 / logits.std(0))[:, None])
        head.bias.copy_(-wrapped(ids, mask).mean(0))

    save_script(wrapped, folder)
    plain, fused = folder / "plain.onnx", folder / "fused.onnx"
    dynamic = {name: {0: "batch", 1: "tokens"} for name in INPUTS} | {"logits": {0: "batch"}}
    torch.onnx.export(
        wrapped, (ids[:2], mask[:2]), str(plain), input_names=list(INPUTS),
        output_names=["logits"], dynamic_axes=dynamic, opset_version=17, dynamo=False,
    )  # fmt: skip
    optimised = optimize_model(
        str(plain), model_type="bert", num_heads=12, hidden_size=768, opt_level=1
    )
    print(optimised.get_fused_operator_statistics())
    optimised.save_model_to_file(str(fused))
    quantize_dynamic(
        fused, folder / "model.onnx", per_channel=True, weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
    )  # fmt: skip
    plain.unlink()
    fused.unlink()


def tweets(folder: Path, onnx_file: Path) -> None:
    """The bundled classifier as TorchScript, its weights taken back from the 8-bit file."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from training.encoder import TweetClassifier

    stored = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load(onnx_file).graph.initializer
    }
    model = TweetClassifier().eval()
    state = {}
    for name, wanted in model.state_dict().items():
        value = stored[name]
        if value.dtype == np.int8:
            value = value.astype(np.float32) * stored[name.removesuffix("weight") + "scale"]
            value = value if name == "words.weight" else value.T
        state[name] = torch.from_numpy(np.array(value, dtype=np.float32)).reshape(wanted.shape)
    model.load_state_dict(state)
    save_script(model, folder)


class Same(nn.Module):
    """Answers its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Nothing to do."""
        return x


def save_script(model: nn.Module, folder: Path) -> None:
    """Trace *model*, which takes ids and mask, and see that other lengths go through it as well."""
    ids = torch.randint(1000, 20_000, (2, 24))
    with torch.no_grad():
        script = torch.jit.trace(model, (ids, torch.ones_like(ids)))
        other = torch.randint(1000, 20_000, (1, 7))
        wanted = model(other, torch.ones_like(other))
        got = script(other, torch.ones_like(other))
    if not torch.allclose(wanted, got, atol=1e-4):
        raise SystemExit(f"the trace answers {got.tolist()}, the model {wanted.tolist()}")
    script.save(str(folder / "model.pt"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("roberta", "tweets", "identity"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--onnx", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # tracing tells of every shape that it saw
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.what == "roberta":
        roberta(args.folder, args.tokenizer)
    elif args.what == "tweets":
        tweets(args.folder, args.onnx)
    else:
        torch.jit.script(Same()).save(str(args.folder / "model.pt"))


if __name__ == "__main__":
    main()
