"""What every session of one server has in common: its terms, and who knows all of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from littoral.fleet.v1 import session_pb2
from littoral.signed_time import NONCE_BYTES
from littoral.trust_anchors import ToldAnchors
from littoral_cloud.api.desired_messages import DesiredMessages
from littoral_cloud.api.greeting_line import GreetingLine
from littoral_cloud.api.pushes import Pushes
from littoral_cloud.counting.session_counts import SessionCounts
from littoral_cloud.fleet.allowance import NodeAllowance
from littoral_cloud.fleet.handed import HandedDesk
from littoral_cloud.fleet.telemetry_desk import TelemetryDesk

if TYPE_CHECKING:
    from littoral_cloud.api.session import CoordinatorSession


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """Intervals, clock and random numbers."""

    server_version: str
    heartbeat_interval_s: float
    telemetry_interval_s: float
    clock: Callable[[], float]  # seconds since 1970-01-01 UTC
    rng: random.Random
    seal_time: Callable[[float, bytes], bytes] | None = None  # of a nonce, by the fleet's signing key

    def welcome(
        self, node_id: str, spread_s: float, fleet_addresses: Sequence[str], enrolment_addresses: Sequence[str], nonce: bytes
    ) -> session_pb2.Welcome:
        """Args:
        nonce: of its hello; one of another length than littoral.signed_time.NONCE_BYTES gets no answer.
        spread_s: over which time nodes that lose their sessions at one time come back.
        """
        return session_pb2.Welcome(
            node_id=node_id,
            server_version=self.server_version,
            heartbeat_interval_s=self.heartbeat_interval_s,
            telemetry_interval_s=self.telemetry_interval_s,
            reconnect_spread_s=spread_s,
            fleet_addresses=fleet_addresses,
            enrolment_addresses=enrolment_addresses,
            signed_time=self.seal_time(self.clock(), nonce) if self.seal_time is not None and len(nonce) == NONCE_BYTES else b"",
        )


class Hub(Protocol):
    """Knows the open sessions."""

    coordinator: str  # the id of this process
    desk: TelemetryDesk  # counts what the nodes report
    handed: HandedDesk  # writes down what sessions were given
    pushes: Pushes  # which go before what nodes report
    line: GreetingLine
    desired: DesiredMessages
    counts: SessionCounts
    anchors: ToldAnchors  # that nodes have to hear of; number 0: none

    @property
    def fleet_addresses(self) -> tuple[str, ...]: ...
    @property
    def enrolment_addresses(self) -> tuple[str, ...]: ...
    @property
    def spread_s(self) -> float:
        """Nodes that lose their sessions at one time come back spread over this time."""
        ...

    def allowance_of(self, node_id: str) -> NodeAllowance:
        """What an accepted node may still send."""
        ...

    def enter(self, session: CoordinatorSession) -> None:
        """Raises SessionEnded where no session may enter any more."""
        ...

    def leave(self, session: CoordinatorSession) -> None: ...
