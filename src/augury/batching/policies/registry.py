"""Names of ``[batching] policy`` to what they stand for."""

from __future__ import annotations

from typing import Final

from augury.batching.policies.base import BatchPolicy, PolicyContext, PolicyFactory
from augury.core.registry import Registry

POLICIES: Final[Registry[PolicyFactory]] = Registry(
    "batching policy",
    "augury.batching_policies",
    {
        "deadline": "augury.batching.policies.deadline:DeadlineFirst",
        "fixed": "augury.batching.policies.fixed:FixedSize",
        "delayed": "augury.batching.policies.delayed:Delayed",
        "aimd": "augury.batching.policies.aimd:AdditiveIncrease",
        "quantile": "augury.batching.policies.quantile:Quantile",
    },
)


def make_policy(context: PolicyContext) -> BatchPolicy:
    """The policy that ``[batching] policy`` names.

    Raises:
        NotFound: There is none of that name; the message lists those there are.
        ImportError: It needs a package that is not installed.
    """
    return POLICIES.get(context.table.policy)(context)
