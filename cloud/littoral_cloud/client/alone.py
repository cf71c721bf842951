"""The operator API for one command, where no coordinator runs on the data folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from littoral_cloud.api.rest.app import guarded, rest_app
from littoral_cloud.api.rest.listener import socket_api
from littoral_cloud.app import open_existing
from littoral_cloud.commands.use_case import Office
from littoral_cloud.settings import CloudSettings


@asynccontextmanager
async def served_here(settings: CloudSettings, socket: Path) -> AsyncIterator[Path]:
    """Raises NotFound where the data folder holds no coordinator's data, and what `open_core` raises."""
    async with open_existing(settings) as core, socket_api(guarded(rest_app(Office(core))), socket):
        yield socket
