"""The way to the coordinator's teacher: one call over the fleet listener, under this node's certificate. Opened when it is first
needed, closed after a time without questions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from littoral.errors import FleetError
from littoral.fleet.v1 import escalation_pb2, escalation_pb2_grpc

IDLE_S = 60.0


class NoAnswer(FleetError):
    """The cloud's teacher did not answer: the node's own answer stands.

    Args:
        reason: a stable code: the cloud's own, or one of this package.
    """

    code = "no-answer"
    retryable = True

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


class OffloadChannel:
    """For one event loop.

    Args:
        open: a new channel to the fleet listener.
    """

    def __init__(self, open: Callable[[], grpc.aio.Channel], idle_s: float = IDLE_S) -> None:
        self._open = open
        self._idle_s = idle_s
        self._channel: grpc.aio.Channel | None = None
        self._asking = 0
        self._rest: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    async def ask(self, question: escalation_pb2.EscalateRequest, deadline_s: float) -> escalation_pb2.EscalateResponse:
        """Raises NoAnswer."""
        if self._channel is None:
            self._channel = self._open()
        self._asking += 1
        try:
            stub: Any = escalation_pb2_grpc.EscalationServiceStub(self._channel)
            answer: escalation_pb2.EscalateResponse = await stub.Escalate(question, timeout=deadline_s)
        except grpc.aio.AioRpcError as error:
            raise _no_answer(error) from error
        finally:
            self._asking -= 1
            self._rest_later()
        return answer

    async def close(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def _rest_later(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        self._rest = asyncio.get_running_loop().call_later(self._idle_s, self._begin_rest)

    def _begin_rest(self) -> None:
        if not self._asking:
            self._closing = asyncio.get_running_loop().create_task(self.close(), name="offload channel at rest")


def _no_answer(error: grpc.aio.AioRpcError) -> NoAnswer:
    """The cloud's errors are "code: message"; gRPC's own have no such code."""
    details = error.details() or ""
    code, colon, message = details.partition(": ")
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return NoAnswer("deadline", details)
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return NoAnswer("escalation-off", f"this cloud is older: {details}")
    if colon and code.replace("-", "").isalpha() and code.islower():
        return NoAnswer(code, message)
    return NoAnswer("cloud-away", f"{error.code().name}: {details}")
