"""Write the trained network as an ONNX graph, in FP32 or in 8-bit integers.

The graph is built operator by operator, in the fused forms that
onnxruntime's CPU kernels have (its `com.microsoft` domain is part of every
build), so nothing is left to a tracer or an optimiser.

In 8 bits, every weight matrix has one scale per output column and every
*token* has its own activation scale.  ``quantize_dynamic`` takes one scale
for the whole batch instead, and then a row's scores depend on its companions
and on padding.  Here integer sums are exact, hence a row scores the same
alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from training.encoder import HEADS, HIDDEN, LAYER_NORM_EPSILON, LAYERS

Kind = Literal["fp32", "token", "tensor", "blocks"]
"""How matrix products are done.

``fp32``: plainly.  ``token``: INT8 with a scale per token.  ``tensor``: INT8
with one dynamic scale per batch tensor.  ``blocks``: ``MatMulNBits``, INT8
with a scale per block of 32 activations.
"""

OPSET = 17
_MICROSOFT = "com.microsoft"

# 255 * 63 * 2 fits into 16 bits.  Processors with AVX2 but without VNNI add
# two products there, and saturate: full INT8 weights would score differently
# on them.  The table is only looked up, never multiplied in integers.
_MATRIX_STEPS = 63
_TABLE_STEPS = 127

# GELU never falls below -0.17, so 20 of 255 steps below zero are enough.
_GELU_ZERO_POINT = 20
_GELU_MINIMUM = 0.17


class _Graph:
    """Collects nodes and constants under names that it makes up."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def number(self, value: float) -> str:
        return self.constant(f"number_{value:g}", np.array(value, np.float32))

    def axis(self, *values: int) -> str:
        name = "axis_" + "_".join(map(str, values))
        return self.constant(name, np.array(values, np.int64))

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        domain = _MICROSOFT if operator in _FUSED else ""
        self.nodes.append(
            helper.make_node(
                operator, list(inputs), [output], name=output, domain=domain, **attributes
            )
        )
        return output


_FUSED = frozenset(
    {
        "BiasGelu",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "MultiHeadAttention",
    }
)


def quantise_columns(
    weight: NDArray[np.float32], steps: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round *weight*, ``(inner, columns)``, to *steps* either side of zero, per column.

    Of some clipping points the one with the least squared error is taken,
    column by column.
    """
    top = np.abs(weight).max(axis=0)
    best_scale = np.maximum(top / steps, 1e-12).astype(np.float32)
    best_error = np.full(weight.shape[1], np.inf)
    for share in np.linspace(0.75, 1.0, 11):
        scale = np.maximum(share * top / steps, 1e-12).astype(np.float32)
        rounded = np.clip(np.rint(weight / scale), -steps, steps) * scale
        error = np.square(rounded - weight).sum(axis=0)
        better = error < best_error
        best_scale, best_error = (
            np.where(better, scale, best_scale).astype(np.float32),
            np.minimum(error, best_error),
        )
    return np.clip(np.rint(weight / best_scale), -steps, steps).astype(np.int8), best_scale


def _multiply(
    graph: _Graph, states: str, name: str, weight: NDArray[np.float32], kind: Kind, *, gelu: bool
) -> str:
    """Add ``states @ weight``; *weight* has shape ``(inner, columns)``."""
    if kind == "fp32":
        return graph.add(
            "MatMul", [states, graph.constant(f"{name}.weight", weight)], f"{name}.out"
        )
    if kind == "blocks":
        return _multiply_blocks(graph, states, name, weight)
    whole, scale = quantise_columns(weight, _MATRIX_STEPS)
    weights = [graph.constant(f"{name}.weight", whole)]
    scales = graph.constant(f"{name}.scale", scale)
    if kind == "tensor":
        outputs = [f"{name}.whole", f"{name}.step", f"{name}.zero"]
        graph.nodes.append(
            helper.make_node("DynamicQuantizeLinear", [states], outputs, name=outputs[0])
        )
        return graph.add(
            "MatMulIntegerToFloat",
            [outputs[0], *weights, outputs[1], scales, outputs[2]],
            f"{name}.out",
        )
    zero_point = _GELU_ZERO_POINT if gelu else 128
    if gelu:
        top = graph.add("ReduceMax", [states], f"{name}.top", axes=[-1], keepdims=1)
        # Also keeps what lies below zero inside the 20 steps.
        floor = graph.number(_GELU_MINIMUM * (255 - zero_point) / zero_point)
    else:
        size = graph.add("Abs", [states], f"{name}.size")
        top = graph.add("ReduceMax", [size], f"{name}.top", axes=[-1], keepdims=1)
        floor = graph.number(1e-6)
    top = graph.add("Max", [top, floor], f"{name}.limit")
    steps = float(255 - zero_point)
    inverse = graph.add("Div", [graph.number(steps), top], f"{name}.inverse")
    step = graph.add("Mul", [top, graph.number(1.0 / steps)], f"{name}.step")
    scaled = graph.add("Mul", [states, inverse], f"{name}.scaled")
    # QuantizeLinear with scale 1 rounds half to even, adds the zero point
    # and saturates, in one pass.
    zero = graph.constant(f"zero_{zero_point}", np.array(zero_point, np.uint8))
    whole_states = graph.add("QuantizeLinear", [scaled, graph.number(1.0), zero], f"{name}.whole")
    product = graph.add(
        "MatMulIntegerToFloat",
        [whole_states, *weights, graph.number(1.0), scales, zero],
        f"{name}.product",
    )
    return graph.add("Mul", [product, step], f"{name}.out")


def _multiply_blocks(graph: _Graph, states: str, name: str, weight: NDArray[np.float32]) -> str:
    inner, columns = weight.shape
    block = 32
    parts = weight.T.reshape(columns, inner // block, block)
    scale = np.maximum(np.abs(parts).max(axis=-1) / 127.0, 1e-12).astype(np.float32)
    whole = np.clip(np.rint(parts / scale[..., None]), -127, 127).astype(np.int16) + 128
    return graph.add(
        "MatMulNBits",
        [
            states,
            graph.constant(f"{name}.weight", whole.astype(np.uint8)),
            graph.constant(f"{name}.scale", scale.reshape(columns, -1)),
        ],
        f"{name}.out",
        K=inner, N=columns, bits=8, block_size=block, accuracy_level=4,
    )  # fmt: skip


def _embed(graph: _Graph, weights: dict[str, NDArray[np.float32]], kind: Kind) -> str:
    words = weights["words.weight"]
    if kind == "fp32":
        table = graph.constant("words.weight", words)
        states = graph.add("Gather", [table, "input_ids"], "words.states")
    else:
        whole, scale = quantise_columns(words.T, _TABLE_STEPS)
        table = graph.constant("words.weight", whole.T)
        scales = graph.constant("words.scale", scale[:, None])
        steps = graph.add("Gather", [table, "input_ids"], "words.whole")
        wide = graph.add("Cast", [steps], "words.wide", to=TensorProto.FLOAT)
        step = graph.add("Gather", [scales, "input_ids"], "words.step")
        states = graph.add("Mul", [wide, step], "words.states")
    shape = graph.add("Shape", ["input_ids"], "tokens", start=1, end=2)
    positions = graph.constant("positions.weight", weights["positions.weight"])
    placed = graph.add(
        "Slice", [positions, graph.axis(0), shape, graph.axis(0)], "positions.states"
    )
    states = graph.add("Add", [states, placed], "embedding.states")
    return graph.add(
        "LayerNormalization",
        [
            states,
            graph.constant("embedding_norm.weight", weights["embedding_norm.weight"]),
            graph.constant("embedding_norm.bias", weights["embedding_norm.bias"]),
        ],
        "embedding.normed",
        axis=-1, epsilon=LAYER_NORM_EPSILON,
    )  # fmt: skip


def build(weights: dict[str, NDArray[np.float32]], kind: Kind) -> onnx.ModelProto:
    """Build the graph of a trained network.

    Args:
        weights: The network's state, by parameter name, FP32.  Temperature
            and prior shift belong into ``head.weight`` and ``head.bias``
            beforehand.
        kind: How matrix products are done; the head stays FP32 always.

    Returns:
        A model with inputs ``input_ids`` and ``attention_mask``, both INT64
        ``[batch, tokens]``, and the output ``logits``, FP32 ``[batch, 3]``.
    """
    graph = _Graph()
    states = _embed(graph, weights, kind)
    mask = graph.add("Cast", ["attention_mask"], "mask.whole", to=TensorProto.INT32)

    for number in range(LAYERS):
        prefix = f"layers.{number}"

        def value(name: str, prefix: str = prefix) -> NDArray[np.float32]:
            return weights[f"{prefix}.{name}"]

        def normed(residual: str, name: str, norm: str, prefix: str = prefix) -> str:
            """Close a sub-layer: bias, residual and normalisation.

            `Sum` instead of `Add` on purpose: onnxruntime would fuse an `Add`
            into SkipLayerNormalization, whose CPU kernel takes three times as
            long as these three nodes.
            """
            bias = graph.constant(f"{prefix}.{name}.bias", weights[f"{prefix}.{name}.bias"])
            parts = [f"{prefix}.{norm}.{kind}" for kind in ("weight", "bias")]
            shifted = graph.add("Add", [f"{prefix}.{name}.out", bias], f"{prefix}.{name}.shifted")
            total = graph.add("Sum", [shifted, residual], f"{prefix}.{norm}.total")
            return graph.add(
                "LayerNormalization",
                [total, *(graph.constant(part, weights[part]) for part in parts)],
                f"{prefix}.{norm}.out",
                axis=-1,
                epsilon=LAYER_NORM_EPSILON,
            )

        name = f"{prefix}.query_key_value"
        product = _multiply(
            graph, states, name, value("query_key_value.weight").T, kind, gelu=False
        )
        parts = [f"{prefix}.{part}" for part in ("query", "key", "value")]
        graph.nodes.append(
            helper.make_node("Split", [product, graph.axis(HIDDEN, HIDDEN, HIDDEN)], parts,
                             name=f"{prefix}.split", axis=-1)
        )  # fmt: skip
        bias = graph.constant(f"{name}.bias", value("query_key_value.bias"))
        mixed = graph.add(
            "MultiHeadAttention", [*parts, bias, mask], f"{prefix}.mixed", num_heads=HEADS
        )
        _multiply(graph, mixed, f"{prefix}.attended", value("attended.weight").T, kind, gelu=False)
        states = normed(states, "attended", "attended_norm")
        inner = _multiply(
            graph, states, f"{prefix}.inner", value("inner.weight").T, kind, gelu=False
        )
        inner_bias = graph.constant(f"{prefix}.inner.bias", value("inner.bias"))
        inner = graph.add("BiasGelu", [inner, inner_bias], f"{prefix}.gelu")
        _multiply(graph, inner, f"{prefix}.outer", value("outer.weight").T, kind, gelu=True)
        states = normed(states, "outer", "outer_norm")

    real = graph.add("Cast", ["attention_mask"], "mask.real", to=TensorProto.FLOAT)
    column = graph.add("Unsqueeze", [real, graph.axis(2)], "mask.column")
    kept = graph.add("Mul", [states, column], "pooling.kept")
    total = graph.add("ReduceSum", [kept, graph.axis(1)], "pooling.total", keepdims=0)
    count = graph.add("ReduceSum", [column, graph.axis(1)], "pooling.count", keepdims=0)
    # An empty mask would divide by zero; its logits are the head's bias.
    count = graph.add("Max", [count, graph.number(1.0)], "pooling.at_least_one")
    pooled = graph.add("Div", [total, count], "pooling.mean")
    head = [graph.constant(name, weights[name]) for name in ("head.weight", "head.bias")]
    graph.add("Gemm", [pooled, *head], "logits", transB=1)

    shape = ["batch", "tokens"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "tweet-sentiment",
            [
                helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape),
                helper.make_tensor_value_info("attention_mask", TensorProto.INT64, shape),
            ],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(_MICROSOFT, 1)],
        producer_name="augury training.graph",
    )
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model
