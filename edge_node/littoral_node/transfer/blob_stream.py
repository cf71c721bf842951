"""The two streams of a blob, down and up: their parts, and what their errors mean."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from littoral.errors import BadInput, DigestMismatch, FleetError, NotAccepted, NotFound, Revoked, TooLarge, Unavailable
from littoral.fleet.v1 import blob_pb2
from littoral.transport import CHUNK_BYTES

SILENCE_S = 30.0  # a stream that brings nothing for this long is dead
_HASH_STEP = 1 << 20

_ERRORS: dict[grpc.StatusCode, type[FleetError]] = {
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.PERMISSION_DENIED: NotAccepted,
    grpc.StatusCode.UNAUTHENTICATED: NotAccepted,
    grpc.StatusCode.DATA_LOSS: DigestMismatch,
    grpc.StatusCode.RESOURCE_EXHAUSTED: TooLarge,
    grpc.StatusCode.INVALID_ARGUMENT: BadInput,
}
BROKEN_OFF = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL,
               grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED)  # fmt: skip
MISPLACED = (grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.FAILED_PRECONDITION)


class BrokenStream(Exception):
    """The stream ended before the blob did; the bytes that came stay."""

    def __init__(self, gained: int, detail: str) -> None:
        super().__init__(detail)
        self.gained = gained


async def next_part(call: Any, gained: int) -> blob_pb2.GetBlobResponse | None:
    try:
        async with asyncio.timeout(SILENCE_S):
            message = await call.read()
    except TimeoutError:
        call.cancel()
        raise BrokenStream(gained, f"silent for {SILENCE_S:.0f} s") from None
    return None if message is grpc.aio.EOF else message


def agreed_size(digest: str, named: int, size: int | None, limit: int) -> int:
    if size is not None and named != size:
        raise DigestMismatch(f"blob {digest[:19]}: the cloud holds {named} bytes, the manifest names {size}")
    if named > limit:
        raise TooLarge(f"blob {digest[:19]}: {named} bytes, at most {limit} are taken")
    return named


def take_in(file: Any, digester: Any, data: bytes) -> None:
    """In a thread: neither a slow card nor the hashing holds up a request that is being served."""
    file.write(data)
    file.flush()
    digester.update(data)


def hash_partial(part: Path) -> tuple[Any, int]:
    digester, have = hashlib.sha256(), 0
    if part.exists():
        with part.open("rb") as file:
            while step := file.read(_HASH_STEP):
                digester.update(step)
                have += len(step)
    return digester, have


def translated(error: grpc.aio.AioRpcError, digest: str, gained: int, part: Path | None) -> Exception:
    code, text = error.code(), f"blob {digest[:19]}: {error.details()}"
    if code in BROKEN_OFF:
        return BrokenStream(gained, str(error.details()))
    if code in MISPLACED and part is not None:
        part.unlink(missing_ok=True)  # we hold more than there is: not this blob
        return DigestMismatch(text)
    if code is grpc.StatusCode.PERMISSION_DENIED and (error.details() or "").startswith(f"{Revoked.code}: "):
        return Revoked(text)
    return _ERRORS.get(code, Unavailable)(text)


async def upload_parts(data: bytes | Path, digest: str, total: int, offset: int) -> AsyncIterator[blob_pb2.PutBlobRequest]:
    yield blob_pb2.PutBlobRequest(header=blob_pb2.PutBlobHeader(digest=digest, total_bytes=total, offset=offset))
    if isinstance(data, bytes):
        for start in range(offset, total, CHUNK_BYTES):
            yield blob_pb2.PutBlobRequest(data=data[start : start + CHUNK_BYTES])
        return
    with data.open("rb") as file:
        file.seek(offset)
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield blob_pb2.PutBlobRequest(data=chunk)
