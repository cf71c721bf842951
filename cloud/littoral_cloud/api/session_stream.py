"""The two directions of one session's gRPC stream, bounded in size and in silence, and how a session ends."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio

from littoral.fleet.v1 import session_pb2
from littoral.transport import MAX_MESSAGE_BYTES
from littoral_cloud.fleet.sessions import Reason, SessionRefusal, version_refusal

RETRY_S = 2.0


class SessionEnded(Exception):
    """The session ends here; with a refusal where the node is still there to read it."""

    def __init__(self, refused: SessionRefusal | None) -> None:
        super().__init__(refused.detail if refused else "the node went away")
        self.refused = refused


def ended(reason: Reason, detail: str, retry_after_s: float = 0.0) -> SessionEnded:
    """With a refusal for the node to read."""
    return SessionEnded(SessionRefusal(reason, detail, retry_after_s))


class SessionStream:
    """Args:
    silence_s: for how long the node may send nothing, and may leave a message of ours unread.
    """

    def __init__(self, context: Any, silence_s: float) -> None:
        self._context = context
        self._silence_s = silence_s
        self._writing = asyncio.Lock()

    async def next_message(self) -> session_pb2.ConnectRequest:
        """Raises SessionEnded where the node is silent for too long, is gone, or sends a message that is too large."""
        try:
            async with asyncio.timeout(self._silence_s):
                message = await self._context.read()
        except TimeoutError:
            raise ended(Reason.UNAVAILABLE, f"the node sent nothing for {self._silence_s:g} s", RETRY_S) from None
        except grpc.aio.BaseError:
            raise SessionEnded(None) from None
        if message is grpc.aio.EOF:
            raise SessionEnded(None)
        if (size := message.ByteSize()) > MAX_MESSAGE_BYTES:
            raise ended(Reason.PROTOCOL_VIOLATION, f"a message of {size} bytes; the limit is {MAX_MESSAGE_BYTES}")
        assert isinstance(message, session_pb2.ConnectRequest)
        return message

    async def hello(self) -> session_pb2.Hello:
        """The first message. Raises SessionEnded where it is another one, or of a protocol that this cloud does not speak."""
        message = await self.next_message()
        if message.WhichOneof("message") != "hello":
            raise ended(Reason.PROTOCOL_VIOLATION, f"the first message must be hello, was {message.WhichOneof('message')}")
        if (refused := version_refusal(message.hello.protocol_version)) is not None:
            raise SessionEnded(refused)
        return message.hello

    async def send(self, message: session_pb2.ConnectResponse) -> None:
        """Raises SessionEnded where the node is gone or does not take it."""
        writing = asyncio.ensure_future(self._write(message))
        writing.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            async with asyncio.timeout(self._silence_s):
                await asyncio.shield(writing)  # gRPC allows no second write before the first has ended
        except (TimeoutError, grpc.aio.BaseError, asyncio.InvalidStateError):
            raise SessionEnded(None) from None

    async def _write(self, message: session_pb2.ConnectResponse) -> None:
        async with self._writing:
            await self._context.write(message)
