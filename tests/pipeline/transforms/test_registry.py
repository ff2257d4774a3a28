"""Tests of ``augury.pipeline.transforms.registry`` and ``base``."""

from __future__ import annotations

from pathlib import Path

import pytest

from augury.core.errors import InvalidPackage, Refused
from augury.core.signature import Signature
from augury.packages.manifest import TransformTable
from augury.pipeline.transforms.base import Batch, TransformContext
from augury.pipeline.transforms.base import Options as BaseOptions
from augury.pipeline.transforms.registry import TRANSFORMS, build_transforms

CONTEXT = TransformContext(Path("m/1"), Signature((), ()))


def table(use: str, **options: object) -> TransformTable:
    return TransformTable.model_validate({"use": use, **options})


@pytest.mark.parametrize("name", TRANSFORMS.names())
def test_every_transform_can_be_had(name: str) -> None:
    """Its options are declared, and misspelt ones are refused."""
    options = TRANSFORMS.get(name).Options
    assert issubclass(options, BaseOptions)
    assert options.model_config["extra"] == "forbid"


def test_steps_come_in_order() -> None:
    """As the manifest lists them."""
    steps = build_transforms([table("softmax"), table("label", labels=["a"])], CONTEXT, "post")
    assert [type(step).__name__ for step in steps] == ["Softmax", "Label"]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (table("softmx"), r"\[\[postprocess\]\] 1: no transform 'softmx'; here are: .*softmax"),
        (table("softmax", inptu="x"), r"\[\[postprocess\]\] 1 \(softmax\): inptu: Extra inputs"),
        (table("label"), r"\[\[postprocess\]\] 1 \(label\): labels: Field required"),
    ],
)
def test_a_faulty_step_is_told_with_its_place(step: TransformTable, words: str) -> None:
    """Counted from 0, as in the manifest's faults."""
    with pytest.raises(InvalidPackage, match=words):
        build_transforms([table("softmax"), step], CONTEXT, "postprocess")


def test_the_first_refusal_stands() -> None:
    """A row is refused once."""
    batch = Batch({}, 3)
    first = Refused("first")
    batch.refuse(1, first)
    batch.refuse(1, Refused("second"))
    assert batch.errors == {1: first}
    assert list(batch.live_rows()) == [0, 2]
