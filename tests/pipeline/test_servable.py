"""Tests of ``augury.pipeline.servable`` and ``agreement``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from augury.core.cancellation import Cancellation
from augury.core.clock import SystemClock
from augury.core.errors import InvalidPackage, RuntimeFailed
from augury.core.tensor import Array, bytes_column
from augury.observe.metrics import Metrics
from augury.packages.digest import content_digest
from augury.packages.manifest import InstancesTable
from augury.packages.reader import ModelPackage, read_package
from augury.pipeline import loading
from augury.pipeline.loading import ServableLoader
from augury.pipeline.servable import Instances, ModelServable, choose_instances
from augury.runtimes.onnx import OnnxRuntime
from tests import models


def load(folder: Path, toml: str = "") -> ModelServable:
    (folder / "model.toml").write_text(toml)
    return ServableLoader(SystemClock(), Metrics()).load(read_package(folder, 1), 1)


@pytest.mark.parametrize(
    ("table", "cores", "want"),
    [
        (InstancesTable(), 4, Instances(4, 1)),
        (InstancesTable(count=2), 4, Instances(2, 2)),
        (InstancesTable(count=8), 4, Instances(8, 1)),
        (InstancesTable(threads=3), 8, Instances(2, 3)),
        (InstancesTable(threads=9), 4, Instances(1, 9)),
        (InstancesTable(count=3, threads=5), 1, Instances(3, 5)),
    ],
)
def test_instances(table: InstancesTable, cores: int, want: Instances) -> None:
    """What is left open fills the cores; what is said is done."""
    assert choose_instances(table, cores) == want


def test_a_bare_file_is_served(tmp_path: Path) -> None:
    """Signature from the file, one instance a core."""
    servable = load(models.write_two_inputs(tmp_path))
    assert servable.signature == servable.native
    x = np.ones((2, 2), "f4")
    batch = servable.preprocess({"a": x, "b": x}, 2, {})
    outputs, errors = servable.run_batch({"a": x, "b": x}, 2)
    assert list(batch.columns) == ["a", "b"]
    assert outputs["sum"].tolist() == [[2, 2], [2, 2]]
    assert errors == {}


def test_an_unknown_cache_policy_is_told_when_it_is_loaded(tmp_path: Path) -> None:
    """With those that there are, and the file that says it."""
    with pytest.raises(InvalidPackage, match=r"no cache policy 'fifo'; here are: lru, lfu, ttl"):
        load(models.write_identity(tmp_path), '[cache]\npolicy = "fifo"\n')


def test_only_what_is_shared_has_a_digest(tmp_path: Path) -> None:
    """Reading every byte is for those whose answers leave the process."""
    folder = models.write_identity(tmp_path)
    package = read_package(folder, 1)
    alone, sharing = (
        ServableLoader(SystemClock(), Metrics(), share_answers=share).load(package, 1)
        for share in (False, True)
    )
    assert (alone.content, alone.storing) == (None, False)
    assert sharing.content == content_digest(package)
    assert sharing.storing
    (folder / "model.toml").write_text("[cache]\nstore = false\n")
    package = read_package(folder, 1)
    kept = ServableLoader(SystemClock(), Metrics(), share_answers=True).load(package, 1)
    assert (kept.content, kept.caching, kept.storing) == (None, True, False)


def test_files_that_change_while_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Are not served where answers are shared: nobody knows which content would have answered."""
    folder = models.write_identity(tmp_path)
    warm_up = ModelServable.warm_up

    def changing(servable: ModelServable) -> None:
        warm_up(servable)
        (folder / "1" / "more.txt").write_text("late")

    monkeypatch.setattr(ModelServable, "warm_up", changing)
    loader = ServableLoader(SystemClock(), Metrics(), share_answers=True)
    with pytest.raises(InvalidPackage, match="changed while they were loaded"):
        loader.load(read_package(folder, 1), 1)


def test_files_that_are_replaced_once_their_digest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the new file's answers would lie in the store as the old one's."""
    folder = models.write_identity(tmp_path)

    def digest_of_what_is_replaced(package: ModelPackage) -> str:
        digest = content_digest(package)
        package.model_file.write_bytes(package.model_file.read_bytes())
        return digest

    monkeypatch.setattr(loading, "content_digest", digest_of_what_is_replaced)
    loader = ServableLoader(SystemClock(), Metrics(), share_answers=True)
    with pytest.raises(InvalidPackage, match="changed while they were loaded"):
        loader.load(read_package(folder, 1), 1)


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 10])
def test_a_fixed_batch_is_filled_up(tmp_path: Path, rows: int) -> None:
    """Fewer rows are filled up, more are run in parts; nobody sees the filler."""
    servable = load(models.write_fixed(tmp_path))
    assert servable.scheduler.max_rows == 4
    x = np.arange(rows * 2, dtype="f4").reshape(rows, 2)
    outputs, _ = servable.run_batch({"x": x}, rows)
    np.testing.assert_array_equal(outputs["y"], x)


def test_examples_of_a_fixed_batch(tmp_path: Path) -> None:
    """An example may have more rows than the file takes at once."""
    rows = [[float(n), 0.0] for n in range(6)]
    load(models.write_fixed(tmp_path), f"[[examples]]\ninputs.x = {rows}\noutputs.y = {rows}\n")


def test_a_fixed_batch_that_loses_rows_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if there are rows enough for those who asked."""
    servable = load(models.write_fixed(tmp_path))
    run = OnnxRuntime.run

    def losing(
        runtime: OnnxRuntime, inputs: dict[str, Array], cancel: Cancellation | None
    ) -> dict[str, Array]:
        return {name: array[:-1] for name, array in run(runtime, inputs, cancel).items()}

    monkeypatch.setattr(OnnxRuntime, "run", losing)
    with pytest.raises(RuntimeFailed, match="did not answer 4 rows for 4 rows"):
        servable.run_batch({"x": np.ones((2, 2), "f4")}, 2)


def test_fixed_strings_are_filled_up_with_empty_ones(tmp_path: Path) -> None:
    """A number would be no text."""
    from onnx import TensorProto, helper

    text, said = (helper.make_tensor_value_info(n, TensorProto.STRING, [3]) for n in "xy")
    node = helper.make_node("Identity", ["x"], ["y"])
    servable = load(models._write(tmp_path, "m", 1, [node], [text], [said]))
    outputs, _ = servable.run_batch({"x": bytes_column([b"a"])}, 1)
    assert outputs["y"].tolist() == [b"a"]


def test_a_model_that_does_not_take_zeros_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A made-up row says nothing about it; the operator is told what would help."""
    folder = models.write_identity(tmp_path)
    caplog.set_level("INFO")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxRuntime, "run", lambda self, inputs, cancel: 1 / 0)
        load(folder)
    assert "no warm-up" in caplog.text


def test_open_sizes_are_warmed_up_with_one(tmp_path: Path) -> None:
    """Text models, and those behind transforms, too."""
    seen: list[dict[str, tuple[int, ...]]] = []
    run = OnnxRuntime.run

    def noting(
        runtime: OnnxRuntime, inputs: dict[str, Array], cancel: Cancellation | None
    ) -> dict[str, Array]:
        seen.append({name: array.shape for name, array in inputs.items()})
        return run(runtime, inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxRuntime, "run", noting)
        patch.setattr("augury.pipeline.servable.calibrate", lambda *_, **__: None)
        load(models.write_identity(tmp_path, size=None))
        load(models.write_echo(tmp_path))
        folder = models.write_token_sum(tmp_path)
        models.write_tokenizer(folder / "1")
        load(folder, TOKENS)
    assert seen == [
        {"x": (1, 1)},
        {"text": (1,)},
        {"input_ids": (1, 1), "attention_mask": (1, 1)},
    ]


TOKENS = """
[signature.inputs.text]
dtype = "BYTES"
[[preprocess]]
use = "tokenize"
"""


def test_a_failing_example_is_told_with_the_manifest(tmp_path: Path) -> None:
    """The version is not served."""
    folder = models.write_identity(tmp_path)
    with pytest.raises(InvalidPackage, match="example 1: output 'y' is") as raised:
        load(folder, "[[examples]]\ninputs.x = [[1, 2]]\noutputs.y = [[3, 4]]\n")
    assert raised.value.details["path"] == str(folder / "model.toml")


@pytest.mark.parametrize(
    ("toml", "line", "words"),
    [
        (
            '[signature.inputs.z]\ndtype = "FP32"\nshape = [2]\n',
            1,
            "the model file has no such input; it has: x",
        ),
        (
            '[signature.inputs.x]\ndtype = "FP64"\nshape = [2]\n',
            2,
            "FP64, but the model file has FP32",
        ),
        (
            '[signature.inputs.x]\ndtype = "FP32"\nshape = [3]\n',
            3,
            r"\[3\], but the model file has \[2\]",
        ),
        (
            '[signature.outputs.y]\ndtype = "FP32"\n',
            1,
            r"\[\], but the model file has \[2\]",
        ),
        ('\n[signature.outputs.label]\ndtype = "BYTES"\n', 2, "no such output; it has: y"),
    ],
)
def test_a_signature_that_contradicts_the_file_is_told(
    tmp_path: Path, toml: str, line: int, words: str
) -> None:
    """At load time, with file and line; not at each request."""
    folder = models.write_identity(tmp_path)
    with pytest.raises(InvalidPackage, match=words) as raised:
        load(folder, toml)
    assert raised.value.details == {"path": str(folder / "model.toml"), "line": line}


def test_a_signature_that_leaves_an_input_out_is_told(tmp_path: Path) -> None:
    """The file wants it, so every request would fail."""
    with pytest.raises(InvalidPackage, match="the model file's input 'b' is missing"):
        load(models.write_two_inputs(tmp_path), '[signature.inputs.a]\ndtype = "FP32"\nshape=[2]\n')


def test_a_signature_may_say_less_and_more(tmp_path: Path) -> None:
    """Descriptions, sizes where the file leaves them open, and fewer outputs."""
    toml = """
[signature.inputs.x]
dtype = "FP32"
shape = [5]
description = "Five numbers."
"""
    assert load(models.write_identity(tmp_path, size=None), toml).signature.inputs[0].shape == (5,)
    toml = '[signature.outputs.total]\ndtype = "FP32"\nshape = [1]\n'
    servable = load(models.write_token_sum(tmp_path), toml)
    ids = np.ones((1, 2), "i8")
    outputs, _ = servable.run_batch({"input_ids": ids, "attention_mask": ids}, 1)
    assert list(outputs) == ["total"]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ('use = "softmax"', "no column 'logits' before this transform; here are: y"),
        ('use = "label"\ninput = "y"\nlabels = ["a"]\noutput = "scores"', "1 labels want"),
        ('use = "softmax"\ninput = "y"\noutput = "score"', "no column 'scores'"),
    ],
)
def test_steps_that_do_not_fit_the_outputs_are_told(tmp_path: Path, steps: str, words: str) -> None:
    """At load time, even without examples; else every request would fail."""
    toml = f'[signature.outputs.scores]\ndtype = "FP32"\nshape = [2]\n[[postprocess]]\n{steps}\n'
    with pytest.raises(InvalidPackage, match=words):
        load(models.write_identity(tmp_path), toml)


async def test_close_stops_the_threads(tmp_path: Path) -> None:
    """And takes no more work."""
    servable = load(models.write_identity(tmp_path))
    servable.start()
    threads = servable.scheduler._threads
    assert len(threads) == servable.instances.count
    await servable.close()
    assert not any(thread.is_alive() for thread in threads)
