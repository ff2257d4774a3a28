"""Into how large pieces a request of many rows is cut."""

from __future__ import annotations

import math

from augury.batching.cost import CostModel
from augury.batching.policies.deadline import DISPATCH_S, ENOUGH


def piece_rows(cost: CostModel, rows: int, length: int, *, max_rows: int, instances: int) -> int:
    """Rows of one piece, out of *rows* that come together; pieces are computed whole.

    As few as make a batch that is long enough: more would hold an instance that others wait for and gain
    next to nothing, and a large piece finds no room beside other work.  And no more than each instance's
    share, so that none is idle.

    >>> piece_rows(CostModel(), 100, 1, max_rows=64, instances=2)  # nothing is known yet
    50
    """
    most = max(1, min(max_rows, -(-rows // instances)))
    if not cost.known:
        return most
    row_s = cost.row_s(length)
    # So long are the rows of a batch of which ENOUGH is what it costs regardless of them.
    enough_s = (cost.coefficients.a + DISPATCH_S) * (1.0 / ENOUGH - 1.0)
    if row_s * most <= enough_s:
        return most
    return math.ceil(enough_s / row_s)
