"""What a session carries between the cloud and the parts of this agent: each message goes to its part, none is judged here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from littoral.fleet.v1 import session_pb2
from littoral_node.telemetry.outbox import TelemetryOutbox


class Following(Protocol):
    def set_desired(self, desired: session_pb2.DesiredState) -> None: ...


class MessageParts(Protocol):
    """What makes and takes the messages of a stream. No method blocks."""

    def hello(self) -> session_pb2.Hello: ...

    def welcomed(self, welcome: session_pb2.Welcome) -> None: ...

    def resume(self) -> Iterable[session_pb2.ConnectRequest]:
        """The messages that follow each Welcome."""
        ...

    def received(self, message: session_pb2.ConnectResponse) -> Iterable[session_pb2.ConnectRequest]:
        """Gives the answer, if it asks for one."""
        ...

    def revoked(self) -> None: ...


class SessionMessages:
    """The parts of an agent. Implements MessageParts.

    Args:
        hello: makes the first message of a stream.
        states: gives the messages that follow each Welcome; telemetry comes last.
        following: take each desired state.
        welcomed: called with each Welcome.
        anchors: takes each TrustAnchors, and gives the report of it.
        revoked: called when an operator took this node out of the fleet.
    """

    def __init__(
        self,
        hello: Callable[[], session_pb2.Hello],
        states: Callable[[], Iterable[session_pb2.ConnectRequest]],
        telemetry: TelemetryOutbox,
        following: Iterable[Following],
        welcomed: Callable[[session_pb2.Welcome], None],
        anchors: Callable[[session_pb2.TrustAnchors], session_pb2.TrustReport],
        revoked: Callable[[], None] = lambda: None,
    ) -> None:
        self._hello = hello
        self._states = states
        self._telemetry = telemetry
        self._following = tuple(following)
        self._welcomed = welcomed
        self._anchors = anchors
        self._revoked = revoked

    def hello(self) -> session_pb2.Hello:
        return self._hello()

    def revoked(self) -> None:
        self._revoked()

    def resume(self) -> Iterable[session_pb2.ConnectRequest]:
        """Follow each Welcome: the reported states, and what is not acknowledged."""
        yield from self._states()
        yield from self._telemetry.resume()

    def welcomed(self, welcome: session_pb2.Welcome) -> None:
        self._telemetry.every(welcome.telemetry_interval_s)
        self._welcomed(welcome)

    def received(self, message: session_pb2.ConnectResponse) -> Iterable[session_pb2.ConnectRequest]:
        """Gives it to its part. Gives the answer, if it asks for one."""
        match message.WhichOneof("message"):
            case "desired":
                for part in self._following:
                    part.set_desired(message.desired)
            case "telemetry_ack":
                self._telemetry.acknowledge(message.telemetry_ack.sequence, message.telemetry_ack.boot_id)
            case "trust_anchors":
                return [session_pb2.ConnectRequest(trust_report=self._anchors(message.trust_anchors))]
        return []
