"""Tests of ``augury.runtimes.onnx``: what is ONNX's alone; the rest is in ``tests/contract``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from augury.core.cancellation import Cancellation
from augury.core.errors import InvalidPackage, RuntimeFailed
from augury.runtimes.base import RuntimeOptions
from augury.runtimes.onnx import OnnxRuntime
from tests.models import (
    IR_VERSION,
    OPSET,
    write_doubling,
    write_fails_on_negative,
    write_identity,
)

OPTIONS = RuntimeOptions(threads=1, instances=1)


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> Path:
    model = helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    file = path / "model.onnx"
    onnx.save(model, str(file))
    return file


def value(name: str, shape: list[Any] | None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


IDENTITY = [helper.make_node("Identity", ["x"], ["y"])]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (TensorProto.BOOL, "BOOL"),
        (TensorProto.UINT8, "UINT8"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.DOUBLE, "FP64"),
        (TensorProto.STRING, "BYTES"),
    ],
)
def test_datatypes(tmp_path: Path, kind: int, name: str) -> None:
    """ONNX's types in the protocol's words."""
    file = save(tmp_path, IDENTITY, [value("x", ["n"], kind)], [value("y", ["n"], kind)])
    assert OnnxRuntime(file, OPTIONS).signature.inputs[0].datatype == name


def test_bfloat16_is_refused(tmp_path: Path) -> None:
    """A type that numpy cannot hold is told at load time."""
    kind = TensorProto.BFLOAT16
    file = save(tmp_path, IDENTITY, [value("x", ["n"], kind)], [value("y", ["n"], kind)])
    with pytest.raises(InvalidPackage, match=r"only tensors can be served|cannot load it"):
        OnnxRuntime(file, OPTIONS)


def test_a_map_is_refused_with_a_hint(tmp_path: Path) -> None:
    """What scikit-learn's converter writes by default is told how to be written instead."""
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    mapped = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    outputs = [helper.make_value_info("y", helper.make_sequence_type_proto(mapped))]
    model = helper.make_model(
        helper.make_graph([node], "graph", [value("x", ["n", 2])], outputs),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=IR_VERSION,
    )
    file = tmp_path / "model.onnx"
    onnx.save(model, str(file))
    with pytest.raises(InvalidPackage, match="zipmap=False"):
        OnnxRuntime(file, OPTIONS)


def test_no_batch_axis_is_refused(tmp_path: Path) -> None:
    """A scalar has no place for rows."""
    file = save(tmp_path, IDENTITY, [value("x", [])], [value("y", [])])
    with pytest.raises(InvalidPackage, match="input 'x' has no batch axis"):
        OnnxRuntime(file, OPTIONS)


def test_two_batch_sizes_are_refused(tmp_path: Path) -> None:
    """No request could satisfy both."""
    nodes = [helper.make_node("MatMul", ["a", "b"], ["y"])]
    file = save(tmp_path, nodes, [value("a", [4, 2]), value("b", [2, 3])], [value("y", [4, 3])])
    with pytest.raises(InvalidPackage, match=r"different batch sizes \(2, 4\)"):
        OnnxRuntime(file, OPTIONS)


def test_open_sizes_are_minus_one(tmp_path: Path) -> None:
    """Whether they have a name or not."""
    file = save(
        tmp_path, IDENTITY, [value("x", ["n", "s", 3, None])], [value("y", ["n", "s", 3, None])]
    )
    runtime = OnnxRuntime(file, OPTIONS)
    assert runtime.signature.inputs[0].shape == (-1, 3, -1)
    assert runtime.fixed_rows is None


def test_weights_beside_the_file_are_found(tmp_path: Path) -> None:
    """Large models keep them in a file of their own."""
    weight = numpy_helper.from_array(np.full((2, 2), 3, "f4"), "w")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "graph", [value("x", ["n", 2])], [value("y", ["n", 2])], [weight],
    )  # fmt: skip
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    file = tmp_path / "model.onnx"
    onnx.save(
        model, str(file), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    answer = OnnxRuntime(file, OPTIONS).run({"x": np.ones((2, 2), "f4")})["y"]
    assert answer.tolist() == [[3, 3], [3, 3]]
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InvalidPackage, match="cannot load it"):
        OnnxRuntime(file, OPTIONS)


def test_a_missing_input_fails(tmp_path: Path) -> None:
    """A transform that leaves one out is told, not guessed."""
    file = write_identity(tmp_path) / "1" / "model.onnx"
    with pytest.raises(RuntimeFailed, match="x"):
        OnnxRuntime(file, OPTIONS).run({})


def test_outputs_are_the_model_s_own_business(tmp_path: Path) -> None:
    """A wrong number of rows is found by the scheduler, not here."""
    file = write_doubling(tmp_path) / "1" / "model.onnx"
    assert len(OnnxRuntime(file, OPTIONS).run({"x": np.ones((3, 2), "f4")})["y"]) == 6


def test_no_thread_spins_while_nothing_is_asked(tmp_path: Path) -> None:
    """The session's threads sleep between runs."""
    import time

    file = write_identity(tmp_path) / "1" / "model.onnx"
    runtime = OnnxRuntime(file, RuntimeOptions(threads=2, instances=1))
    runtime.run({"x": np.ones((64, 2), "f4")})
    before_s = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before_s < 0.15


def test_a_model_without_inputs_is_refused(tmp_path: Path) -> None:
    """Nothing could be asked of it."""
    from onnx import TensorProto, helper, save

    value = helper.make_tensor("v", TensorProto.FLOAT, [1, 2], [1.0, 2.0])
    node = helper.make_node("Constant", [], ["y"], value=value)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    graph = helper.make_graph([node], "constant", [], [output])
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(tmp_path / "model.onnx"))

    with pytest.raises(InvalidPackage, match="0 inputs and 1 outputs"):
        OnnxRuntime(tmp_path / "model.onnx", RuntimeOptions(threads=1, instances=1))


@pytest.mark.parametrize("cancel", [None, Cancellation()])
def test_a_run_that_fails_writes_nothing_to_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], cancel: Cancellation | None
) -> None:
    """ONNX Runtime's own line there would tell values of the input, past the log and its rules."""
    file = write_fails_on_negative(tmp_path) / "1" / "model.onnx"
    runtime = OnnxRuntime(file, OPTIONS)
    with pytest.raises(RuntimeFailed):
        runtime.run({"x": np.array([[-1, 2]], "f4")}, cancel)
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")
