"""How long the node waits before its next stream to the cloud."""

from __future__ import annotations

import random

from littoral.backoff import Backoff
from littoral.transport import LONGEST_BACKOFF_S

BACKOFF = Backoff(0.5, LONGEST_BACKOFF_S)
SOON = Backoff(0.5, 8.0)
"""In place of it while the session was lost less than RECENT_S ago: a coordinator that was started again is back in seconds."""
RECENT_S = 600.0
FLAPS_MOST = 4
"""Attempts that count against a cloud which sent Welcome: the pause stays within 8 s."""
SPREAD_MOST_S = 300.0
"""The longest time over which a fleet's return is spread; the cloud may ask for less."""


def pause_s(attempt: int, after_s: float | None, rng: random.Random, spread_s: float = 0.0, *, lost_s: float = RECENT_S) -> float:
    """Seconds before the next stream.

    Args:
        attempt: counts from 0.
        after_s: the least, from the cloud: the usual backoff comes on top, since the cloud tells many nodes the same. None: the
            cloud named no time. 0: at once.
        lost_s: for how long there has been no session.
        spread_s: the bound of the backoff is no smaller than this: what the last Welcome asked for.
    """
    backoff = SOON if lost_s < RECENT_S else BACKOFF
    return 0.0 if after_s == 0 else (after_s or 0.0) + backoff.pause_s(attempt, rng, least_bound_s=min(spread_s, SPREAD_MOST_S))


def next_attempt(attempt: int, *, welcomed: bool, lasted: bool) -> int:
    """Which attempt the next stream is, counted from 0.

    Args:
        attempt: which the last one was; -1 before the first.
        welcomed: the last one brought a Welcome: the cloud is there.
        lasted: its session was open for at least a heartbeat interval. A shorter one flaps, and counts.
    """
    following = 0 if lasted else attempt + 1
    return min(following, FLAPS_MOST) if welcomed else following
