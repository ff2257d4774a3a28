"""Features joined to requests: what the model sees, what the cache keys, and what fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augury.cache.prediction import PredictionCache
from augury.core.clock import Clock, ManualClock, SystemClock
from augury.core.errors import (
    DeadlineExceeded,
    InvalidPackage,
    Refused,
    StoreCorrupt,
    Unavailable,
    UnknownInput,
    UpstreamFailed,
)
from augury.core.request import InferRequest, InferResponse
from augury.core.tensor import bytes_column
from augury.features.catalogue import Catalogue
from augury.features.online import OnlineStore
from augury.features.tables import parse_definition
from augury.features.writing import Writer
from augury.lifecycle.manager import Manager
from augury.lifecycle.sources.directory import DirectorySource
from augury.observe.metrics import Metrics
from augury.pipeline.engine import Engine
from augury.pipeline.joining import Joiner
from augury.pipeline.loading import ServableLoader
from augury.pipeline.remembered import PredictionRows, remembered_nbytes
from augury.stores.memory import MemoryStore
from tests.models import write_echo, write_token_sum, write_tokenizer, write_two_inputs

ADDER = """
[signature.inputs.a]
dtype = "FP32"
shape = [2]
[signature.inputs.author]
dtype = "INT64"
[features.offsets]
entity = { author_id = "author" }
inputs = { offset = "b" }
"""
OFFSETS: dict[str, Any] = {
    "name": "offsets",
    "entity": {"author_id": "INT64"},
    "features": {"offset": {"dtype": "FP32", "shape": [2]}},
}
WITH_DEFAULT: dict[str, Any] = {
    **OFFSETS,
    "features": {"offset": {"dtype": "FP32", "shape": [2], "default": [0.5, 0.5]}},
}


class FragileStore(MemoryStore):
    """A store that can be cut off."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.down = False
        self.hang = False

    async def get_many(self, keys: Any) -> list[bytes | None]:
        if self.down:
            raise Unavailable("the store at cache:6379 does not answer")
        if self.hang:
            await asyncio.sleep(60)
        return await super().get_many(keys)


@dataclass
class Bench:
    """An engine over models and features."""

    engine: Engine
    store: FragileStore
    clock: ManualClock
    metrics: Metrics
    fault: list[Exception] = field(default_factory=list)

    async def define(self, document: Mapping[str, Any]) -> None:
        await Catalogue(self.store).define(parse_definition(document))

    async def put(self, author: Any, offset: Any, *, table: str = "offsets", key: str = "author_id",
                  feature: str = "offset") -> None:  # fmt: skip
        """Write one row, an instant after the one before."""
        self.clock.advance(1)
        when = f"1970-01-01T00:00:{int(self.clock.now_s):02d}Z"
        writer = Writer(self.store, await Catalogue(self.store).get(table), None, self.clock)
        report = await writer.write([(1, {key: author, "event_time": when, feature: offset})])
        assert report.faults == []

    async def ask(self, authors: list[int], **options: Any) -> InferResponse:
        inputs = {"a": np.ones((len(authors), 2), "f4"), "author": np.array(authors, "i8")}
        return await self.engine.infer(InferRequest("adder", inputs, **options))

    def looked_up(self, result: str) -> float:
        labels = {"table": "offsets", "result": result}
        one = self.metrics.registry.get_sample_value("augury_features_table_lookups_total", labels)
        all_ = self.metrics.registry.get_sample_value(
            "augury_features_lookups_total", {"result": result}
        )
        assert one == all_
        return one or 0.0


@asynccontextmanager
async def bench(repository: Path) -> AsyncIterator[Bench]:
    """Every model of *repository*, over a store of the test's own."""
    clock, metrics = ManualClock(), Metrics()
    store = FragileStore(clock)
    fault: list[Exception] = []

    async def open_features() -> OnlineStore:
        if fault:
            raise fault[0]
        return OnlineStore(store, clock, executor)

    executor = ThreadPoolExecutor(2)
    loop_clock = SystemClock()
    manager = Manager(DirectorySource(repository), ServableLoader(loop_clock, metrics), metrics)
    cache: PredictionRows = PredictionCache(1 << 24, loop_clock, remembered_nbytes)
    with executor:
        joiner = Joiner(open_features, metrics.features_joined, executor)
        engine = Engine(manager, cache, executor, loop_clock, joiner=joiner)
        try:
            await manager.start()
            assert [one.reason for one in manager.unready()] == []
            yield Bench(engine, store, clock, metrics, fault)
        finally:
            await manager.close()


def write_adder(tmp_path: Path, manifest: str = ADDER) -> Path:
    (write_two_inputs(tmp_path) / "model.toml").write_text(manifest)
    return tmp_path


async def test_the_model_sees_what_is_joined(tmp_path: Path) -> None:
    """Callers send the entity; each row has the feature of its own."""
    async with bench(write_adder(tmp_path)) as b:
        await b.define(OFFSETS)
        await b.put(7, [10, 20])
        await b.put(8, [30, 40])

        response = await b.ask([7, 8, 7])

        assert response.outputs["sum"].tolist() == [[11, 21], [31, 41], [11, 21]]
        assert response.errors == {}
        assert [spec.name for spec in b.engine.signature("adder").inputs] == ["a", "author"]
        assert (b.looked_up("hit"), b.looked_up("miss")) == (3, 0)


async def test_a_feature_that_changed_changes_the_answer(tmp_path: Path) -> None:
    """What is joined is part of the cache's key; equal features of other entities share a row."""
    async with bench(write_adder(tmp_path)) as b:
        await b.define(OFFSETS)
        await b.put(7, [1, 1])
        await b.put(8, [1, 1])
        first = await b.ask([7])
        again = await b.ask([7])
        other = await b.ask([8])
        await b.put(7, [2, 2])

        changed = await b.ask([7])

        assert [set(one.cached) for one in (first, again, other)] == [set(), {0}, {0}]
        assert set(changed.cached) == set()
        assert changed.outputs["sum"].tolist() == [[3, 3]]


async def test_what_is_joined_cannot_be_sent(tmp_path: Path) -> None:
    """A caller cannot choose the features."""
    async with bench(write_adder(tmp_path)) as b:
        await b.define(OFFSETS)
        await b.put(7, [1, 1])
        await b.ask([7])
        inputs = {"a": np.ones((1, 2), "f4"), "b": np.ones((1, 2), "f4")}

        with pytest.raises(UnknownInput, match=r"unknown input 'b'; .* are: a, author"):
            await b.engine.infer(InferRequest("adder", inputs))


async def test_large_requests_do_not_hold_up_the_loop(tmp_path: Path) -> None:
    """Twenty thousand rows are right, and others get their turn meanwhile."""
    async with bench(write_adder(tmp_path)) as b:
        await b.define(WITH_DEFAULT)
        rows = [
            (i, {"author_id": i, "event_time": "1970-01-01T00:00:00Z", "offset": [i, i]})
            for i in range(0, 20_000, 2)
        ]
        table = await Catalogue(b.store).get("offsets")
        assert (await Writer(b.store, table, None, b.clock).write(rows)).faulty == 0
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.create_task(others())
        response = await b.ask(list(range(20_000)), use_cache=False)
        task.cancel()

        wanted = [i + 1.0 if i % 2 == 0 else 1.5 for i in range(20_000)]
        assert response.outputs["sum"][:, 0].tolist() == wanted
        assert turns > 10


@pytest.mark.parametrize("use_cache", [True, False])
async def test_a_row_without_features_fails_alone(tmp_path: Path, use_cache: bool) -> None:
    """It is refused with its entity; the others keep their places and their answers."""
    async with bench(write_adder(tmp_path)) as b:
        await b.define(OFFSETS)
        await b.put(7, [10, 20])

        response = await b.ask([1, 7, 2, 7], use_cache=use_cache)

        assert response.rows == 4
        assert sorted(response.errors) == [0, 2]
        assert isinstance(response.errors[0], Refused)
        assert response.errors[0].message == (
            "feature table 'offsets' has no 'offset' of author=1, which the model needs"
        )
        assert response.outputs["sum"][[1, 3]].tolist() == [[11, 21], [11, 21]]
        nobody = await b.ask([1, 2], use_cache=use_cache)
        assert sorted(nobody.errors) == [0, 1]
        assert (b.looked_up("hit"), b.looked_up("miss")) == (2, 4)


async def test_a_default_stands_in_unless_the_model_refuses_it(tmp_path: Path) -> None:
    """`on_missing` decides what an unknown entity is."""
    write_adder(tmp_path)
    write_two_inputs(tmp_path, "strict")
    (tmp_path / "strict" / "model.toml").write_text(ADDER + 'on_missing = "refuse"\n')
    async with bench(tmp_path) as b:
        await b.define(WITH_DEFAULT)

        response = await b.ask([1])
        request = InferRequest("strict", {"a": np.ones((1, 2), "f4"), "author": np.array([1])})
        refused = await b.engine.infer(request)

        assert response.outputs["sum"].tolist() == [[1.5, 1.5]]
        assert isinstance(refused.errors[0], Refused)


async def test_a_store_that_is_down_is_not_the_service_down(tmp_path: Path) -> None:
    """Once the defaults are known, they stand in; the lookups count as unavailable."""
    async with bench(write_adder(tmp_path)) as b:
        await b.define(WITH_DEFAULT)
        await b.put(7, [10, 20])
        b.store.down = True
        with pytest.raises(
            UpstreamFailed, match=r"'offsets' cannot be read: the store at cache:6379"
        ):
            await b.ask([7])
        b.store.down = False
        await b.ask([7])
        b.store.down = True

        response = await b.ask([7, 8])
        b.store.down = False
        back = await b.ask([7])

        assert response.outputs["sum"].tolist() == [[1.5, 1.5], [1.5, 1.5]]
        assert back.outputs["sum"].tolist() == [[11, 21]]
        assert b.looked_up("unavailable") == 2


async def test_without_defaults_a_store_that_is_down_is_told(tmp_path: Path) -> None:
    """502, with the table's name and why no default could stand in."""
    async with bench(write_adder(tmp_path)) as b:
        await b.define(OFFSETS)
        await b.put(7, [10, 20])
        await b.ask([7])
        b.store.down = True

        with pytest.raises(UpstreamFailed, match=r"does not answer \(no default for offset\)"):
            await b.ask([7])


async def test_a_store_that_cannot_be_opened_is_told_and_tried_again(tmp_path: Path) -> None:
    """A damaged store fails the requests that need it, until it can be opened."""
    async with bench(write_adder(tmp_path)) as b:
        await b.define(OFFSETS)
        await b.put(7, [10, 20])
        b.fault.append(StoreCorrupt("store.db is another application's"))
        with pytest.raises(UpstreamFailed, match="another application's"):
            await b.ask([7])
        b.fault.clear()
        with pytest.raises(UpstreamFailed, match="another application's"):
            await b.ask([7])  # not at each request

        await asyncio.sleep(2.1)

        assert (await b.ask([7])).outputs["sum"].tolist() == [[11, 21]]


async def test_the_deadline_covers_the_lookup(tmp_path: Path) -> None:
    """A request does not wait for a store longer than its caller does."""
    async with bench(write_adder(tmp_path)) as b:
        await b.define(OFFSETS)
        b.store.hang = True

        with pytest.raises(DeadlineExceeded):
            await b.ask([7], deadline_s=SystemClock().monotonic() + 0.05)


async def test_a_missing_table_is_told_by_name(tmp_path: Path) -> None:
    """The model is ready, its requests say what to define."""
    async with bench(write_adder(tmp_path)) as b:
        with pytest.raises(
            UpstreamFailed,
            match=r"'offsets', which model 'adder' joins, is not defined .* define FILE",
        ):
            await b.ask([7])


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            {**OFFSETS, "features": {"offset": {"dtype": "FP64", "shape": [2]}}},
            r"features\.offsets\.inputs\.offset: it is FP64\[2\] in .* input 'b' is FP32\[2\]",
        ),
        (
            {**OFFSETS, "features": {"offset": {"dtype": "FP32", "shape": [3]}}},
            r"it is FP32\[3\] in .* is FP32\[2\]",
        ),
        (
            {**OFFSETS, "features": {"other": {"dtype": "FP32"}}},
            r"has no such feature; it has: other",
        ),
        (
            {**OFFSETS, "entity": {"author_id": "BYTES"}},
            r"input 'author' is INT64, the key 'author_id' of feature table 'offsets' is BYTES",
        ),
        ({**OFFSETS, "entity": {"id": "INT64"}}, r"has no such key; it has: id"),
        (
            {**OFFSETS, "entity": {"author_id": "INT64", "day": "INT64"}},
            r"the key 'day' of feature table 'offsets' is missing",
        ),
    ],
)
async def test_a_table_that_does_not_fit_is_told(
    tmp_path: Path, document: dict[str, Any], words: str
) -> None:
    """Table, feature, input and datatypes are named; nothing is cast."""
    async with bench(write_adder(tmp_path)) as b:
        await b.define(document)

        with pytest.raises(UpstreamFailed, match=words):
            await b.ask([7])


ECHO = """
[signature.inputs.who]
dtype = "BYTES"
[features.names]
entity = { who = "who" }
inputs = { name = "text" }
"""


async def test_hostile_entities_are_only_entities(tmp_path: Path) -> None:
    """Whatever a caller sends for an entity: no other's features, and a megabyte is refused alone."""
    (write_echo(tmp_path) / "model.toml").write_text(ECHO)
    hostile = [b"*", b"a\nb", b"a\0b", b"?", b"[a]", b"\xff\xfe", b"", "ключ".encode()]
    async with bench(tmp_path) as b:
        await b.define(
            {"name": "names", "entity": {"who": "BYTES"}, "features": {"name": {"dtype": "BYTES"}}}
        )
        for i, who in enumerate(hostile):
            await b.put(who, f"name {i}", table="names", key="who", feature="name")
        asked = [*hostile, b"x" * 1_000_000, b"a", b"name"]

        response = await b.engine.infer(InferRequest("echo", {"who": bytes_column(asked)}))

        told = response.outputs["said"].tolist()
        assert told[: len(hostile)] == [f"name {i}".encode() for i in range(len(hostile))]
        assert sorted(response.errors) == [8, 9, 10]
        assert "has 1000000 bytes, the limit of an entity is 512" in response.errors[8].message
        assert len(response.errors[10].message) < 300


TOKENS = """
[signature.inputs.author]
dtype = "BYTES"
[features.bios]
entity = { who = "author" }
inputs = { bio = "text" }
[[preprocess]]
use = "tokenize"
[[examples]]
inputs.text = ["one two"]
"""


async def test_steps_before_the_model_see_what_is_joined(tmp_path: Path) -> None:
    """A joined text is tokenised like a caller's; the entity does not reach the model file."""
    folder = write_token_sum(tmp_path)
    write_tokenizer(folder / "1")
    (folder / "model.toml").write_text(TOKENS)
    async with bench(tmp_path) as b:
        await b.define(
            {"name": "bios", "entity": {"who": "BYTES"}, "features": {"bio": {"dtype": "BYTES"}}}
        )
        await b.put("ada", "one two", table="bios", key="who", feature="bio")

        inputs = {"author": bytes_column([b"ada"])}
        response = await b.engine.infer(InferRequest("tokens", inputs))

        assert response.errors == {}
        assert response.outputs["seen"].tolist() == [[2, 4, 5, 3]]


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (ADDER.replace('author_id = "author"', 'author_id = "gone"'), "'gone' is not declared in"),
        (ADDER.replace('offset = "b"', 'offset = "c"'), "the model file has no input 'c'"),
        (ADDER.replace('offset = "b"', 'offset = "a"'), "'a' is declared in .signature.inputs."),
        (ADDER.replace('offset = "b"', 'offset = "b", other = "b"'), "from offsets.offset already"),
        (ADDER.replace("[features.offsets]", "[features.Offsets]"), "can be called so"),
        (
            ADDER.replace('author_id = "author"', 'author_id = "a"'),
            r"'a' is FP32\[2\]; what tells an entity is an integer or BYTES",
        ),
        (ADDER + "[signature.inputs.c]\ndtype = 'INT64'", "the model file has no such input"),
        (ADDER.replace('"INT64"', '"FP64"'), "'author' is FP64"),
    ],
)
def test_a_package_that_contradicts_itself_is_not_loaded(
    tmp_path: Path, manifest: str, words: str
) -> None:
    """File, line and key of the contradiction are told."""
    from augury.packages.reader import read_package

    write_adder(tmp_path, manifest)
    package = read_package(tmp_path / "adder", 1)

    with pytest.raises(InvalidPackage, match=words) as raised:
        ServableLoader(SystemClock(), Metrics()).load(package, 1)
    assert raised.value.details["line"]


async def test_examples_state_what_is_joined(tmp_path: Path) -> None:
    """A package is checked without a store; what callers would send may be stated besides."""
    examples = """
[[examples]]
inputs.a = [[1, 2]]
inputs.b = [[10, 20]]
inputs.author = [7]
outputs.sum = [[11, 22]]
"""
    async with bench(write_adder(tmp_path, ADDER + examples)) as b:
        from augury.protocols.native.models import example_row

        with b.engine.lease("adder") as servable:
            assert example_row(servable) == {"a": [1, 2], "author": 7}  # type: ignore[arg-type]


async def test_an_engine_without_a_store_says_so(tmp_path: Path) -> None:
    """Where no store is, a model that needs one is told apart from one that is broken."""
    metrics, clock = Metrics(), SystemClock()
    source = DirectorySource(write_adder(tmp_path))
    manager = Manager(source, ServableLoader(clock, metrics), metrics)
    with ThreadPoolExecutor(1) as executor:
        cache: PredictionRows = PredictionCache(1 << 20, clock, remembered_nbytes)
        engine = Engine(manager, cache, executor, clock)
        await manager.start()
        try:
            inputs = {"a": np.ones((1, 2), "f4"), "author": np.array([7])}
            with pytest.raises(Unavailable, match="joins features, and no feature store is open"):
                await engine.infer(InferRequest("adder", inputs))
        finally:
            await manager.close()
