"""Names to dialects."""

from __future__ import annotations

from typing import Final

from augury.bench.dialects.base import Dialect
from augury.core.registry import Registry

DIALECTS: Final[Registry[Dialect]] = Registry(
    "dialect",
    "augury.bench.dialects",
    {
        "native": "augury.bench.dialects.native:NATIVE",
        "oip-v2": "augury.bench.dialects.oip_v2:OIP_V2",
        "tf-v1": "augury.bench.dialects.tf_v1:TF_V1",
        "torchserve": "augury.bench.dialects.torchserve:TORCHSERVE",
        "raw": "augury.bench.dialects.raw:RAW_DIALECT",
    },
)
