"""A rollout or a run that the daily pass moved into a file is shown as before, with the file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from littoral.errors import NotFound
from littoral_cloud.app import Core
from littoral_cloud.fleet.records import load
from littoral_cloud.retention.archive import FOLDER, find

R = TypeVar("R")


async def or_archived(core: Core, record: type[R], kind: str, id: str, reading: Awaitable[R]) -> tuple[R, dict[str, str]]:
    """What `reading` gives, else the archived record; and its file, empty where it is in the ledger. Raises NotFound."""
    try:
        return await reading, {}
    except NotFound:
        found = await asyncio.to_thread(find, core.settings.data_dir / FOLDER, kind, id)
        if found is None:
            raise
        return load(record, found.doc), {"archived": str(found.place)}
