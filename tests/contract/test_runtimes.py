"""What every runtime owes, whatever its format: one suite over all in the registry.

A runtime joins by a :class:`Maker` that writes the same small models in its format.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from augury.core.errors import InvalidInput, InvalidPackage, RuntimeFailed
from augury.core.signature import TensorSpec
from augury.core.tensor import bytes_column
from augury.runtimes.base import Runtime, RuntimeOptions
from augury.runtimes.registry import RUNTIMES
from tests import models


@dataclass(frozen=True)
class Maker:
    """How a format's models are made; each writes ``<repository>/<name>/1/<file>``.

    Args:
        file: Name of the model file.
        pair: ``x`` FP32 ``[2]`` comes back as ``y``.
        open_size: The same, with ``x`` of any size.
        two_inputs: ``a`` and ``b`` FP32 ``[2]`` to their ``sum``.
        echo: ``text`` BYTES comes back as ``said``.
        fixed: ``x`` FP32 ``[2]``, four rows and no other number, comes back as ``y``.
        picky: As ``pair``, but answers ones, and fails on negative numbers.
        slow: As ``pair``, takes at least some milliseconds.
        text_is_utf8: Whether BYTES must be text.
    """

    file: str
    pair: Callable[[Path], Path]
    open_size: Callable[[Path], Path]
    two_inputs: Callable[[Path], Path]
    echo: Callable[[Path], Path]
    fixed: Callable[[Path], Path]
    picky: Callable[[Path], Path]
    slow: Callable[[Path], Path]
    text_is_utf8: bool


MAKERS: Final = {
    "onnx": Maker(
        file="model.onnx",
        pair=models.write_identity,
        open_size=lambda path: models.write_identity(path, size=None),
        two_inputs=models.write_two_inputs,
        echo=models.write_echo,
        fixed=models.write_fixed,
        picky=models.write_fails_on_negative,
        slow=lambda path: models.write_slow(path, products=2),
        text_is_utf8=True,
    ),
}


@pytest.fixture(params=RUNTIMES.names())
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def maker(runtime: str) -> Maker:
    return MAKERS[runtime]


@pytest.fixture
def load(runtime: str, maker: Maker, tmp_path: Path) -> Callable[[Callable[[Path], Path]], Runtime]:
    """Writes a model and loads it."""

    def load_it(write: Callable[[Path], Path]) -> Runtime:
        return RUNTIMES.get(runtime)(write(tmp_path) / "1" / maker.file, RuntimeOptions(1, 2))

    return load_it


Load = Callable[[Callable[[Path], Path]], Runtime]


def test_every_runtime_is_tested() -> None:
    """A runtime that joins the registry joins this suite."""
    assert set(RUNTIMES.names()) == set(MAKERS)


def test_the_signature_is_read_from_the_file(load: Load, maker: Maker) -> None:
    """Names, datatypes, and shapes without the batch axis, in the file's order."""
    signature = load(maker.two_inputs).signature
    assert signature.inputs == (TensorSpec("a", "FP32", (2,)), TensorSpec("b", "FP32", (2,)))
    assert signature.outputs == (TensorSpec("sum", "FP32", (2,)),)
    assert load(maker.echo).signature.inputs == (TensorSpec("text", "BYTES"),)
    assert load(maker.open_size).signature.inputs == (TensorSpec("x", "FP32", (-1,)),)


def test_a_file_may_insist_on_a_batch_size(load: Load, maker: Maker) -> None:
    """It is told apart from the shape; most files take any."""
    fixed = load(maker.fixed)
    assert fixed.fixed_rows == 4
    assert fixed.signature.inputs == (TensorSpec("x", "FP32", (2,)),)
    assert load(maker.pair).fixed_rows is None


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_rows_in_rows_out(load: Load, maker: Maker, rows: int) -> None:
    """Outputs have as many rows as the inputs, in their order."""
    x = np.arange(rows * 2, dtype="f4").reshape(rows, 2)
    outputs = load(maker.two_inputs).run({"a": x, "b": 10 * x})
    assert list(outputs) == ["sum"]
    assert outputs["sum"].dtype == np.float32
    np.testing.assert_array_equal(outputs["sum"], 11 * x)


@pytest.mark.parametrize("size", [1, 7])
def test_open_sizes_are_taken_as_they_come(load: Load, maker: Maker, size: int) -> None:
    """What the signature calls -1 is any size."""
    x = np.ones((2, size), "f4")
    assert load(maker.open_size).run({"x": x})["y"].shape == (2, size)


def test_views_are_taken(load: Load, maker: Maker) -> None:
    """Rows that do not lie together in memory, or may not be written, are the same rows."""
    x = np.arange(12, dtype="f4").reshape(3, 4)[:, ::2]
    x.setflags(write=False)
    np.testing.assert_array_equal(load(maker.pair).run({"x": x})["y"], x)


def test_outputs_are_not_the_inputs(load: Load, maker: Maker) -> None:
    """An answer stays when the memory of its question is used again."""
    x = np.ones((2, 2), "f4")
    y = load(maker.pair).run({"x": x})["y"]
    x.fill(7)
    assert y.tolist() == [[1, 1], [1, 1]]


def test_numbers_that_are_none_pass(load: Load, maker: Maker) -> None:
    """NaN and infinity are values."""
    x = np.array([[np.nan, np.inf], [-np.inf, -0.0]], "f4")
    np.testing.assert_array_equal(load(maker.pair).run({"x": x})["y"], x)


TEXTS: Final = [b"a\0b", b"\0", b"", b"a\0", "é😊".encode(), b"x" * 100_000, b" ", b"b'x'"]


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1], TEXTS[2:3]])
def test_strings_are_exact(load: Load, maker: Maker, texts: list[bytes]) -> None:
    """Every byte comes back, NULs at the end included, as ``bytes``."""
    said = load(maker.echo).run({"text": bytes_column(texts)})["said"]
    assert said.dtype == object
    assert said.tolist() == texts


def test_bytes_that_are_no_text(load: Load, maker: Maker) -> None:
    """A format whose strings are text refuses other bytes, and never changes them."""
    column = bytes_column([b"fine", b"\xff\xfe"])
    if maker.text_is_utf8:
        with pytest.raises(InvalidInput, match="'text' is not UTF-8"):
            load(maker.echo).run({"text": column})
    else:
        assert load(maker.echo).run({"text": column})["said"].tolist() == column.tolist()


def test_a_failing_model_is_told_so(load: Load, maker: Maker) -> None:
    """Its error becomes ours, in one line, and the next run is not harmed."""
    runtime = load(maker.picky)
    with pytest.raises(RuntimeFailed) as raised:
        runtime.run({"x": np.array([[1, -1]], "f4")})
    assert "\n" not in raised.value.message
    assert runtime.run({"x": np.ones((1, 2), "f4")})["y"].tolist() == [[1, 1]]


def test_a_wrong_batch_size_fails(load: Load, maker: Maker) -> None:
    """A file that insists on four rows does not take three."""
    with pytest.raises(RuntimeFailed):
        load(maker.fixed).run({"x": np.ones((3, 2), "f4")})


@pytest.mark.parametrize("kind", ["empty", "junk", "short", "missing", "folder"])
def test_a_broken_file_is_told_with_its_path(
    runtime: str, maker: Maker, tmp_path: Path, kind: str
) -> None:
    """The operator reads which file it is."""
    whole = maker.pair(tmp_path) / "1" / maker.file
    file = tmp_path / maker.file
    if kind == "folder":
        file.mkdir()
    elif kind != "missing":
        content = whole.read_bytes()
        file.write_bytes({"empty": b"", "junk": b"\x00junk" * 99, "short": content[:-9]}[kind])
    with pytest.raises(InvalidPackage) as raised:
        RUNTIMES.get(runtime)(file, RuntimeOptions(1, 1))
    assert raised.value.details["path"] == str(file)
    assert "\n" not in raised.value.message


def test_threads_do_not_mix_their_answers(load: Load, maker: Maker) -> None:
    """Eight threads at once each get their own."""
    runtime = load(maker.two_inputs)

    def ask(number: int) -> None:
        for turn in range(100):
            a = np.full((1 + turn % 5, 2), number, "f4")
            answer = runtime.run({"a": a, "b": np.full_like(a, turn)})["sum"]
            assert answer.shape == a.shape
            assert (answer == number + turn).all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))


def test_runs_overlap(load: Load, maker: Maker) -> None:
    """A run does not hold the interpreter: others go on meanwhile."""
    runtime = load(maker.slow)
    x = np.ones((1, 2), "f4")
    counted = 0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: [runtime.run({"x": x}) for _ in range(10)])
        while not running.done():
            counted += 1
        running.result()
    assert counted > 100


def test_close_gives_the_memory_back(load: Load, maker: Maker) -> None:
    """Loaded and closed thirty times, a model leaves nothing behind worth speaking of."""
    x = np.ones((1, 2), "f4")

    def once() -> None:
        runtime = load(maker.slow)
        runtime.run({"x": x})
        runtime.close()

    for _ in range(3):
        once()
    before = resident_bytes()
    for _ in range(30):
        once()
    assert resident_bytes() - before < 30 * 2**20


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
