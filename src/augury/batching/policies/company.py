"""What several policies share: the order by age, and companions of like length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from augury.batching.policies.base import Choice, W, Waiting

if TYPE_CHECKING:
    from augury.batching.queue import RowQueue


def age_urgency(work: Waiting, ageing_s: float) -> float:
    """First come, first served; each step of priority counts as having come so much later."""
    return work.enqueued_s + work.priority * ageing_s


def in_order(works: list[W], max_rows: int) -> tuple[list[W], bool]:
    """The first of *works* that make up a batch of at most *max_rows*, but one at least.

    Returns:
        The batch, and whether it is full: the next one no longer goes in.
    """
    batch: list[W] = []
    rows = 0
    for work in works:
        if batch and rows + work.rows > max_rows:
            return batch, True
        batch.append(work)
        rows += work.rows
    return batch, rows >= max_rows


def by_length(works: list[W], max_rows: int, max_padding: float) -> tuple[list[W], str]:
    """The first of *works* and those nearest to it in length.

    Args:
        works: In the order of their urgency.
        max_rows: Rows at most; a larger first one goes alone.
        max_padding: Part of the batch that may be padding.

    Returns:
        The batch, and why nothing else is in it: "idle" (there is nothing else), "full" or "padding".
    """
    head = works[0]
    if not head.length:
        batch, full = in_order(works, max_rows)
        return batch, "full" if full else "idle"
    batch, reason = [head], "idle"
    rows, longest, filled = head.rows, head.length, head.rows * head.length
    for work in sorted(works[1:], key=lambda work: abs(work.length - head.length)):
        total = rows + work.rows
        longer = max(longest, work.length)
        fuller = filled + work.rows * work.length
        if total > max_rows:
            return batch, "full"
        if fuller < (1.0 - max_padding) * longer * total:
            reason = "padding"
            break
        batch.append(work)
        rows, longest, filled = total, longer, fuller
    return batch, "full" if rows >= max_rows else reason


def take(queue: RowQueue[W], batch: list[W], reason: str) -> Choice[W]:
    """*batch*, taken out of *queue*."""
    queue.remove(batch)
    return Choice(batch, reason)
