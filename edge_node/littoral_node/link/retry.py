"""How long the node waits before its next stream to the cloud."""

from __future__ import annotations

import random

from littoral.backoff import Backoff
from littoral.transport import LONGEST_BACKOFF_S

BACKOFF = Backoff(0.5, LONGEST_BACKOFF_S)
FLAPS_MOST = 4
"""Attempts that count against a cloud which sent Welcome: the pause stays within 8 s."""
SPREAD_MOST_S = 300.0
"""The longest time over which a fleet's return is spread; the cloud may ask for less."""


def pause_s(attempt: int, after_s: float | None, rng: random.Random, spread_s: float = 0.0) -> float:
    """Seconds before the next stream.

    Args:
        attempt: counts from 0.
        after_s: the least, from the cloud: the usual backoff comes on top, since the cloud tells many nodes the same. None: the
            cloud named no time. 0: at once.
        spread_s: the bound of the backoff is no smaller than this: what the last Welcome asked for.
    """
    return 0.0 if after_s == 0 else (after_s or 0.0) + BACKOFF.pause_s(attempt, rng, least_bound_s=min(spread_s, SPREAD_MOST_S))
