"""What a session carries between the cloud and the parts of this agent: each message goes to its part, none is judged here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from littoral.fleet.v1 import session_pb2


class Following(Protocol):
    def set_desired(self, desired: session_pb2.DesiredState) -> None: ...


class SentTelemetry(Protocol):
    def every(self, interval_s: float) -> None: ...

    def resume(self) -> Iterable[session_pb2.ConnectRequest]: ...

    def acknowledge(self, sequence: int, boot_id: str = "") -> None: ...


class SessionMessages:
    """Args:
    hello: makes the first message of a stream.
    resumed: each gives messages that follow Welcome, in this order; telemetry comes last.
    following: take each desired state.
    welcomed: called after each Welcome.
    """

    def __init__(
        self,
        hello: Callable[[], session_pb2.Hello],
        resumed: Iterable[Callable[[], Iterable[session_pb2.ConnectRequest]]],
        telemetry: SentTelemetry,
        following: Iterable[Following],
        welcomed: Callable[[], None],
    ) -> None:
        self.hello = hello
        self._resumed = tuple(resumed)
        self._telemetry = telemetry
        self._following = tuple(following)
        self._welcomed = welcomed

    def resume(self) -> Iterable[session_pb2.ConnectRequest]:
        for messages in (*self._resumed, self._telemetry.resume):
            yield from messages()

    def welcomed(self, welcome: session_pb2.Welcome) -> None:
        self._telemetry.every(welcome.telemetry_interval_s)
        self._welcomed()

    def desired(self, desired: session_pb2.DesiredState) -> None:
        for part in self._following:
            part.set_desired(desired)

    def acknowledged(self, ack: session_pb2.TelemetryAck) -> None:
        self._telemetry.acknowledge(ack.sequence, ack.boot_id)
