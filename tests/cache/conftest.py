"""For all tests here: what asyncio only logs is a failure."""

from __future__ import annotations

from tests.asyncio_faults import no_asyncio_faults

__all__ = ["no_asyncio_faults"]
