"""A real gRPC blob server that can break off, lie and damage what it sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from littoral.digest import digest_of
from littoral.fleet.v1 import blob_pb2, blob_pb2_grpc
from littoral.transport import CLIENT_OPTIONS


@dataclass(slots=True)
class BlobSource(blob_pb2_grpc.BlobServiceServicer):  # type: ignore[misc]
    """`break_at`: absolute byte at which a stream ends with UNAVAILABLE, once for each entry. `flip`: times that a byte is
    turned over. `chunk`: bytes of one message."""

    held: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    break_at: list[int] = field(default_factory=list)
    break_put_at: list[int] = field(default_factory=list)
    flip: int = 0
    says_total: int | None = None
    chunk: int = 1000
    offsets: list[int] = field(default_factory=list)  # of the requests that came
    port: int = 0

    def hold(self, data: bytes) -> str:
        digest = digest_of(data)
        self.held[digest] = data
        return digest

    def channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=CLIENT_OPTIONS)

    async def GetBlob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.offsets.append(request.offset)
        data = self.held.get(request.digest)
        if data is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such blob")
            return
        if request.offset > len(data):
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "behind its end")
        total = len(data) if self.says_total is None else self.says_total
        if self.flip:
            self.flip -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        stop = self.break_at.pop(0) if self.break_at else None
        at, first = request.offset, True
        while first or at < len(data):
            part = data[at : min(at + self.chunk, len(data) if stop is None else max(at, stop))]
            yield blob_pb2.GetBlobResponse(total_bytes=total if first else 0, data=part)
            at, first = at + len(part), False
            if stop is not None and at >= stop:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the line broke")

    async def StatBlob(self, request: Any, context: Any) -> Any:
        if request.digest in self.held:
            return blob_pb2.StatBlobResponse(stored_bytes=len(self.held[request.digest]), complete=True)
        return blob_pb2.StatBlobResponse(stored_bytes=len(self.uploads.get(request.digest, b"")))

    async def PutBlob(self, requests: Any, context: Any) -> Any:
        header = (await anext(aiter(requests))).header
        self.offsets.append(header.offset)
        have = self.uploads.setdefault(header.digest, bytearray())
        if header.offset != len(have):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another offset is held")
        stop = self.break_put_at.pop(0) if self.break_put_at else None
        async for part in requests:
            have += part.data
            if stop is not None and len(have) >= stop:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the line broke")
        self.held[header.digest] = bytes(have)
        return blob_pb2.PutBlobResponse(total_bytes=len(have))


@asynccontextmanager
async def blob_source() -> AsyncIterator[BlobSource]:
    source = BlobSource()
    server = grpc.aio.server()
    blob_pb2_grpc.add_BlobServiceServicer_to_server(source, server)  # type: ignore[no-untyped-call]
    source.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield source
    finally:
        await server.stop(None)
