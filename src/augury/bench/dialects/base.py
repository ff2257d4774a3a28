"""What a dialect is: how rows become a request, and what an answer means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import quote, unquote

import msgspec

from augury.core.errors import OperatorError

# One row: inputs by name; or, where the file holds whole bodies, the body.
Row = Mapping[str, Any]
RAW: Final = "raw"

# How an answer counts.
OK: Final = 0
REFUSED: Final = 1  # the server said at once that it would not: 429, 503
FAILED: Final = 2  # anything else that is no answer
WRONG: Final = 3  # an answer, but not to this request

CLASSES: Final = ("ok", "refused", "failed", "wrong")


class Verdict(NamedTuple):
    """How an answer counts.

    Args:
        outcome: OK, REFUSED, FAILED or WRONG.
        label: The kind, as reports name it; empty for OK.
    """

    outcome: int
    label: str = ""


GOOD: Final = Verdict(OK)


@dataclass(frozen=True)
class Input:
    """An input of the model, as the server tells it.

    Args:
        name: Its name.
        datatype: In the words of the Open Inference Protocol.
        shape: Without the batch axis; -1 where any size will do.
    """

    name: str
    datatype: str
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Model:
    """What is known of the model before it is asked.

    Args:
        name: Its name; empty where the path says all.
        inputs: What it takes; empty where the server does not tell.
        outputs: Names of what it answers.
        examples: Rows that the server knows to work.
        facts: What the server tells of itself and the model, for reports (version, instances).
    """

    name: str
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()
    examples: tuple[Row, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


# GET a path; the JSON document, or None for 404.  Raises OperatorError for all else.
Ask = Callable[[str], Any]


class Place(NamedTuple):
    """Where a dialect's models are: what stands before and after a model's name in the path.

    >>> place = Place("/v1/models/", ":predict")
    >>> place.path("a b"), place.model_of("/v1/models/a%20b:predict"), place.model_of("/docs")
    ('/v1/models/a%20b:predict', 'a b', None)
    """

    prefix: str
    suffix: str = ""

    def path(self, model: str) -> str:
        """Where requests for *model* go."""
        return f"{self.described_at(model)}{self.suffix}"

    def described_at(self, model: str) -> str:
        """Where the server tells of *model*."""
        return f"{self.prefix}{quote(model, safe='')}"

    def model_of(self, path: str) -> str | None:
        """The model that *path* names, or ``None``."""
        if not (path.startswith(self.prefix) and path.endswith(self.suffix)):
            return None
        name = path[len(self.prefix) : len(path) - len(self.suffix)]
        return unquote(name.split("/", 1)[0]) or None

    def ask(self, ask: Ask, model: str) -> Any:
        """What the server tells of *model*.

        Raises:
            OperatorError: There is no such model.
        """
        told = ask(self.described_at(model))
        if told is None:
            raise OperatorError(f"the server has no model {model!r}")
        return told


def need_model(dialect: str, model: str) -> None:
    """Refuse to go on without a *model*.

    Raises:
        OperatorError: It is empty.
    """
    if not model:
        raise OperatorError(f"the dialect {dialect} needs a model; name it with --model")


class Encoded(NamedTuple):
    """A request's content type and body."""

    content_type: str
    body: bytes


class Dialect(Protocol):
    """One way of asking servers for predictions."""

    name: str

    def path(self, model: str) -> str:
        """Where requests for *model* go."""

    def model_of(self, path: str) -> str | None:
        """The model that *path* names, or ``None`` when it is none of this dialect's paths."""

    def describe(self, ask: Ask, model: str) -> Model:
        """What the server tells of *model*; an empty name stands for the only one.

        Raises:
            OperatorError: There is no such model; the server's own words.
        """

    def encode(self, rows: Sequence[Row], model: Model) -> Encoded:
        """The request that asks for *rows*.

        Raises:
            OperatorError: The dialect cannot say this.
        """

    def judge(self, status: int, body: bytes, rows: int) -> Verdict:
        """How the answer to a request of *rows* rows counts.  Runs for each answer: microseconds."""

    def rows_of(self, body: bytes) -> list[Any]:
        """The answered rows, decoded, to be compared with what was expected.

        Raises:
            ValueError: The body is not what the dialect promises.
        """

    def deadline(self, seconds: float) -> tuple[str, str] | None:
        """The header that tells the server when an answer is of no use any more, if there is one."""


class _Problem(msgspec.Struct):
    code: str | int | None = None


_problem = msgspec.json.Decoder(_Problem)


def judge_status(status: int, body: bytes) -> Verdict:
    """How an answer that is not 200 counts: its status, and its ``code`` if the body tells one."""
    code: str | int | None = None
    if body.startswith(b"{"):
        try:
            code = _problem.decode(body).code
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            code = None
    label = f"{status} {code}" if isinstance(code, str) and code else str(status)
    return Verdict(REFUSED if status in (429, 503) else FAILED, plain_words(label, 60))


def plain_words(text: str, most: int) -> str:
    r"""*text* of a server, fit for a terminal: one line without control characters, not longer than *most*.

    >>> plain_words("no\x1b[31m such\n model", 300), plain_words("abcdef", 4)
    ('no[31m such model', 'abc…')
    """
    shown = "".join(
        one if one.isprintable() else " " if one.isspace() else "" for one in text[: 4 * most]
    )
    shown = " ".join(shown.split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def wrong_rows(got: int, want: int) -> Verdict:
    """An answer with too many or too few rows."""
    return Verdict(WRONG, f"{got} rows for {want}" if max(got, want) < 1000 else "number of rows")


UNREADABLE: Final = Verdict(WRONG, "unreadable answer")


def cells(rows: Sequence[Row], name: str) -> list[Any]:
    """The input *name* of all *rows*.

    Raises:
        OperatorError: A row lacks it.
    """
    try:
        return [row[name] for row in rows]
    except KeyError:
        raise OperatorError(
            f"a row has the inputs {', '.join(map(repr, rows[0]))}, the model wants {name!r}"
        ) from None
