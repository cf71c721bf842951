"""A ledger that announces every write, also those that nobody but a test waits for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from littoral_cloud.fleet.ledger import Change, CommittedChange, Fence, Ledger, Write


class Loud:
    """Everything else is as with the ledger in it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def commit(self, change: Change, *, fence: Fence | None = None) -> CommittedChange:
        writes = tuple(replace(write, quiet=False) if isinstance(write, Write) else write for write in change.writes)
        return await self._ledger.commit(replace(change, writes=writes), fence=fence)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)
