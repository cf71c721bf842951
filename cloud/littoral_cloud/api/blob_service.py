"""Blobs over the fleet listener: a stream down or up from any byte; files are read and written in threads."""

from __future__ import annotations

import asyncio
import os
from typing import Any
from weakref import WeakValueDictionary

import grpc.aio

from littoral.digest import check_digest
from littoral.errors import BadInput, TooLarge, Unavailable
from littoral.fleet.v1 import blob_pb2, blob_pb2_grpc
from littoral.transport import CHUNK_BYTES, MAX_BLOB_BYTES
from littoral_cloud.api.access import calling_node
from littoral_cloud.api.errors import OutOfRange, WrongOffset
from littoral_cloud.counting.transfer_counts import TransferCounts
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.transfers import Readers, note_upload, task_of

SILENCE_S = 60.0
"""An upload that sends nothing for this long is ended; the bytes that came stay stored."""


class BlobServicer(blob_pb2_grpc.BlobServiceServicer):
    """An accepted node may get what its desired state names; one that a federated run waits for may put its reply."""

    def __init__(self, ledger: Ledger, blobs: BlobStore, counts: TransferCounts | None = None) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._readers = Readers(ledger, blobs)
        self._counts = counts or TransferCounts()
        self._uploads: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by digest

    async def GetBlob(self, request: blob_pb2.GetBlobRequest, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        digest = check_digest(request.digest)
        await self._readers.check(calling_node().node_id, digest)
        path = await asyncio.to_thread(self._blobs.path, digest)
        file = await asyncio.to_thread(path.open, "rb")
        try:
            total = os.fstat(file.fileno()).st_size
            if request.offset > total:
                raise OutOfRange(f"offset: {request.offset} lies past the end of {request.digest[:19]}, {total} bytes")
            await asyncio.to_thread(file.seek, request.offset)
            chunk = await asyncio.to_thread(file.read, CHUNK_BYTES)
            await context.write(blob_pb2.GetBlobResponse(total_bytes=total, data=chunk))
            self._counts.sent_bytes += len(chunk)
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                await context.write(blob_pb2.GetBlobResponse(data=chunk))
                self._counts.sent_bytes += len(chunk)
        finally:
            file.close()

    async def StatBlob(
        self, request: blob_pb2.StatBlobRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> blob_pb2.StatBlobResponse:
        await task_of(self._ledger, calling_node().node_id)
        digest = check_digest(request.digest)
        # Renewed, since a node that hears "complete" puts nothing, and names it next.
        complete = await asyncio.to_thread(self._blobs.renew, digest)
        stored = await asyncio.to_thread(self._blobs.stored_bytes, digest)
        return blob_pb2.StatBlobResponse(stored_bytes=stored, complete=complete)

    async def PutBlob(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> blob_pb2.PutBlobResponse:
        peer = calling_node()
        task = await task_of(self._ledger, peer.node_id)
        header = (await _next_part(context)).header
        digest = check_digest(header.digest)
        if header.total_bytes > MAX_BLOB_BYTES:
            raise TooLarge(f"blob {digest[:19]}: {header.total_bytes} bytes, at most {MAX_BLOB_BYTES} are taken")
        await note_upload(self._ledger, peer.node_id, task, digest, header.total_bytes)
        # One upload of a digest at a time; a second waits, and finds the blob whole.
        uploading = self._uploads.setdefault(digest, asyncio.Lock())
        async with uploading:
            if not await asyncio.to_thread(self._blobs.has, digest):
                await self._receive(context, digest, header.offset, header.total_bytes)
        return blob_pb2.PutBlobResponse(total_bytes=header.total_bytes)

    async def _receive(self, context: Any, digest: str, offset: int, total: int) -> None:
        stored = await asyncio.to_thread(self._blobs.stored_bytes, digest)
        if offset != stored:
            raise WrongOffset(
                f"blob {digest[:19]}: {stored} bytes are stored, the data begins at {offset}", hint="ask StatBlob first"
            )
        while (part := await _next_part(context, first=False)) is not None:
            if stored + len(part.data) > total:
                raise TooLarge(f"blob {digest[:19]}: more came than the {total} bytes that its header names")
            await asyncio.to_thread(self._blobs.append, digest, stored, part.data)
            stored += len(part.data)
            self._counts.received_bytes += len(part.data)
        if stored < total:
            raise Unavailable(f"blob {digest[:19]}: ended at {stored} of {total} bytes", hint="go on from there")
        await asyncio.to_thread(self._blobs.complete, digest, total)


async def _next_part(context: Any, *, first: bool = True) -> Any:
    """A message, the header first and data then; None at the end. Raises BadInput where the order is another."""
    try:
        async with asyncio.timeout(SILENCE_S):
            part = await context.read()
    except TimeoutError:
        raise Unavailable(f"upload: nothing came for {SILENCE_S:g} s", hint="go on from what StatBlob says") from None
    if part is grpc.aio.EOF and not first:
        return None
    wanted = "header" if first else "data"
    kind = None if part is grpc.aio.EOF else part.WhichOneof("part")
    if kind != wanted:
        raise BadInput(
            f"upload: wanted {wanted}, got {kind or 'nothing'}", hint="the first message is the header, the rest is data"
        )
    return part
