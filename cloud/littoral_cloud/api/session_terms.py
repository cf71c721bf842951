"""What every session of one server has in common."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionTerms:
    """Intervals, clock and random numbers."""

    server_version: str
    heartbeat_interval_s: float
    telemetry_interval_s: float
    clock: Callable[[], float]  # seconds since 1970-01-01 UTC
    rng: random.Random
