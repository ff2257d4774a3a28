"""Tests of ``augury.pipeline.engine``: the whole way, with real models, threads and loop."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augury.batching.execution import Execution
from augury.cache.prediction import PredictionCache
from augury.core.clock import ManualClock
from augury.core.errors import (
    AuguryError,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    Overloaded,
    RuntimeFailed,
    TooLarge,
    VersionNotFound,
)
from augury.core.request import InferRequest, InferResponse
from augury.core.tensor import bytes_column
from augury.pipeline.computing import INLINE_PREPROCESS_BYTES
from augury.pipeline.engine import Engine
from augury.pipeline.remembered import Remembered, remembered_nbytes
from augury.pipeline.servable import ModelServable
from augury.pipeline.transforms.base import Batch
from augury.pipeline.transforms.tokenize import Tokenize
from tests import models
from tests.pipeline.serving import ONE_INSTANCE, Gate, ask, serving, turns

WORDS = ("one", "two", "three")

TOKENS = """
[signature.inputs.text]
dtype = "BYTES"
[[preprocess]]
use = "tokenize"
"""


def write_tokens(path: Path, toml: str = "") -> None:
    folder = models.write_token_sum(path)
    models.write_tokenizer(folder / "1")
    (folder / "model.toml").write_text(TOKENS + toml)


def texts(*values: bytes, **options: Any) -> InferRequest:
    return InferRequest("tokens", {"text": bytes_column(values)}, **options)


def failing_run(*arguments: object) -> Any:
    raise RuntimeFailed("no")


def kinds(response: InferResponse) -> dict[int, type[AuguryError]]:
    return {row: type(error) for row, error in response.errors.items()}


def write(folder: Path, toml: str) -> None:
    (folder / "model.toml").write_text(toml)


@pytest.mark.parametrize("use_cache", [True, False])
async def test_rows_are_answered(tmp_path: Path, use_cache: bool) -> None:
    """With and without the cache alike; the times are told."""
    models.write_two_inputs(tmp_path)
    x = np.arange(6, dtype="f4").reshape(3, 2)
    async with serving(tmp_path) as served:
        request = InferRequest("adder", {"a": x, "b": 10 * x}, use_cache=use_cache)
        response = await served.engine.infer(request)
    assert (response.model, response.version, response.rows) == ("adder", 1, 3)
    assert response.outputs["sum"].tolist() == (11 * x).tolist()
    assert response.errors == {}
    assert response.cached == frozenset()
    timing = response.timing
    assert timing.total_s >= timing.runtime_s > 0


@pytest.mark.parametrize("use_cache", [True, False])
async def test_rows_fail_alone(tmp_path: Path, use_cache: bool) -> None:
    """One that the model cannot take, and one that is no text."""
    models.write_fails_on_negative(tmp_path)
    write_tokens(tmp_path)
    async with serving(tmp_path) as served:
        rows = [[1.0, 1.0], [-1.0, 1.0], [2.0, 2.0], [0.0, -3.0]]
        response = await served.engine.infer(ask("picky", *rows, use_cache=use_cache))
        assert kinds(response) == {1: RuntimeFailed, 3: RuntimeFailed}
        assert response.outputs["y"][[0, 2]].tolist() == [[1, 1], [1, 1]]

        request = texts(b"one", b"\xff", b"two three", use_cache=use_cache)
        response = await served.engine.infer(request)
        assert kinds(response) == {1: InvalidInput}
        assert response.outputs["total"][[0, 2], 0].tolist() == [9, 16]


@pytest.mark.parametrize("use_cache", [True, False])
async def test_all_rows_refused(tmp_path: Path, use_cache: bool) -> None:
    """Errors alone; the model is not asked."""
    write_tokens(tmp_path)
    async with serving(tmp_path) as served:
        request = texts(b"\xff", b"\xfe", b"\xff", use_cache=use_cache)
        response = await served.engine.infer(request)
        assert kinds(response) == dict.fromkeys(range(3), InvalidInput)
        assert response.outputs == {}


async def test_remembered_shared_and_new_rows_come_back_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some known, some just being computed for another, some twice, some new."""
    write(models.write_identity(tmp_path), ONE_INSTANCE)
    async with serving(tmp_path) as served:
        await served.engine.infer(ask("identity", [1, 1], [2, 2]))
        gate = Gate(monkeypatch)
        other = asyncio.create_task(served.engine.infer(ask("identity", [3, 3])))
        await gate.running()
        mixed = ask("identity", [4, 4], [2, 2], [3, 3], [4, 4], [5, 5], [1, 1])
        asking = asyncio.create_task(served.engine.infer(mixed))
        await turns()
        gate.open.set()
        response = await asking
        assert response.outputs["y"][:, 0].tolist() == [4, 2, 3, 4, 5, 1]
        assert response.cached == {1, 5}
        assert (await other).outputs["y"].tolist() == [[3, 3]]
        assert sum(gate.rows) == 3
        assert served.looked_up("identity") == {"hit": 2, "shared": 2, "miss": 5}


async def test_a_hit_needs_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither preprocessing nor a run, and it says so."""
    write_tokens(tmp_path)
    async with serving(tmp_path) as served:
        first = await served.engine.infer(texts(b"one"))
        monkeypatch.setattr(ModelServable, "preprocess", None)
        monkeypatch.setattr(ModelServable, "run_batch", None)
        again = await served.engine.infer(texts(b"one"))
    assert again.cached == {0}
    assert again.outputs["total"].tolist() == first.outputs["total"].tolist()
    assert again.timing.runtime_s == 0


async def test_use_cache_false_neither_asks_nor_tells(tmp_path: Path) -> None:
    """A caller that wants it computed gets that."""
    models.write_identity(tmp_path)
    async with serving(tmp_path) as served:
        for use_cache in (False, True, False):
            response = await served.engine.infer(ask("identity", [1, 1], use_cache=use_cache))
            assert response.cached == frozenset()
        assert served.looked_up("identity") == {"hit": 0, "shared": 0, "miss": 1}


async def test_the_manifest_can_turn_the_cache_off(tmp_path: Path) -> None:
    """For models whose answers change."""
    write(models.write_identity(tmp_path), "[cache]\nenabled = false\n")
    async with serving(tmp_path) as served:
        for _ in range(2):
            response = await served.engine.infer(ask("identity", [1, 1]))
            assert response.cached == frozenset()
        assert len(served.cache) == 0


async def test_errors_are_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals before the model, its failures, and refusals after it are found out each time."""
    models.write_fails_on_negative(tmp_path)
    write_tokens(tmp_path)
    folder = models.write_identity(tmp_path)
    write(
        folder,
        '[signature.outputs.label]\ndtype = "BYTES"\n'
        '[[postprocess]]\nuse = "label"\ninput = "y"\nlabels = ["a", "b"]\n',
    )
    async with serving(tmp_path) as served:
        for _ in range(2):
            for request, kind in (
                (texts(b"\xff"), InvalidInput),
                (ask("picky", [-1, -1]), RuntimeFailed),
                (ask("identity", [float("nan"), 1]), RuntimeFailed),
            ):
                assert kinds(await served.engine.infer(request)) == {0: kind}
        assert len(served.cache) == 0


@pytest.mark.parametrize("use_cache", [True, False])
async def test_a_response_cannot_be_used_to_change_others(tmp_path: Path, use_cache: bool) -> None:
    """Neither the cache's rows nor those of callers that share a batch."""
    models.write_identity(tmp_path)
    async with serving(tmp_path) as served:
        for _ in range(3):
            response = await served.engine.infer(ask("identity", [1, 2], use_cache=use_cache))
            assert response.outputs["y"].tolist() == [[1, 2]]
            with pytest.raises(ValueError, match="read-only"):
                response.outputs["y"][0] = 7
            response.outputs.clear()


async def test_the_request_s_arrays_are_its_own(tmp_path: Path) -> None:
    """Used again after the answer, they change nothing that is remembered."""
    models.write_identity(tmp_path)
    x = np.array([[1, 2]], "f4")
    async with serving(tmp_path) as served:
        request = InferRequest("identity", {"x": x})
        await served.engine.infer(request)
        x.fill(7)
        assert (await served.engine.infer(ask("identity", [1, 2]))).outputs["y"].tolist() == [
            [1, 2]
        ]


async def test_what_is_remembered_is_not_a_whole_batch(tmp_path: Path) -> None:
    """A row that is kept keeps no other alive."""
    models.write_identity(tmp_path)
    async with serving(tmp_path) as served:
        await served.engine.infer(ask("identity", *[[float(n), 0.0] for n in range(50)]))
        shelf = served.shelf("identity")
        assert len(shelf) == 50
        for entry in shelf._entries.values():
            assert entry.value.outputs["y"].base is None


def test_remembered_rows_are_counted_as_large_as_they_are() -> None:
    """Within a sixth, whatever the number of outputs; else the bound would be none."""
    for outputs in (1, 2, 8):
        cache = PredictionCache(1 << 30, ManualClock(), remembered_nbytes)
        shelf = cache.open()
        names = [f"output-{n}" for n in range(outputs)]
        tracemalloc.start()
        for number in range(2000):
            arrays = {name: np.full((1, 3), number, "f4") for name in names}
            shelf.put(number.to_bytes(16, "little"), Remembered(arrays, {}, 0.0, 0.0), 60 + number)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert cache.bytes_held == pytest.approx(taken, rel=1 / 6)


async def test_parameters_are_part_of_the_question(tmp_path: Path) -> None:
    """The same row asked otherwise is another."""
    models.write_identity(tmp_path)
    async with serving(tmp_path) as served:
        for parameters, cached in (({}, 0), ({"a": 1}, 0), ({"a": 2}, 0), ({"a": 1}, 1), ({}, 1)):
            response = await served.engine.infer(ask("identity", [1, 1], parameters=parameters))
            assert len(response.cached) == cached
        with pytest.raises(InvalidInput, match="parameters cannot be written as JSON"):
            await served.engine.infer(ask("identity", [1, 1], parameters={"a": b"bytes"}))


async def test_parameters_reach_the_transforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before the model; after it, requests are mixed."""
    write_tokens(tmp_path)
    seen: list[dict[str, Any]] = []
    call = Tokenize.__call__

    def noting(self: Tokenize, batch: Batch) -> None:
        seen.append(dict(batch.parameters))
        call(self, batch)

    async with serving(tmp_path) as served:
        monkeypatch.setattr(Tokenize, "__call__", noting)
        await served.engine.infer(texts(b"one", parameters={"a": 1}))
    assert seen == [{"a": 1}]


async def test_versions_and_labels(tmp_path: Path) -> None:
    """Each answers for itself, and remembers for itself."""
    models.write_identity(tmp_path, "m")
    folder = models.write_fails_on_negative(tmp_path, "m", 2)
    write(folder, '[versions]\npolicy = "all"\n[versions.labels]\nstable = 1\n')
    async with serving(tmp_path) as served:
        for options, version, value in (
            ({}, 2, 1),
            ({"version": 1}, 1, 5),
            ({"label": "stable"}, 1, 5),
            ({"version": 2}, 2, 1),
        ):
            response = await served.engine.infer(ask("m", [5, 5], **options))
            assert (response.version, response.outputs["y"][0, 0]) == (version, value)
        assert served.engine.version("m") == 2
        assert served.engine.signature("m", label="stable").outputs[0].name == "y"
        with served.engine.lease("m", 1) as servable:
            assert servable.package.version == 1
        for request, error in (
            (ask("n", [1, 1]), ModelNotFound),
            (ask("m", [1, 1], version=3), VersionNotFound),
            (ask("m", [1, 1], label="x"), VersionNotFound),
        ):
            with pytest.raises(error):
                await served.engine.infer(request)


async def test_a_model_that_is_not_ready(tmp_path: Path) -> None:
    """Its reason is told."""
    folder = models.write_identity(tmp_path)
    async with serving(tmp_path) as served:
        (folder / "2").mkdir()
        (folder / "2" / "model.onnx").write_bytes(b"junk")
        await served.manager.refresh()
        await served.manager.settle()
        assert (await served.engine.infer(ask("identity", [1, 1]))).version == 1
        with pytest.raises(ModelNotReady, match="cannot load it"):
            await served.engine.infer(ask("identity", [1, 1], version=2))


async def test_output_selection(tmp_path: Path) -> None:
    """Only those named, and none that is not there; what is remembered is whole."""
    write_tokens(tmp_path)
    async with serving(tmp_path) as served:
        for use_cache in (True, True, False):
            request = texts(b"one", outputs=("total",), use_cache=use_cache)
            assert list((await served.engine.infer(request)).outputs) == ["total"]
        assert list((await served.engine.infer(texts(b"one"))).outputs) == ["total", "seen"]
        with pytest.raises(
            InvalidInput, match="unknown output 'z'; the model's outputs are: total"
        ):
            await served.engine.infer(texts(b"one", outputs=("z",)))


async def test_what_does_not_fit_the_signature_is_refused_whole(tmp_path: Path) -> None:
    """Before anything is computed."""
    models.write_identity(tmp_path)
    async with serving(tmp_path, max_rows=3) as served:
        with pytest.raises(InvalidInput):
            await served.engine.infer(ask("identity", [1, 2, 3]))
        with pytest.raises(TooLarge, match=r"4 rows in one request, the limit is 3 \(max_request"):
            await served.engine.infer(ask("identity", *[[1.0, 1.0]] * 4))


@pytest.mark.parametrize("rows", [1, 3, 4, 7, 20])
@pytest.mark.parametrize("use_cache", [True, False])
async def test_fixed_batches(tmp_path: Path, rows: int, use_cache: bool) -> None:
    """Any number of rows, though the file takes four and no other."""
    models.write_fixed(tmp_path)
    x = [[float(n), -float(n)] for n in range(rows)]
    async with serving(tmp_path) as served:
        response = await served.engine.infer(ask("fixed", *x, use_cache=use_cache))
    assert response.outputs["y"].tolist() == x


async def test_large_requests_are_cut_into_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of at most ``max_rows``; the answer is one."""
    folder = models.write_identity(tmp_path)
    write(folder, "[batching]\nmax_rows = 8\n")
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        gate.open.set()
        rows = [[float(n), 0.0] for n in range(30)]
        response = await served.engine.infer(ask("identity", *rows, use_cache=False))
        assert response.outputs["y"].tolist() == rows
        assert sorted(gate.rows) == [6, 8, 8, 8]


@pytest.mark.parametrize("use_cache", [True, False])
async def test_rows_are_padded_in_their_own_batch(tmp_path: Path, use_cache: bool) -> None:
    """An output as long as its batch is filled up to the longest in the answer, never repeated."""
    write_tokens(tmp_path, "[batching]\nmax_rows = 1\n")
    async with serving(tmp_path) as served:
        request = texts(b"one two three", b"", b"two", use_cache=use_cache)
        response = await served.engine.infer(request)
    assert response.outputs["seen"].tolist() == [[2, 4, 5, 6, 3], [2, 3, 0, 0, 0], [2, 5, 3, 0, 0]]


@pytest.mark.parametrize("write_it", [models.write_doubling, models.write_collapsing])
async def test_a_wrong_number_of_rows_reaches_nobody(
    tmp_path: Path, write_it: Callable[[Path], Path]
) -> None:
    """A model that doubles rows fails; one that adds them up is asked row by row."""
    name = write_it(tmp_path).name
    async with serving(tmp_path) as served:
        rows = [[1.0, 2.0], [3.0, 4.0]]
        response = await served.engine.infer(ask(name, *rows, use_cache=False))
    if name == "doubling":
        assert kinds(response) == {0: RuntimeFailed, 1: RuntimeFailed}
    else:
        assert response.outputs["y"].tolist() == rows


@pytest.mark.parametrize("use_cache", [True, False])
async def test_a_full_queue_is_told_by_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_cache: bool
) -> None:
    """With a hint when to come back; what is remembered is answered all the same."""
    folder = models.write_identity(tmp_path)
    write(folder, ONE_INSTANCE + "[batching]\nmax_queue_rows = 1\n")
    async with serving(tmp_path) as served:
        await served.engine.infer(ask("identity", [9, 9]))
        gate = Gate(monkeypatch)
        others = []
        for number in range(2):
            others.append(asyncio.create_task(served.engine.infer(ask("identity", [number, 0]))))
            await turns()
            if number == 0:
                await gate.running()
        response = await served.engine.infer(ask("identity", [5, 5], use_cache=use_cache))
        assert kinds(response) == {0: Overloaded}
        assert (response.errors[0].retry_after_s or 0) >= 1
        mixed = await served.engine.infer(ask("identity", [6, 6], [9, 9]))
        assert kinds(mixed) == {0: Overloaded}
        assert mixed.outputs["y"][1].tolist() == [9, 9]
        gate.open.set()
        assert [(await other).outputs["y"][0, 0] for other in others] == [0, 1]
        response = await served.engine.infer(ask("identity", [5, 5], use_cache=use_cache))
        assert response.errors == {}


def now_s() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("use_cache", [True, False])
async def test_the_deadline_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_cache: bool
) -> None:
    """While the model computes, or while the row waits; the row is not computed for nobody."""
    write(models.write_identity(tmp_path), ONE_INSTANCE)
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        first = asyncio.create_task(served.engine.infer(ask("identity", [1, 1])))
        await gate.running()
        for value in (1, 2):
            request = ask("identity", [value, 1], use_cache=use_cache, deadline_s=now_s() + 0.02)
            with pytest.raises(DeadlineExceeded, match="no answer within the 0"):
                await served.engine.infer(request)
        gate.open.set()
        assert (await first).outputs["y"].tolist() == [[1, 1]]
        assert gate.rows == [1]
        request = ask("identity", [3, 3], use_cache=use_cache, deadline_s=now_s() + 60)
        assert (await served.engine.infer(request)).errors == {}


async def test_a_deadline_that_has_passed_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is not asked."""
    models.write_identity(tmp_path)
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        gate.open.set()
        with pytest.raises(DeadlineExceeded, match="had passed"):
            await served.engine.infer(ask("identity", [1, 1], deadline_s=now_s() - 1))
        assert gate.rows == []


@pytest.mark.parametrize("use_cache", [True, False])
async def test_a_cancelled_request_is_not_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_cache: bool
) -> None:
    """Its rows leave the queue, and its lease comes back."""
    write(models.write_identity(tmp_path), ONE_INSTANCE)
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        busy = asyncio.create_task(served.engine.infer(ask("identity", [0, 0])))
        await gate.running()
        requests = [
            asyncio.create_task(served.engine.infer(ask("identity", [n, n], use_cache=use_cache)))
            for n in range(1, 5)
        ]
        await turns()
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        assert [harness.leases for harness in served.manager.versions()] == [1]
        gate.open.set()
        await busy
        assert gate.rows == [1]
        assert all(harness.idle for harness in served.manager.versions())
        assert not served.under_way


async def test_a_failure_in_the_moment_of_cancelling_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row has failed, its client has gone: asyncio does not complain of an error unseen."""
    write(models.write_fails_on_negative(tmp_path), "[batching]\ninline = false\n")

    async def settled_too_late(futures: list[asyncio.Future[Any]]) -> None:
        await asyncio.wait(futures)
        raise asyncio.CancelledError

    async with serving(tmp_path) as served:
        with monkeypatch.context() as patch:
            patch.setattr("augury.pipeline.recall.settled", settled_too_late)
            patch.setattr("augury.pipeline.computing.settled", settled_too_late)
            patch.setattr(Execution, "_run_checked", failing_run)
            for use_cache in (True, False):
                request = ask("picky", [-1, 1], use_cache=use_cache)
                with pytest.raises(asyncio.CancelledError):
                    await served.engine.infer(request)


async def test_the_leader_goes_and_its_followers_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it was the one who queued the row."""
    write(models.write_identity(tmp_path), ONE_INSTANCE)
    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        busy = asyncio.create_task(served.engine.infer(ask("identity", [0, 0])))
        await gate.running()
        leader, *followers = (
            asyncio.create_task(served.engine.infer(ask("identity", [7, 7]))) for _ in range(4)
        )
        await turns()
        leader.cancel()
        await turns()
        gate.open.set()
        for follower in followers:
            assert (await follower).outputs["y"].tolist() == [[7, 7]]
        with pytest.raises(asyncio.CancelledError):
            await leader
        await busy
        assert gate.rows == [1, 1]


LONG = b"one " * (INLINE_PREPROCESS_BYTES // 4)


@pytest.mark.parametrize("use_cache", [True, False])
async def test_large_input_is_preprocessed_off_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_cache: bool
) -> None:
    """Small input is not, since a thread would cost more."""
    import threading

    write_tokens(tmp_path)
    threads: list[threading.Thread] = []
    preprocess = ModelServable.preprocess

    def noting(self: ModelServable, *arguments: Any) -> Batch:
        threads.append(threading.current_thread())
        return preprocess(self, *arguments)

    async with serving(tmp_path) as served:
        monkeypatch.setattr(ModelServable, "preprocess", noting)
        small = await served.engine.infer(texts(b"one", use_cache=use_cache))
        large = await served.engine.infer(texts(LONG, b"one", use_cache=use_cache))
    assert [thread is threading.main_thread() for thread in threads] == [True, False]
    assert large.outputs["total"][0, 0] == 2 + 3 + 4 * 126
    assert large.outputs["total"][1, 0] == small.outputs["total"][0, 0]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("text", [b"one", LONG])
async def test_a_step_that_fails_is_told_without_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, use_cache: bool
) -> None:
    """They may quote the input; nobody waits for ever."""
    write_tokens(tmp_path)

    def failing(self: ModelServable, *arguments: Any) -> Batch:
        raise ValueError("secret")

    async with serving(tmp_path) as served:
        monkeypatch.setattr(ModelServable, "preprocess", failing)
        response = await served.engine.infer(texts(text, text + b"!", use_cache=use_cache))
    assert kinds(response) == {0: RuntimeFailed, 1: RuntimeFailed}
    assert "secret" not in response.errors[0].message


async def test_whatever_a_step_raises_in_its_thread_nobody_waits_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library's panic is no Exception."""
    write_tokens(tmp_path)

    class Panic(BaseException):
        pass

    def failing(self: ModelServable, *arguments: Any) -> Batch:
        raise Panic

    async with serving(tmp_path) as served:
        monkeypatch.setattr(ModelServable, "preprocess", failing)
        asking = [asyncio.create_task(served.engine.infer(texts(LONG))) for _ in range(2)]
        for response in await asyncio.wait_for(asyncio.gather(*asking), 60):
            assert kinds(response) == {0: RuntimeFailed}


@pytest.mark.parametrize("leaving", ["leader", "all"])
async def test_the_leader_goes_while_its_input_is_preprocessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaving: str
) -> None:
    """Those who share the row are answered; when all have gone, it is not computed."""
    import threading

    write_tokens(tmp_path)
    entered, leave = threading.Event(), threading.Event()
    preprocess = ModelServable.preprocess

    def slow(self: ModelServable, *arguments: Any) -> Batch:
        entered.set()
        assert leave.wait(60)
        return preprocess(self, *arguments)

    async with serving(tmp_path) as served:
        gate = Gate(monkeypatch)
        gate.open.set()
        monkeypatch.setattr(ModelServable, "preprocess", slow)
        asking = [asyncio.create_task(served.engine.infer(texts(LONG)))]
        assert await asyncio.to_thread(entered.wait, 60)
        asking.append(asyncio.create_task(served.engine.infer(texts(LONG))))
        while served.looked_up("tokens")["shared"] < 1:  # noqa: ASYNC110 - its keys are made in a thread
            await asyncio.sleep(0.001)
        for request in asking[: 1 if leaving == "leader" else 2]:
            request.cancel()
        await turns()
        leave.set()
        if leaving == "leader":
            assert (await asking[1]).outputs["total"][0, 0] == 2 + 3 + 4 * 126
        await asyncio.gather(*asking, return_exceptions=True)
        while served.engine._computing._tasks:
            await asyncio.wait(served.engine._computing._tasks)
        assert gate.rows == ([1] if leaving == "leader" else [])


async def test_a_hot_swap_under_traffic(tmp_path: Path) -> None:
    """No request fails, and none is answered with what another version remembered."""
    folder = models.write_identity(tmp_path, "m")
    async with serving(tmp_path) as served:
        stop = False
        versions: set[int] = set()

        async def traffic(number: int) -> None:
            count = 0
            while not stop:
                count += 1
                value = float(number * 1_000_000 + count % 50)
                response = await served.engine.infer(ask("m", [value, value]))
                assert response.errors == {}
                versions.add(response.version)
                await asyncio.sleep(0)  # a hit alone never lets the others go on
                odd = response.version % 2 == 1
                assert response.outputs["y"][0, 0] == (value if odd else 1)

        clients = [asyncio.create_task(traffic(number)) for number in range(1, 9)]
        for version in range(2, 8):
            (models.write_identity if version % 2 else models.write_fails_on_negative)(
                tmp_path, ".new", version
            )
            (tmp_path / ".new" / str(version)).rename(folder / str(version))
            await served.manager.refresh()
            await served.manager.settle()
            await turns(20)
            assert served.manager.default_version("m") == version
        stop = True
        await asyncio.wait_for(asyncio.gather(*clients), 60)
        await served.manager.settle()
        assert versions >= {2, 7}
        assert [harness.version for harness in served.manager.versions()] == [7]


async def test_every_answer_belongs_to_its_request(tmp_path: Path) -> None:
    """20,000 requests at once, unique and repeated, with guilty rows and vanishing clients."""
    toml = "[batching]\nmax_queue_rows = 1000000\n"
    for write_it in (
        models.write_identity, models.write_two_inputs, models.write_fails_on_negative
    ):  # fmt: skip
        write(write_it(tmp_path), toml)
    write_tokens(tmp_path, toml)
    chance = random.Random(11)
    answered = 0

    def question(number: int) -> tuple[InferRequest, dict[int, list[float]]]:
        """A request, and the rows that have an answer."""
        value = number if chance.random() < 0.8 else number % 100
        rows = range(chance.choice([1, 1, 1, 3]))
        good = [row for row in rows if chance.random() > 0.02]
        model = chance.choice(["identity", "adder", "picky", "tokens"])
        options: dict[str, Any] = {"use_cache": chance.random() < 0.7}
        if model == "tokens":
            spelt = [4 + value // 3**place % 3 for place in range(10)]
            said = [" ".join(WORDS[token - 4] for token in spelt) + " two" * row for row in rows]
            sent = [said[row].encode() if row in good else b"\xff" for row in rows]
            return texts(*sent, **options), {row: [2, *spelt, *[5] * row, 3] for row in good}
        x = np.array([[value, row] for row in rows], "f4")
        if model == "picky":
            bad = [row for row in rows if row not in good]
            x[bad, 0] = -1 - value
            return InferRequest(model, {"x": x}, **options), {row: [1, 1] for row in good}
        inputs = {"x": x} if model == "identity" else {"a": x, "b": x}
        factor = 1 if model == "identity" else 2
        answers: dict[int, list[float]] = {row: [factor * value, factor * row] for row in rows}
        return InferRequest(model, inputs, **options), answers

    async def one(engine: Engine, number: int) -> None:
        nonlocal answered
        request, answers = question(number)
        task = asyncio.ensure_future(engine.infer(request))
        if chance.random() < 0.1:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return
        response = await task
        answered += 1
        assert set(response.errors) == set(range(response.rows)) - set(answers)
        name = {"identity": "y", "picky": "y", "adder": "sum", "tokens": "seen"}[request.model]
        for row, want in answers.items():
            got = response.outputs[name][row].tolist()
            assert got == want + [0] * (len(got) - len(want))

    async with serving(tmp_path) as served:
        async with asyncio.TaskGroup() as group:
            for number in range(20_000):
                group.create_task(one(served.engine, number))
        assert all(harness.idle for harness in served.manager.versions())
        assert not served.under_way
    assert answered > 17_000
