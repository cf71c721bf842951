"""The other end of the protocol, word by word: what a node may do, and what it may not."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any

import grpc
import grpc.aio

from littoral.fleet.v1 import blob_pb2_grpc, session_pb2, session_pb2_grpc
from littoral.transport import CLIENT_OPTIONS
from tests.kit.certificates import Credential
from tests.kit.patience import PATIENCE_S

BOOT = "0123456789abcdef" * 2


class NodeClient:
    """One connection of one node. `credential` None: without a certificate. `unbounded`: sends what a node must not."""

    def __init__(self, address: str, authority: bytes, credential: Credential | None, *, unbounded: bool = False) -> None:
        key, certificate = (credential.key, credential.certificate) if credential else (None, None)
        credentials = grpc.ssl_channel_credentials(authority, key, certificate)
        options = [option for option in CLIENT_OPTIONS if not unbounded or option[0] != "grpc.max_send_message_length"]
        self.channel = grpc.aio.secure_channel(address, credentials, options=options)
        self.blobs: Any = blob_pb2_grpc.BlobServiceStub(self.channel)
        self._sessions: Any = session_pb2_grpc.SessionServiceStub(self.channel)

    async def __aenter__(self) -> NodeClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.channel.close()

    async def renew(self, request: bytes) -> bytes:
        """The certificate that follows, DER, for a PKCS#10 request."""
        answer = await self._sessions.Renew(session_pb2.RenewRequest(certificate_request=request), timeout=PATIENCE_S)
        return bytes(answer.certificate)

    def open(self) -> Line:
        return Line(self._sessions.Connect())

    async def begin(self, **hello: Any) -> Line:
        """A session past its Welcome and the first DesiredState, which is in `line.desired`."""
        line = self.open()
        await line.say(hello=hello_word(**hello))
        assert (await line.hear("welcome")).node_id
        await line.hear("desired")
        return line


class Line:
    """A session's stream."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.desired: session_pb2.DesiredState | None = None

    async def say(self, **word: Any) -> None:
        await self.call.write(session_pb2.ConnectRequest(**word))

    async def hear(self, kind: str) -> Any:
        """The next word of a kind; others are passed over. Fails where the stream ends before."""
        async with asyncio.timeout(PATIENCE_S):
            while (word := await self.call.read()) is not grpc.aio.EOF:
                if word.HasField("desired"):
                    self.desired = word.desired
                if word.WhichOneof("message") == kind:
                    return getattr(word, kind)
                assert word.WhichOneof("message") != "refusal", f"refused: {word.refusal}"
        raise AssertionError(f"the stream ended with {await self.call.code()} before {kind!r}: {await self.call.details()}")

    async def ended(self) -> grpc.StatusCode:
        """The status of a stream that is over."""
        async with asyncio.timeout(PATIENCE_S):
            with suppress(grpc.aio.AioRpcError):
                while await self.call.read() is not grpc.aio.EOF:
                    continue
            code: grpc.StatusCode = await self.call.code()
            return code


def hello_word(*, protocol_version: int = 1, boot_id: str = BOOT, **fields: Any) -> session_pb2.Hello:
    return session_pb2.Hello(protocol_version=protocol_version, agent_version="0.1.0", boot_id=boot_id, **fields)
