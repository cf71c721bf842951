"""Use cases of files on their way up: each is named by the SHA-256 of its bytes, comes as a stream, and goes on where it ended.

What nothing names is deleted by `artifact gc`, as every blob without a reference.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from littoral.digest import check_digest
from littoral.errors import BadInput, Conflict, TooLarge
from littoral.transport import MAX_BLOB_BYTES
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.trust.people import Caller, Role

WRITTEN_BYTES = 1 << 20
"""That are written at one time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadState:
    """`stored_bytes`: from the file's start; the next part begins there. `complete`: it is whole, and its digest is right."""

    digest: str
    stored_bytes: int
    complete: bool


@use_case("upload.show", Role.OPERATOR)
async def state(office: Office, caller: Caller, *, digest: str) -> UploadState:
    """How much of a file is here."""
    blobs, digest = office.core.blobs, check_digest(digest)
    whole = await asyncio.to_thread(blobs.renew, digest)  # who hears "complete" sends nothing, and names it next
    return UploadState(digest=digest, stored_bytes=await asyncio.to_thread(blobs.stored_bytes, digest), complete=whole)


@use_case("upload.put", Role.OPERATOR)
async def put(
    office: Office, caller: Caller, *, digest: str, total_bytes: int, offset: int, parts: AsyncIterator[bytes]
) -> UploadState:
    """Takes a file, or what is missing of it.

    Args:
        offset: where the parts begin: `stored_bytes` of `state`.

    Raises TooLarge, NoSpace; Conflict where they begin elsewhere, or ended early: what came stays; DigestMismatch where the bytes
    are others than the digest says.
    """
    blobs, digest = office.core.blobs, check_digest(digest)
    if not 0 <= total_bytes <= MAX_BLOB_BYTES:
        raise TooLarge(f"total_bytes: {total_bytes:,} bytes, at most {MAX_BLOB_BYTES:,} are taken")
    if await asyncio.to_thread(blobs.renew, digest):
        return UploadState(digest=digest, stored_bytes=await asyncio.to_thread(blobs.stored_bytes, digest), complete=True)
    if offset != (stored := await asyncio.to_thread(blobs.stored_bytes, digest)):
        raise Conflict(
            f"offset: {offset} is not the {stored} bytes that are stored", hint="ask for the state, and go on from there"
        )
    waiting = bytearray()
    async for part in parts:
        waiting += part
        if stored + len(waiting) > total_bytes:
            raise TooLarge(f"body: more came than the {total_bytes:,} bytes that were named")
        if len(waiting) >= WRITTEN_BYTES:
            stored = await asyncio.to_thread(blobs.append, digest, stored, bytes(waiting))
            waiting.clear()
    if waiting or not total_bytes:
        stored = await asyncio.to_thread(blobs.append, digest, stored, bytes(waiting))
    if stored < total_bytes:
        raise Conflict(f"body: ended at {stored:,} of {total_bytes:,} bytes", hint="go on from there")
    await asyncio.to_thread(blobs.complete, digest, total_bytes)
    return UploadState(digest=digest, stored_bytes=stored, complete=True)


def needs_whole(office: Office, field: str, digest: str, bytes: int | None = None) -> None:
    """Raises BadInput where no whole file with this digest, and of this size, is here. Blocking."""
    blobs = office.core.blobs
    if not blobs.renew(check_digest(digest, field)):
        raise BadInput(f"{field}: {digest} is not here", hint="PUT it to /api/v1/uploads/DIGEST first")
    if bytes is not None and (stored := blobs.stored_bytes(digest)) != bytes:
        raise BadInput(f"{field}: {digest} has {stored:,} bytes, not {bytes:,}")
