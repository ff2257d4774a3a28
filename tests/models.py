"""Small ONNX models, made on the spot, for tests that run the real engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

# The oldest opset with RegexFullMatch, which the text classifier needs.
OPSET = 20
# Written down: onnx's own default may be newer than the ONNX Runtime that reads it.
IR_VERSION = 9

EVERY_TYPE = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FLOAT16", "FLOAT", "DOUBLE", "STRING"),
)

CLASSIFIER_MANIFEST = """\
description = "Says whether a text is good."
[signature.inputs.text]
dtype = "BYTES"
[signature.outputs.label]
dtype = "BYTES"
[signature.outputs.scores]
dtype = "FP32"
shape = [2]
labels = ["bad", "good"]
[[postprocess]]
use = "label"
labels = ["bad", "good"]
[[examples]]
inputs.text = ["good night", "rain"]
outputs.label = ["good", "bad"]
"""


def write_identity(
    repository: Path, name: str = "identity", version: int = 1, *, size: int | None = 2
) -> Path:
    """``x`` FP32 ``[size]`` (``None``: any) comes back as ``y``; returns the model's folder."""
    node = helper.make_node("Identity", ["x"], ["y"])
    x, y = (
        helper.make_tensor_value_info(one, TensorProto.FLOAT, ["n", size or "m"]) for one in "xy"
    )
    return _write(repository, name, version, [node], [x], [y])


def write_fails_on_negative(repository: Path, name: str = "picky", version: int = 1) -> Path:
    """``x`` FP32 ``[2]`` to ``y`` FP32 ``[2]``, all 1; a batch that holds a negative number fails."""
    nodes = [
        helper.make_node("Less", ["x", "zero"], ["negative"]),
        helper.make_node("Cast", ["negative"], ["index"], to=TensorProto.INT64),
        # The table has one entry: index 1 is out of its bounds.
        helper.make_node("Gather", ["table", "index"], ["y"]),
    ]
    constants = {"zero": np.float32(0), "table": np.ones(1, np.float32)}
    return _write(repository, name, version, nodes, [_pair("x")], [_pair("y")], constants)


def write_picky_echo(repository: Path, name: str = "picky-echo", version: int = 1) -> Path:
    """``x`` INT64 ``[2]`` comes back as ``y``; a batch that holds a negative number fails."""
    nodes = [
        helper.make_node("Less", ["x", "zero"], ["negative"]),
        helper.make_node("Cast", ["negative"], ["index"], to=TensorProto.INT64),
        # The table has one entry: index 1 is out of its bounds.
        helper.make_node("Gather", ["table", "index"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["y"]),
    ]
    constants = {"zero": np.int64(0), "table": np.zeros(1, np.int64)}
    x, y = (helper.make_tensor_value_info(one, TensorProto.INT64, ["n", 2]) for one in "xy")
    return _write(repository, name, version, nodes, [x], [y], constants)


def write_classifier(
    repository: Path,
    name: str = "mood",
    version: int = 1,
    *,
    manifest: str | None = CLASSIFIER_MANIFEST,
) -> Path:
    """A text that holds "good" scores 0.9 for ``good``, any other 0.1; the labels: bad, good."""
    nodes = [
        helper.make_node("RegexFullMatch", ["text"], ["found"], pattern="(?s).*good.*"),
        helper.make_node("Cast", ["found"], ["sure"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["sure", "last"], ["column"]),
        helper.make_node("Mul", ["column", "slope"], ["step"]),
        helper.make_node("Add", ["step", "base"], ["scores"]),
    ]
    constants = {
        "last": np.array([1], np.int64),
        "slope": np.array([[-0.8, 0.8]], np.float32),
        "base": np.array([[0.9, 0.1]], np.float32),
    }
    text = helper.make_tensor_value_info("text", TensorProto.STRING, ["n"])
    folder = _write(repository, name, version, nodes, [text], [_pair("scores")], constants)
    if manifest is not None:
        (folder / "model.toml").write_text(manifest, encoding="utf-8")
    return folder


def write_every_type(repository: Path, name: str = "types", version: int = 1) -> Path:
    """Inputs ``in_<type>`` of shape ``[2]`` come back as ``out_<type>``; types by ONNX's own names."""
    nodes, inputs, outputs = [], [], []
    for kind in EVERY_TYPE:
        tensor_type = getattr(TensorProto, kind)
        ends = [f"in_{kind.lower()}", f"out_{kind.lower()}"]
        nodes.append(helper.make_node("Identity", ends[:1], ends[1:]))
        inputs.append(helper.make_tensor_value_info(ends[0], tensor_type, ["n", 2]))
        outputs.append(helper.make_tensor_value_info(ends[1], tensor_type, ["n", 2]))
    return _write(repository, name, version, nodes, inputs, outputs)


def write_spin(repository: Path, name: str = "spin", version: int = 1) -> Path:
    """``turns`` INT64 ``[1]`` comes back as ``done`` after so many turns of a loop: a slow model.

    One instance, batches of one row, nothing remembered: requests go one after another.
    """
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("MatMul", ["square", "factor"], ["next_square"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("square", TensorProto.FLOAT, [64, 64]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_square", TensorProto.FLOAT, [64, 64]),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["turns"], ["most"], keepdims=0),
        helper.make_node("Loop", ["most", "", "start"], ["square"], body=body),
        helper.make_node("ReduceSum", ["square"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "nothing"], ["zero"]),
        helper.make_node("Cast", ["zero"], ["none"], to=TensorProto.INT64),
        helper.make_node("Add", ["turns", "none"], ["done"]),
    ]
    constants = {
        "start": np.eye(64, dtype=np.float32),
        "factor": np.eye(64, dtype=np.float32),
        "nothing": np.float32(0),
    }
    ends = [
        helper.make_tensor_value_info(end, TensorProto.INT64, ["n", 1]) for end in ("turns", "done")
    ]
    folder = _write(repository, name, version, nodes, ends[:1], ends[1:], constants)
    (folder / "model.toml").write_text(
        "[instances]\ncount = 1\nthreads = 1\n[batching]\nmax_rows = 1\n"
        "max_queue_rows = 64\n[cache]\nenabled = false\n",
        encoding="utf-8",
    )
    return folder


def write_stubborn(repository: Path, name: str = "stubborn", version: int = 1) -> Path:
    """``boxes`` INT64 ``[1]`` comes back as ``done`` after so many boxes were compared, each with each.

    One step of the graph does that, which nothing can stop.  One instance, nothing remembered.
    """
    nodes = [
        helper.make_node("ReduceMax", ["boxes"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["most_f"], to=TensorProto.FLOAT),
        helper.make_node("Range", ["zero", "most_f", "one"], ["left"]),
        helper.make_node("Mul", ["left", "zero"], ["top"]),
        helper.make_node("Add", ["left", "half"], ["right"]),
        helper.make_node("Add", ["top", "one"], ["bottom"]),
        *(
            helper.make_node("Unsqueeze", [edge, "ends"], [f"{edge}_u"])
            for edge in ("top", "left", "bottom", "right")
        ),
        helper.make_node("Concat", ["top_u", "left_u", "bottom_u", "right_u"], ["all"], axis=2),
        helper.make_node("Unsqueeze", ["bottom", "fronts"], ["scores"]),
        helper.make_node("Unsqueeze", ["most", "front"], ["most_kept"]),
        helper.make_node(
            "NonMaxSuppression", ["all", "scores", "most_kept", "half", "zero"], ["kept"]
        ),
        helper.make_node("ReduceSum", ["kept"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "nothing"], ["none"]),
        helper.make_node("Add", ["boxes", "none"], ["done"]),
    ]
    constants = {
        "zero": np.float32(0),
        "one": np.float32(1),
        "half": np.float32(0.5),
        "nothing": np.int64(0),
        "front": np.array([0], np.int64),
        "fronts": np.array([0, 1], np.int64),
        "ends": np.array([0, 2], np.int64),
    }
    ends = [
        helper.make_tensor_value_info(end, TensorProto.INT64, ["n", 1]) for end in ("boxes", "done")
    ]
    folder = _write(repository, name, version, nodes, ends[:1], ends[1:], constants)
    (folder / "model.toml").write_text(
        "[instances]\ncount = 1\nthreads = 1\n[batching]\nmax_rows = 1\ninline = false\n"
        "[cache]\nenabled = false\n",
        encoding="utf-8",
    )
    return folder


def write_two_inputs(repository: Path, name: str = "adder", version: int = 1) -> Path:
    """``a`` FP32 ``[2]`` and ``b`` FP32 ``[2]`` to their ``sum`` FP32 ``[2]``."""
    node = helper.make_node("Add", ["a", "b"], ["sum"])
    return _write(repository, name, version, [node], [_pair("a"), _pair("b")], [_pair("sum")])


def write_echo(repository: Path, name: str = "echo", version: int = 1) -> Path:
    """``text`` BYTES comes back as ``said``."""
    node = helper.make_node("Identity", ["text"], ["said"])
    text, said = (
        helper.make_tensor_value_info(one, TensorProto.STRING, ["n"]) for one in ("text", "said")
    )
    return _write(repository, name, version, [node], [text], [said])


def write_fixed(repository: Path, name: str = "fixed", version: int = 1, *, rows: int = 4) -> Path:
    """``x`` FP32 ``[2]``, *rows* rows at once and no other number, comes back as ``y``."""
    node = helper.make_node("Identity", ["x"], ["y"])
    x, y = (helper.make_tensor_value_info(one, TensorProto.FLOAT, [rows, 2]) for one in "xy")
    return _write(repository, name, version, [node], [x], [y])


def write_doubling(repository: Path, name: str = "doubling", version: int = 1) -> Path:
    """A broken export: ``y`` has twice the rows of ``x``."""
    node = helper.make_node("Concat", ["x", "x"], ["y"], axis=0)
    return _write(repository, name, version, [node], [_pair("x")], [_pair("y")])


def write_collapsing(repository: Path, name: str = "collapsing", version: int = 1) -> Path:
    """A broken export: ``y`` is the sum of all rows of ``x``, one row, right for one row alone."""
    node = helper.make_node("ReduceSum", ["x", "batch"], ["y"], keepdims=1)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", 2])
    constants = {"batch": np.array([0], np.int64)}
    return _write(repository, name, version, [node], [_pair("x")], [y], constants)


def write_slow(
    repository: Path, name: str = "slow", version: int = 1, *, products: int = 20
) -> Path:
    """``x`` FP32 ``[2]`` comes back as ``y`` after *products* products of 512 x 512 matrices."""
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["all"], keepdims=0),
        helper.make_node("Mul", ["all", "zero"], ["nothing"]),
        helper.make_node("Expand", ["nothing", "size"], ["m0"]),
        *(
            helper.make_node("MatMul", [f"m{step}", f"m{step}"], [f"m{step + 1}"])
            for step in range(products)
        ),
        helper.make_node("ReduceSum", [f"m{products}"], ["still"], keepdims=0),
        helper.make_node("Add", ["x", "still"], ["y"]),
    ]
    constants = {"zero": np.float32(0), "size": np.array([512, 512], np.int64)}
    return _write(repository, name, version, nodes, [_pair("x")], [_pair("y")], constants)


def write_token_sum(repository: Path, name: str = "tokens", version: int = 1) -> Path:
    """``input_ids`` and ``attention_mask`` INT64 ``[-1]`` to ``total`` FP32 ``[1]`` and ``seen``.

    ``total`` adds up the ids under the mask; ``seen`` is ``input_ids`` as the model got it, padding
    included.
    """
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "last"], ["summed"], keepdims=1),
        helper.make_node("Cast", ["summed"], ["total"], to=TensorProto.FLOAT),
        helper.make_node("Identity", ["input_ids"], ["seen"]),
    ]
    ids, mask, seen = (
        helper.make_tensor_value_info(one, TensorProto.INT64, ["n", "s"])
        for one in ("input_ids", "attention_mask", "seen")
    )
    total = helper.make_tensor_value_info("total", TensorProto.FLOAT, ["n", 1])
    constants = {"last": np.array([1], np.int64)}
    return _write(repository, name, version, nodes, [ids, mask], [total, seen], constants)


def write_tokenizer(folder: Path, *, words: Sequence[str] = ("one", "two", "three")) -> Path:
    """A ``tokenizer.json``: [PAD] is 0, [UNK] 1, [CLS] 2, [SEP] 3, then *words*; returns the file."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    file = folder / "tokenizer.json"
    tokenizer.save(str(file))
    return file


def _pair(name: str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2])


def _write(  # noqa: PLR0917 - the parts of a graph, in its own order
    repository: Path,
    name: str,
    version: int,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    constants: dict[str, Any] | None = None,
) -> Path:
    initializers = [
        numpy_helper.from_array(np.asarray(value), key) for key, value in (constants or {}).items()
    ]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    folder = repository / name / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / "model.onnx"))
    return repository / name
