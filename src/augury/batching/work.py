"""Rows that are computed together, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from augury.core.errors import AuguryError, RuntimeFailed
from augury.core.request import Priority
from augury.core.tensor import Array, Columns, Ragged
from augury.observe.logs import get_logger

RowErrors = dict[int, AuguryError]

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkResult:
    """What became of a piece of work.

    Args:
        outputs: Arrays with as many rows as the work, read-only; views into the batch's arrays.
            Empty when no row has an answer.
        errors: Row to why it has no answer.
        queue_s: Seconds that the work waited.
        runtime_s: Seconds that its batch took.
    """

    outputs: dict[str, Array]
    errors: RowErrors
    queue_s: float
    runtime_s: float


@dataclass(slots=True, eq=False)
class Work:
    """Rows of one request that are computed together.

    Args:
        columns: The rows' tensors, as the runtime wants them but for padding.
        rows: How many.
        future: Gets the :class:`WorkResult` or the error; cancelled when nobody waits any more.
        deadline_s: Monotonic time after which nobody wants the answer.
        priority: Who goes first.
        enqueued_s: Set by the scheduler.
        length: Size of the longest ragged row; 0 when no column is ragged.
    """

    columns: Columns
    rows: int
    future: asyncio.Future[WorkResult]
    deadline_s: float | None = None
    priority: int = Priority.NORMAL
    enqueued_s: float = field(default=0.0, init=False)
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.length = longest_row(self.columns)

    def abandoned(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.future.done()

    def put_off(self, deadline_s: float | None) -> None:
        """Somebody else wants the answer as well, until *deadline_s*; never makes it due earlier."""
        mine = self.deadline_s
        if mine is not None and (deadline_s is None or deadline_s > mine):
            self.deadline_s = deadline_s

    def late(self, now_s: float) -> bool:
        """Whether an answer would come too late."""
        return self.deadline_s is not None and self.deadline_s <= now_s

    def unwanted(self, now_s: float) -> bool:
        """Whether an answer would come too late, or to nobody."""
        return self.future.done() or self.late(now_s)


def longest_row(columns: Columns) -> int:
    """Size of the longest ragged row of *columns*; 0 when none is ragged."""
    longest = 0
    for column in columns.values():
        if isinstance(column, Ragged):
            rows = column.rows
            length = len(rows[0]) if len(rows) == 1 else max(map(len, rows), default=0)
            longest = max(longest, length)
    return longest


Delivery = tuple[Work, WorkResult | AuguryError]


def deliver(deliveries: Sequence[Delivery]) -> None:
    """Tell those who still wait; on the event loop."""
    for work, result in deliveries:
        if work.future.done():
            continue
        if isinstance(result, AuguryError):
            work.future.set_exception(result)
        else:
            work.future.set_result(result)


def public_error(error: BaseException, name: str) -> AuguryError:
    """*error* as the caller of model *name* may see it; a stranger's exception may quote the input."""
    if isinstance(error, AuguryError):
        return error
    _log.error("model raised", model=name, exc_info=error)
    return RuntimeFailed(f"{name} raised {type(error).__name__}; the server's log tells more")
