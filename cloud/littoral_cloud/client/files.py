"""Files up to the coordinator and down from it: as streams, named by the SHA-256 of their bytes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from littoral.backoff import Backoff
from littoral.digest import PREFIX
from littoral.errors import Conflict, Unavailable
from littoral_cloud.client.fleet_client import FleetClient, part

CHUNK_BYTES = 256 * 1024
TRIES = 6
AWAY = Backoff(0.5, 10.0)


async def upload(fleet: FleetClient, digest: str, path: Path) -> None:
    """Brings a file up, or what is missing of it there. A connection that breaks is tried again, from where it ended.

    Args:
        digest: of the file's bytes.

    Raises Unavailable, and what the coordinator answered.
    """
    total, tries, at = path.stat().st_size, 0, f"/uploads/{part(digest)}"
    while not (there := await fleet.get(at))["complete"]:
        stored = there["stored_bytes"]
        try:
            await fleet.send(at, _from(path, stored), offset=stored, total_bytes=total)
        except (Unavailable, Conflict):
            if (tries := tries + 1) >= TRIES:
                raise
            await asyncio.sleep(AWAY.bound_s(tries))


async def download(fleet: FleetClient, path: str, to: Path) -> str:
    """Writes a file, in place of what is there, and gives the digest of its bytes."""
    found = hashlib.sha256()
    async with fleet.chunks(path) as chunks:
        with to.open("wb") as file:
            async for chunk in chunks:
                found.update(chunk)
                await asyncio.to_thread(file.write, chunk)
    return PREFIX + found.hexdigest()


async def _from(path: Path, offset: int) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        await asyncio.to_thread(file.seek, offset)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
    finally:
        file.close()
