"""What a session carries between the cloud and the parts of this agent: each message goes to its part, none is judged here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from littoral.fleet.v1 import session_pb2
from littoral_node.telemetry.outbox import TelemetryOutbox


class Following(Protocol):
    def set_desired(self, desired: session_pb2.DesiredState) -> None: ...


class SessionMessages:
    """What a stream carries. No method blocks.

    Args:
        hello: makes the first message of a stream.
        states: gives the messages that follow each Welcome; telemetry comes last.
        following: take each desired state.
        welcomed: called after each Welcome.
    """

    def __init__(
        self,
        hello: Callable[[], session_pb2.Hello],
        states: Callable[[], Iterable[session_pb2.ConnectRequest]],
        telemetry: TelemetryOutbox,
        following: Iterable[Following],
        welcomed: Callable[[], None],
    ) -> None:
        self.hello = hello
        self._states = states
        self._telemetry = telemetry
        self._following = tuple(following)
        self._welcomed = welcomed

    def resume(self) -> Iterable[session_pb2.ConnectRequest]:
        """Follow each Welcome: the reported states, and what is not acknowledged."""
        yield from self._states()
        yield from self._telemetry.resume()

    def welcomed(self, welcome: session_pb2.Welcome) -> None:
        self._telemetry.every(welcome.telemetry_interval_s)
        self._welcomed()

    def desired(self, desired: session_pb2.DesiredState) -> None:
        for part in self._following:
            part.set_desired(desired)

    def acknowledged(self, ack: session_pb2.TelemetryAck) -> None:
        self._telemetry.acknowledge(ack.sequence, ack.boot_id)
