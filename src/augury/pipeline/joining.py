"""Features of the entities that a request names, joined to its rows before the cache's key is made.

``[features.TABLE]`` in ``model.toml`` says which inputs carry the entity and which inputs of the model
the features become.  Callers send the former and never see the latter.  A row whose entity lacks what
the model needs is refused and touches no other; a store or table that cannot be read fails the request,
unless every feature asked of it has a default.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Final

from augury.batching.merge import gather_outputs
from augury.core.errors import AuguryError, InvalidInput, Refused, Unavailable, UpstreamFailed
from augury.core.request import InferRequest, InferResponse
from augury.core.signature import Signature, TensorSpec
from augury.core.tensor import Array, Columns, take_rows
from augury.features.online import Found, Lookup, OnlineStore, apart, column_of
from augury.features.tables import FeatureTable
from augury.features.values import INTEGER_DATATYPES, MAX_ENTITY_BYTES, Wire
from augury.observe.logs import get_logger
from augury.packages.manifest import FeaturesTable, Manifest
from augury.packages.reader import ModelPackage

# A store that cannot be opened is tried again after this, so that a request does not wait for it.
RETRY_OPEN_S: Final = 2.0

_log = get_logger(__name__)

Answer = Callable[[InferRequest, int], Awaitable[InferResponse]]


@dataclass(frozen=True, slots=True)
class Join:
    """One table of a model.

    Args:
        table: Its name.
        entity: Key column and the input that carries it, in the order of the key columns' names.
        inputs: Feature and the model's input that it becomes.
        refuse: Whether rows without a value are refused even if there is a default.
    """

    table: str
    entity: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, str], ...]
    refuse: bool

    @classmethod
    def of(cls, name: str, table: FeaturesTable) -> Join:
        """What ``[features.NAME]`` says."""
        return cls(
            name,
            tuple(sorted(table.entity.items())),
            tuple(table.inputs.items()),
            table.on_missing == "refuse",
        )


class Joins:
    """All tables of one loaded version.

    Args:
        manifest: Of its package.
        native: The model file's own signature.
    """

    def __init__(self, manifest: Manifest, native: Signature) -> None:
        self.joins = tuple(Join.of(name, table) for name, table in manifest.features.items())
        self.native = native
        self.callers = manifest.signature.signature(native)
        self._steps = bool(manifest.preprocess)
        # Of no use to the model file itself: they only tell which entity is meant.
        self.spent = frozenset(
            name for join in self.joins for _, name in join.entity if native.input(name) is None
        )
        self.joined = frozenset(name for join in self.joins for _, name in join.inputs)
        # The definitions that have been found to fit, by table.
        self.fitting: dict[str, FeatureTable] = {}

    def model_inputs(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """*inputs* without those that only tell the entity, unless a step before the model may ask."""
        if self._steps:
            return dict(inputs)
        return {name: column for name, column in inputs.items() if name not in self.spent}

    def drop_spent(self, columns: Columns) -> None:
        """Remove what the model file does not take, once the steps before it are done."""
        for name in self.spent:
            columns.pop(name, None)


def joins_of(manifest: Manifest, native: Signature) -> Joins | None:
    """The tables that a model joins, or ``None`` if it joins none."""
    return Joins(manifest, native) if manifest.features else None


def misfits(
    join: Join, table: FeatureTable, callers: Signature, native: Signature
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Where ``[features.TABLE]`` and the table contradict each other: key below it, and sentence."""
    named = {key for key, _ in join.entity}
    for key, name in join.entity:
        datatype = table.entity.get(key)
        if datatype is None:
            keys = ", ".join(table.entity)
            yield ("entity", key), f"feature table {table.name!r} has no such key; it has: {keys}"
            continue
        spec = callers.input(name)
        if spec is not None and (spec.datatype == "BYTES") != (datatype == "BYTES"):
            fault = (
                f"input {name!r} is {spec.datatype}, the key {key!r} of feature table "
                f"{table.name!r} is {datatype}"
            )
            yield ("entity", key), fault
    for key in table.entity:
        if key not in named:
            yield ("entity",), f"the key {key!r} of feature table {table.name!r} is missing"
    for feature, name in join.inputs:
        known = table.features.get(feature)
        if known is None:
            features = ", ".join(list(table.features)[:20])
            fault = f"feature table {table.name!r} has no such feature; it has: {features}"
            yield ("inputs", feature), fault
            continue
        spec = native.input(name)
        if spec is not None and (
            spec.datatype != known.datatype or not spec.fits((1, *known.shape))
        ):
            fault = (
                f"it is {known.told} in feature table {table.name!r}, the model's input {name!r} is "
                f"{_told(spec)}"
            )
            yield ("inputs", feature), fault


class Joiner:
    """Reads what models join, and hands rows on with it.

    Args:
        open_store: Gives the online store; called when a model first needs it, and again if it failed.
        on_lookup: Told the table, "hit", "miss" or "unavailable", and the number of rows.
        executor: Where the columns of large requests are made; ``None``: on the event loop.
    """

    def __init__(
        self,
        open_store: Callable[[], Awaitable[OnlineStore]],
        on_lookup: Callable[[str, str, int], None],
        executor: Executor | None = None,
    ) -> None:
        self._executor = executor
        self._open_store = open_store
        self._on_lookup = on_lookup
        self._store: OnlineStore | None = None
        self._failed: tuple[float, str] | None = None

    async def answer(
        self,
        joins: Joins,
        package: ModelPackage,
        request: InferRequest,
        rows: int,
        answer: Answer,
    ) -> InferResponse:
        """Join features to the *rows* of *request* and let *answer* do the rest.

        Raises:
            UpstreamFailed: The store cannot be read, or a table is missing or does not fit, and there
                are no defaults.
        """
        errors: dict[int, AuguryError] = {}
        lookups = await apart(
            self._executor,
            rows,
            lambda: [
                Lookup(join.table, _entities(join, request.inputs, rows, errors))
                for join in joins.joins
            ],
        )
        found, fault = await self._look_up(lookups)
        tables: list[FeatureTable] = []
        for position, join in enumerate(joins.joins):
            asked = sum(entity is not None for entity in lookups[position].entities)
            if found is None:
                tables.append(_remembered(joins, join, fault))
                self._on_lookup(join.table, "unavailable", asked)
            else:
                tables.append(_fitting(joins, join, found[position].table, package))
                hits = sum(row is not None for row in found[position].rows)
                self._on_lookup(join.table, "hit", hits)
                self._on_lookup(join.table, "miss", asked - hits)
        values = [[None] * rows] * len(tables) if found is None else [one.rows for one in found]
        columns = await apart(
            self._executor, rows, lambda: _columns(joins, tables, lookups, values, errors)
        )
        inputs = {**joins.model_inputs(request.inputs), **columns}
        return await _answer_live(package, replace(request, inputs=inputs), rows, errors, answer)

    async def _look_up(self, lookups: Sequence[Lookup]) -> tuple[list[Found] | None, str]:
        """What the store has, or ``None`` and why it cannot be read."""
        try:
            store = await self._opened()
            return await store.lookup(lookups), ""
        except Unavailable as error:
            return None, error.message

    async def _opened(self) -> OnlineStore:
        if self._store is not None:
            return self._store
        now_s = asyncio.get_running_loop().time()
        if self._failed is not None and now_s < self._failed[0]:
            raise Unavailable(self._failed[1])
        try:
            self._store = await self._open_store()
        except (AuguryError, OSError) as error:
            self._failed = (now_s + RETRY_OPEN_S, str(error))
            _log.error("the feature store cannot be opened", reason=str(error))
            raise Unavailable(str(error)) from None
        return self._store


def _remembered(joins: Joins, join: Join, fault: str) -> FeatureTable:
    """The table as it was last seen, if its defaults do for everything.

    Raises:
        UpstreamFailed: They do not.
    """
    table = joins.fitting.get(join.table)
    why = "it has not been read since the start, so that its defaults are not known"
    if table is not None:
        bare = [name for name, _ in join.inputs if table.features[name].default is None]
        if not bare and not join.refuse:
            return table
        why = 'on_missing is "refuse"' if join.refuse else f"no default for {', '.join(bare)}"
    raise UpstreamFailed(
        f"feature table {join.table!r} cannot be read: {fault} ({why})", table=join.table
    )


def _fitting(
    joins: Joins,
    join: Join,
    table: FeatureTable | None,
    package: ModelPackage,
) -> FeatureTable:
    """*table*, compared with the model once for each of its definitions.

    Raises:
        UpstreamFailed: There is no such table, or it does not fit.
    """
    if table is None:
        raise UpstreamFailed(
            f"feature table {join.table!r}, which model {package.name!r} joins, is not defined in "
            "the store; define it with: augury features define FILE",
            table=join.table,
        )
    if joins.fitting.get(join.table) is not table:
        for key, message in misfits(join, table, joins.callers, joins.native):
            where = ".".join(("features", join.table, *key))
            raise UpstreamFailed(
                f"model {package.name!r} does not fit its feature table: {where}: {message}",
                table=join.table,
            )
        joins.fitting[join.table] = table
    return table


def _columns(
    joins: Joins,
    tables: Sequence[FeatureTable],
    lookups: Sequence[Lookup],
    values: Sequence[Sequence[Mapping[str, Wire] | None]],
    errors: dict[int, AuguryError],
) -> dict[str, Array]:
    """The inputs that features become; rows that lack what the model needs are told in *errors*."""
    columns: dict[str, Array] = {}
    for join, table, lookup, own in zip(joins.joins, tables, lookups, values, strict=True):
        for feature, name in join.inputs:
            spec = table.features[feature]
            column = column_of(spec, own)
            columns[name] = column.values
            if not join.refuse and spec.default is not None:
                continue
            for row in sorted(column.missing):
                entity = lookup.entities[row]
                if entity is not None:
                    errors.setdefault(row, _refusal(join, feature, entity))
    return columns


async def _answer_live(
    package: ModelPackage,
    request: InferRequest,
    rows: int,
    errors: dict[int, AuguryError],
    answer: Answer,
) -> InferResponse:
    """Answer the rows that are not in *errors*; the others keep their places."""
    if not errors:
        return await answer(request, rows)
    live = [row for row in range(rows) if row not in errors]
    if not live:
        return InferResponse(package.name, package.version, {}, rows, errors)
    inputs: dict[str, Any] = {
        name: take_rows(column, live) for name, column in request.inputs.items()
    }
    response = await answer(replace(request, inputs=inputs), len(live))
    response.outputs = gather_outputs([(live, response.outputs)], rows)
    response.errors = errors | {live[row]: error for row, error in response.errors.items()}
    response.cached = frozenset(live[row] for row in response.cached)
    response.rows = rows
    return response


def _entities(
    join: Join, inputs: Mapping[str, Array], rows: int, errors: dict[int, AuguryError]
) -> list[tuple[int | bytes, ...] | None]:
    """The entity of each row; ``None`` for one that can be none, which is told in *errors*."""
    columns = [inputs[name].tolist() for _, name in join.entity]
    entities: list[tuple[int | bytes, ...] | None] = list(zip(*columns, strict=True))
    for (_, name), column in zip(join.entity, columns, strict=True):
        if inputs[name].dtype != object:
            continue
        for row in range(rows):
            if len(column[row]) > MAX_ENTITY_BYTES:
                errors.setdefault(
                    row,
                    InvalidInput(
                        f"input {name!r} has {len(column[row])} bytes, the limit of an entity is "
                        f"{MAX_ENTITY_BYTES}",
                        input=name,
                    ),
                )
                entities[row] = None
    return entities


def _refusal(join: Join, feature: str, entity: Sequence[int | bytes]) -> Refused:
    parts = zip(join.entity, entity, strict=True)
    told = ", ".join(f"{name}={_shown(part)}" for (_, name), part in parts)
    return Refused(
        f"feature table {join.table!r} has no {feature!r} of {told}, which the model needs",
        table=join.table,
        feature=feature,
    )


def _shown(part: int | bytes) -> str:
    if isinstance(part, int):
        return str(part)
    text = part.decode(errors="replace")
    return repr(text if len(text) <= 64 else f"{text[:63]}…")


def _told(spec: TensorSpec) -> str:
    return f"{spec.datatype}{list(spec.shape)}" if spec.shape else spec.datatype


def can_be_entity(spec: TensorSpec) -> bool:
    """Whether an input can carry a part of an entity's key."""
    return not spec.shape and spec.datatype in (*INTEGER_DATATYPES, "BYTES")
