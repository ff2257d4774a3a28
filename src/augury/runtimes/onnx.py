"""ONNX Runtime on the CPU.

One session serves all instances of a version: ``InferenceSession.run`` may be called from several
threads at once, so the weights are in memory once.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from augury.core.cancellation import Cancellation, RunCancelled
from augury.core.errors import InvalidInput, InvalidPackage, RuntimeFailed
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import Array
from augury.runtimes.base import RuntimeOptions

_DATATYPES: Final[dict[str, str]] = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class OnnxRuntime:
    """A ``model.onnx`` in memory.

    Args:
        model_file: The file; weights in external data files beside it are found by themselves.
        options: Threads of one run, and runs at once.

    Raises:
        InvalidPackage: The file does not load, or has inputs or outputs that are not tensors with
            a batch axis.
    """

    def __init__(self, model_file: Path, options: RuntimeOptions) -> None:
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3  # errors: warnings of the optimiser are not for operators
        # A spinning pool burns a core while nothing is asked.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                str(model_file), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base class
            raise InvalidPackage(
                f"ONNX Runtime {ort.__version__} cannot load it: {_first_line(error)}",
                path=str(model_file),
            ) from None
        # For runs that nobody can stop; several may share it.
        self._silent = _silent()
        # What `run` calls after checks that a validated batch on a CPU does not need, 3 µs of 8.
        self._run = getattr(self._session, "_sess", self._session).run
        self._inputs = [_spec(model_file, node, "input") for node in self._session.get_inputs()]
        outputs = [_spec(model_file, node, "output") for node in self._session.get_outputs()]
        if not self._inputs or not outputs:
            raise InvalidPackage(
                f"it has {len(self._inputs)} inputs and {len(outputs)} outputs, one of each is the "
                "least that can be served",
                path=str(model_file),
            )
        self._output_names = [spec.name for spec in outputs]
        self._signature = Signature(tuple(self._inputs), tuple(outputs))
        self._string_inputs = [spec.name for spec in self._inputs if spec.datatype == "BYTES"]
        self._string_outputs = [spec.name for spec in outputs if spec.datatype == "BYTES"]
        sizes = {node.shape[0] for node in self._session.get_inputs()}
        fixed = sorted(size for size in sizes if isinstance(size, int) and size > 0)
        if len(fixed) > 1:
            raise InvalidPackage(
                f"its inputs insist on different batch sizes ({', '.join(map(str, fixed))}); "
                "export the model with one batch axis that all inputs share",
                path=str(model_file),
            )
        self._fixed_rows = fixed[0] if fixed else None

    @property
    def signature(self) -> Signature:
        return self._signature

    @property
    def fixed_rows(self) -> int | None:
        return self._fixed_rows

    @property
    def engine(self) -> str:
        return f"ONNX Runtime {ort.__version__}"

    def run(self, inputs: dict[str, Array], cancel: Cancellation | None = None) -> dict[str, Array]:
        for name in self._string_inputs:
            inputs = {**inputs, name: _decode(name, inputs[name])}
        options = self._silent
        if cancel is not None:
            # One for each run (0.5 µs): a late stop cannot reach the next.
            options = _silent()
            cancel.on_cancel(partial(setattr, options, "terminate", True))
        try:
            values = self._run(self._output_names, inputs, options)
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base class
            if cancel is not None and cancel.cancelled:
                raise RunCancelled from None
            raise RuntimeFailed(f"ONNX Runtime failed: {_first_line(error)}") from None
        outputs: dict[str, Array] = dict(zip(self._output_names, values, strict=True))
        for name in self._string_outputs:
            outputs[name] = _encode(outputs[name])
        return outputs

    def close(self) -> None:
        del self._run, self._session


def _silent() -> ort.RunOptions:
    """Options of a run that writes nothing to standard error.

    There, its errors would tell values of the input; and being stopped is none.  What fails is raised.
    """
    options = ort.RunOptions()
    options.log_severity_level = 4  # fatal
    return options


def _spec(model_file: Path, node: Any, kind: str) -> TensorSpec:
    datatype = _DATATYPES.get(node.type)
    if datatype is None:
        hint = " (export with zipmap=False)" if "map(" in node.type else ""
        raise InvalidPackage(
            f"{kind} {node.name!r} is a {node.type}, only tensors can be served{hint}",
            path=str(model_file),
        )
    if not node.shape:
        raise InvalidPackage(
            f"{kind} {node.name!r} has no batch axis; export the model with a leading batch axis",
            path=str(model_file),
        )
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape[1:])
    return TensorSpec(node.name, datatype, shape)


def _decode(name: str, column: Array) -> Array:
    """BYTES to text: onnxruntime would turn ``bytes`` into the text ``b'…'`` without a word."""
    decoded = np.empty(column.shape, dtype=object)
    try:
        decoded.reshape(-1)[:] = [value.decode() for value in column.flat]
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"input {name!r} is not UTF-8 text, which ONNX strings must be: {error.reason}",
            input=name,
        ) from None
    return decoded


def _encode(column: Array) -> Array:
    encoded = np.empty(column.shape, dtype=object)
    encoded.reshape(-1)[:] = [
        value.encode() if isinstance(value, str) else value for value in column.flat
    ]
    return encoded


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:500]
