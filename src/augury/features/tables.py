"""What a feature table holds: its entity, its features, and for how long a value counts.

A definition is written as TOML and kept in the store as JSON, so that every process sees the same.
Once defined, a table may grow (new features, other defaults, another description or expiry); what is
already written keeps its meaning, so that entity, datatypes and shapes never change.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from augury.core.errors import OperatorError
from augury.features.values import (
    ENTITY_DATATYPES,
    FEATURE_DATATYPES,
    MAX_AXES,
    MAX_ELEMENTS,
    FeatureSpec,
    UnfitValue,
    to_wire,
)

MAX_DEFINITION_BYTES: Final = 256 * 1024
MAX_FEATURES: Final = 1_000
MAX_KEYS: Final = 8

# Columns that every row of the history has besides the table's own.
EVENT_TIME: Final = "event_time"
WRITTEN_TIME: Final = "written_time"

_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_COLUMN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class InvalidTable(OperatorError):
    """The definition of a feature table is impossible, or clashes with the one that there is."""

    code, title = "invalid_table", "Invalid feature table"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FeatureDefinition(_Part):
    """``[features.NAME]``."""

    dtype: str = Field(description="The Open Inference Protocol's name: INT64, FP32, BYTES …")
    shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = Field(
        (), max_length=MAX_AXES, description="Sizes of one value; left out: a scalar."
    )
    default: Any = Field(None, description="Stands in for a value that is missing.")
    description: str = Field("", description="One sentence for people.")

    @field_validator("dtype")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in FEATURE_DATATYPES:
            raise ValueError(f"unknown dtype {value!r}; use one of {', '.join(FEATURE_DATATYPES)}")
        return value

    @model_validator(mode="after")
    def _sensible(self) -> FeatureDefinition:
        if math.prod(self.shape) > MAX_ELEMENTS:
            raise ValueError(
                f"shape {list(self.shape)} has {math.prod(self.shape)} elements, "
                f"the limit is {MAX_ELEMENTS}"
            )
        if self.default is not None:
            try:
                to_wire(self.spec(""), self.default)
            except UnfitValue as error:
                raise ValueError(f"default: {error}") from None
            if not _is_finite(self.default):
                raise ValueError("default: nan and inf cannot stand in for a value")
        return self

    def spec(self, name: str) -> FeatureSpec:
        """The same as a :class:`FeatureSpec`, without the default."""
        return FeatureSpec(name, self.dtype, self.shape, None, self.description)


class TableDefinition(_Part):
    """A whole definition file."""

    name: str = Field(description="Lower-case letters, digits and _, a letter first, 64 at most.")
    description: str = Field("", description="One sentence for people.")
    ttl_s: Annotated[float, Field(ge=0, strict=False, allow_inf_nan=False)] = Field(
        0.0, description="Values older than this, by event time, are missing; 0: never."
    )
    entity: dict[str, str] = Field(
        min_length=1, max_length=MAX_KEYS, description="Key column to dtype: integers or BYTES."
    )
    features: dict[str, FeatureDefinition] = Field(
        min_length=1, max_length=MAX_FEATURES, description="Feature to dtype, shape and default."
    )

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not is_table_name(value):
            raise ValueError(
                f"{value[:80]!r} is not a table's name: lower-case letters, digits and '_', a letter "
                "first, 64 at most"
            )
        return value

    @field_validator("entity")
    @classmethod
    def _are_keys(cls, value: dict[str, str]) -> dict[str, str]:
        for name, dtype in value.items():
            if dtype not in ENTITY_DATATYPES:
                raise ValueError(
                    f"{name[:80]!r} is {dtype!r}; a key is one of {', '.join(ENTITY_DATATYPES)}"
                )
        return value

    @model_validator(mode="after")
    def _names_differ(self) -> TableDefinition:
        taken = {EVENT_TIME: "every row's", WRITTEN_TIME: "every row's"}
        for name in (*self.entity, *self.features):
            if not _COLUMN_NAME.fullmatch(name):
                raise ValueError(
                    f"{name[:80]!r} is not a column's name: letters, digits and '_', a letter first, "
                    "64 at most"
                )
            # SQL does not tell upper from lower case in names.
            if name.lower() in taken:
                raise ValueError(f"{name!r} is {taken[name.lower()]} column already; rename it")
            taken[name.lower()] = f"{name!r}, another"
        return self


@dataclass(frozen=True)
class FeatureTable:
    """A definition as it is used.

    Args:
        name: The table.
        uid: Distinguishes it from an earlier table of the name, which was dropped.
        description: One sentence for people.
        ttl_s: Values older than this are missing; ``None``: never.
        entity: Key column to datatype, in the order of their names.
        features: By name.
    """

    name: str
    uid: str
    description: str
    ttl_s: float | None
    entity: Mapping[str, str]
    features: Mapping[str, FeatureSpec]

    @cached_property
    def ttl_us(self) -> int | None:
        """The expiry in microseconds."""
        return None if self.ttl_s is None else round(self.ttl_s * 1_000_000)

    def feature(self, name: str) -> FeatureSpec:
        """The feature called *name*.

        Raises:
            InvalidTable: There is none.
        """
        try:
            return self.features[name]
        except KeyError:
            known = ", ".join(list(self.features)[:20])
            raise InvalidTable(
                f"feature table {self.name!r} has no feature {name!r}; it has: {known}",
                table=self.name,
            ) from None


def is_table_name(name: str) -> bool:
    """Whether a table can be called so."""
    return _TABLE_NAME.fullmatch(name) is not None


def read_definition(file: Path) -> TableDefinition:
    """The definition in a TOML file.

    Raises:
        InvalidTable: Not TOML, an unknown key, or an impossible value; tells every fault.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidTable(f"{file}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_DEFINITION_BYTES:
        raise InvalidTable(f"{file}: {len(data)} bytes, the limit is {MAX_DEFINITION_BYTES}")
    try:
        return parse_definition(tomllib.loads(data.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidTable(f"{file}: not valid TOML: {error}") from None
    except RecursionError:
        raise InvalidTable(f"{file}: not acceptable TOML: nested too deeply") from None
    except InvalidTable as error:
        raise InvalidTable(f"{file}: {error.message}") from None


def parse_definition(value: Mapping[str, Any]) -> TableDefinition:
    """The definition that *value* states.

    Raises:
        InvalidTable: Unknown keys or impossible values; tells every fault.
    """
    try:
        return TableDefinition.model_validate(value)
    except ValidationError as error:
        faults = "; ".join(_told(detail["loc"], detail["msg"]) for detail in error.errors()[:10])
        raise InvalidTable(faults) from None


def table_of(definition: TableDefinition, uid: str) -> FeatureTable:
    """The table that *definition* defines."""
    features = {}
    for name, part in definition.features.items():
        bare = part.spec(name)
        default = None if part.default is None else to_wire(bare, part.default)
        features[name] = FeatureSpec(name, part.dtype, part.shape, default, part.description)
    return FeatureTable(
        name=definition.name,
        uid=uid,
        description=definition.description,
        ttl_s=definition.ttl_s or None,
        entity=dict(sorted(definition.entity.items())),
        features=features,
    )


def incompatibilities(old: FeatureTable, new: FeatureTable) -> Iterator[str]:
    """Why rows written under *old* would mean something else under *new*; one sentence each."""
    if dict(old.entity) != dict(new.entity):
        yield f"entity is {_keys(new)}, it was defined as {_keys(old)}"
    for name, spec in old.features.items():
        other = new.features.get(name)
        if other is None:
            yield f"feature {name!r} is gone"
        elif (other.datatype, other.shape) != (spec.datatype, spec.shape):
            yield f"feature {name!r} is {other.told}, it was defined as {spec.told}"


def _is_finite(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _keys(table: FeatureTable) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in table.entity.items())


def _told(location: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(part)[:80] for part in location)
    what = message.removeprefix("Value error, ")
    if what == "Extra inputs are not permitted":
        what = "unknown key"
    return f"{where}: {what}" if where else what
