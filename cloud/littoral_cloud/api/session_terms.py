"""What every session of one server has in common."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from littoral.fleet.v1 import session_pb2


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """Intervals, clock and random numbers."""

    server_version: str
    heartbeat_interval_s: float
    telemetry_interval_s: float
    clock: Callable[[], float]  # seconds since 1970-01-01 UTC
    rng: random.Random

    def welcome(
        self, node_id: str, spread_s: float, fleet_addresses: Sequence[str], enrolment_addresses: Sequence[str]
    ) -> session_pb2.Welcome:
        """Args:
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
        )
