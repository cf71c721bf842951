"""The operator API for one command, where no coordinator runs on the data folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from littoral_cloud.api.rest.app import guarded, rest_app
from littoral_cloud.api.rest.listener import socket_api
from littoral_cloud.app import open_core, open_existing
from littoral_cloud.commands.use_case import Office
from littoral_cloud.settings import CloudSettings


@asynccontextmanager
async def served_here(
    settings: CloudSettings, socket: Path, *, makes: bool = False, stranger: bool = False
) -> AsyncIterator[Path]:
    """Args:
    makes: where there is no coordinator's data, they are made.
    stranger: also where the keys and blobs are not the fleet's.

    Raises NotFound where the data folder holds no coordinator's data, and what `open_core` raises.
    """
    opened = open_core(settings, stranger=stranger) if makes else open_existing(settings, stranger=stranger)
    async with opened as core, socket_api(guarded(rest_app(), Office(core)), socket):
        yield socket
