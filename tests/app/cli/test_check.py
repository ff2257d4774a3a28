"""``augury check``: real loads of good and bad packages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from augury.app.build import bundled_repository
from augury.pipeline.transforms.registry import TRANSFORMS
from tests.app.cli.conftest import RunCli
from tests.models import (
    CLASSIFIER_MANIFEST,
    write_classifier,
    write_fails_on_negative,
    write_identity,
)


def faults(cli: RunCli, path: Path, *, expect: int = 1) -> list[tuple[str, int | None, str]]:
    """File (within the tested folder's repository), line and message of each fault."""
    run = cli("check", path, "--json")
    assert run.code == expect
    found = [fault for model in json.loads(run.out)["models"] for fault in model["faults"]]
    return [(Path(one["path"]).name, one["line"], one["message"]) for one in found]


def test_bundled_models_are_sound(cli: RunCli) -> None:
    """What ships with Augury passes its own check without a warning."""
    run = cli("check", bundled_repository())

    assert run.code == 0
    assert "✓ tweet-sentiment  version 1 · 3 examples" in run.out
    assert "1 model: 0 faults, 0 warnings" in run.out


def test_every_fault_of_every_model(cli: RunCli, tmp_path: Path) -> None:
    """A faulty model does not hide the next, and each tells file, line and what is allowed."""
    write_classifier(tmp_path, "alpha", manifest="[cache]\nttl_s = 0\n\n[batchin]\n")
    write_identity(tmp_path, "beta")
    write_classifier(tmp_path, "gamma", manifest="\n[versions\n")
    run = cli("check", tmp_path)

    assert run.code == 1
    assert "alpha/model.toml:2: cache.ttl_s: Input should be greater than 0" in run.out
    assert "alpha/model.toml:4: batchin: unknown key" in run.out
    assert "✓ beta  version 1" in run.out
    assert "gamma/model.toml:2: not valid TOML" in run.out
    assert "3 models: 3 faults" in run.out


def test_a_broken_manifest_does_not_hide_a_broken_file(cli: RunCli, tmp_path: Path) -> None:
    """The model files and records are looked at even when the manifest is faulty."""
    model = write_classifier(tmp_path, manifest="nope = 1\n")
    write_classifier(tmp_path, version=2, manifest=None)
    (model / "1" / "model.onnx").write_bytes(b"nonsense")
    (model / "1" / "provenance.json").write_text("[")
    (model / "2" / "model.onnx").unlink()

    found = {(file, line) for file, line, _ in faults(cli, tmp_path)}
    assert found == {
        ("model.toml", 1),
        ("model.onnx", None),
        ("provenance.json", None),
        ("2", None),
    }


def test_a_versions_manifest_is_named(cli: RunCli, tmp_path: Path) -> None:
    """A fault in one version's own manifest is told with that file, once."""
    model = write_classifier(tmp_path)
    write_classifier(tmp_path, version=2, manifest=None)
    (model / "2" / "model.toml").write_text("\n[batching]\nmax_rows = -1\n")
    run = cli("check", model)

    assert run.out.count("fault ") == 1
    assert "2/model.toml:3: batching.max_rows:" in run.out


def test_unknown_transforms_and_options(cli: RunCli, tmp_path: Path) -> None:
    """Each transform's faults are told with the line of its table or option."""
    steps = '[[postprocess]]\nuse = "lable"\n[[postprocess]]\nuse = "softmax"\ntemperature = 2\n'
    start = CLASSIFIER_MANIFEST.index("[[postprocess]]")
    write_classifier(tmp_path, manifest=CLASSIFIER_MANIFEST[:start] + steps)
    before = CLASSIFIER_MANIFEST[:start].count("\n")

    assert faults(cli, tmp_path) == [
        (
            "model.toml",
            before + 2,
            f"postprocess.0.use: no transform 'lable'; here are: {', '.join(TRANSFORMS.names())}",
        ),
        (
            "model.toml",
            before + 5,
            "postprocess.1.temperature: unknown option of 'softmax'",
        ),
    ]


def test_signature_against_the_model_file(cli: RunCli, tmp_path: Path) -> None:
    """Names, dtypes and shapes that the model file contradicts are faults."""
    manifest = (
        '[signature.inputs.x]\ndtype = "FP64"\nshape = [3]\n'
        '[signature.inputs.z]\ndtype = "FP32"\n'
        '[signature.outputs.y]\ndtype = "FP32"\nshape = [-1]\n'
    )
    (write_identity(tmp_path) / "model.toml").write_text(manifest)

    assert [(line, message.partition(":")[0]) for _, line, message in faults(cli, tmp_path)] == [
        (2, "signature.inputs.x.dtype"),
        (3, "signature.inputs.x.shape"),
        (4, "signature.inputs.z"),
    ]


def test_answer_against_the_signature(cli: RunCli, tmp_path: Path) -> None:
    """What the transforms make of the model's output must be what the signature promises."""
    manifest = CLASSIFIER_MANIFEST.replace("shape = [2]\nlabels", "shape = [3]\n#").replace(
        "#", "# labels"
    )
    write_classifier(tmp_path, manifest=manifest)
    ((file, line, message),) = faults(cli, tmp_path)

    assert (file, line) == ("model.toml", 8)
    assert message == "signature.outputs.scores.shape: [3], but it is [2] (without the batch axis)"


def test_examples_are_run(cli: RunCli, tmp_path: Path) -> None:
    """Every example that the model contradicts is told with its line and both answers."""
    more = '[[examples]]\ninputs.text = ["fog"]\noutputs.label = ["good"]\n'
    write_classifier(tmp_path, manifest=CLASSIFIER_MANIFEST + more + more)
    line = CLASSIFIER_MANIFEST.count("\n") + 1
    message = "output 'label' is ['bad'], the example says ['good']"

    assert faults(cli, tmp_path) == [
        ("model.toml", line, f"examples.1: {message}"),
        ("model.toml", line + 3, f"examples.2: {message}"),
    ]


def test_a_model_that_fails_on_its_example(cli: RunCli, tmp_path: Path) -> None:
    """A model that fails when it runs is a fault of the example that it ran."""
    example = "description = 'x'\n[[examples]]\ninputs.x = [[-1, 0]]\n"
    (write_fails_on_negative(tmp_path) / "model.toml").write_text(example)
    ((file, line, message),) = faults(cli, tmp_path)

    assert (file, line) == ("model.toml", 2)
    assert "ONNX Runtime failed" in message


def test_labels_of_versions_that_are_not_there(cli: RunCli, tmp_path: Path) -> None:
    """A label or a chosen version that is not on disk is a fault: nobody would answer it."""
    manifest = (
        CLASSIFIER_MANIFEST
        + '[versions]\npolicy = "specific"\nspecific = [1, 7]\n[versions.labels]\ncanary = 9\n'
    )
    write_classifier(tmp_path, manifest=manifest)
    line = CLASSIFIER_MANIFEST.count("\n")

    assert faults(cli, tmp_path) == [
        ("model.toml", line + 3, "versions.specific: no version 7; here are: 1"),
        ("model.toml", line + 5, "versions.labels.canary: no version 9; here are: 1"),
    ]


def test_warnings_are_no_faults(cli: RunCli, tmp_path: Path) -> None:
    """Ignored folders, and a model without description or examples, leave exit code 0."""
    model = write_identity(tmp_path)
    for folder in (tmp_path / ".git", tmp_path / "empty", model / "draft", model / "0"):
        folder.mkdir()
    run = cli("check", tmp_path)

    assert run.code == 0
    for warning in (
        ".git: ignored, its name starts with a dot",
        "empty: ignored, it holds no version",
        "draft: ignored, a version is a plain positive integer",
        "/0: ignored, a version is a plain positive integer",
        "model.toml: no description",
        "model.toml: no examples",
    ):
        assert warning in run.out
    assert "1 model: 0 faults, 6 warnings" in run.out


@pytest.mark.parametrize(
    ("inside", "versions"),
    [("", [1, 2]), ("mood", [1, 2]), ("mood/2", [2]), ("mood/.", [1, 2])],
)
def test_what_a_path_may_be(cli: RunCli, tmp_path: Path, inside: str, versions: list[int]) -> None:
    """A repository, a model's folder, or one version's folder."""
    write_classifier(tmp_path)
    write_classifier(tmp_path, version=2)
    (model,) = json.loads(cli("check", f"{tmp_path}/{inside}", "--json").out)["models"]

    assert (model["name"], model["versions"]) == ("mood", versions)
    assert model["examples"] == len(versions)


def test_a_file_beside_its_version(cli: RunCli, tmp_path: Path) -> None:
    """A model file without a version's folder is told where it belongs."""
    model = write_identity(tmp_path)
    (model / "1" / "model.onnx").rename(model / "model.onnx")
    (model / "1").rmdir()

    assert faults(cli, model) == [
        ("identity", None, "holds no version; put the model file into a folder named 1")
    ]


def test_no_model_at_all(cli: RunCli, tmp_path: Path) -> None:
    """An empty repository is a fault, a folder that is not there a wrong use."""
    assert "holds no model" in cli("check", tmp_path).out
    assert cli("check", tmp_path).code == 1
    assert cli("check", tmp_path / "nope").code == 2
