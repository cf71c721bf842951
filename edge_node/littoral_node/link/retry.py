"""How long the node waits before its next stream to the cloud."""

from __future__ import annotations

import random

from littoral.backoff import Backoff
from littoral.transport import LONGEST_BACKOFF_S

BACKOFF = Backoff(0.5, LONGEST_BACKOFF_S)
SOON = Backoff(0.5, 8.0)
"""In place of it while the session was lost less than RECENT_S ago: a coordinator that was started again is back in seconds."""
RECENT_S = 600.0
REVOKED_RETRY = Backoff(60.0, 3600.0)
"""After an operator took the node out, which may have been a mistake; its bound, so that the docs can say when it asks."""
FLAPS_MOST = 4
"""Attempts that count against a cloud which sent Welcome: the pause stays within 8 s."""
SPREAD_MOST_S = 300.0
"""The longest time over which a fleet's return is spread; the cloud may ask for less."""


def pause_s(
    attempt: int,
    after_s: float | None,
    rng: random.Random,
    spread_s: float = 0.0,
    *,
    lost_s: float = RECENT_S,
    again: bool = False,
) -> float:
    """Seconds before the next stream.

    The nodes of a fleet that lost their sessions in one moment draw their first attempts evenly from the time that the cloud
    asked for. Each keeps its place in it: after an attempt in vain it comes again that time later. So no more nodes come in a
    second than the cloud asked for, however long it is away; with a new draw each time twice as many would.

    Args:
        attempt: counts from 0.
        after_s: the least, from the cloud, which told others another time: the usual backoff comes on top. None: the cloud named
            no time. 0: at once.
        spread_s: over which time the fleet comes back: what the last Welcome asked for.
        lost_s: for how long there has been no session.
        again: the last attempt brought no session.
    """
    if after_s == 0:
        return 0.0
    backoff, spread_s = SOON if lost_s < RECENT_S else BACKOFF, min(spread_s, SPREAD_MOST_S)
    if after_s is not None:
        return after_s + backoff.pause_s(attempt, rng)
    if again and spread_s >= backoff.bound_s(attempt):
        return spread_s + backoff.pause_s(0, rng)
    return backoff.pause_s(attempt, rng, least_bound_s=spread_s)


def next_attempt(attempt: int, *, welcomed: bool, lasted: bool) -> int:
    """Which attempt the next stream is, counted from 0.

    Args:
        attempt: which the last one was; -1 before the first.
        welcomed: the last one brought a Welcome: the cloud is there.
        lasted: its session was open for at least a heartbeat interval. A shorter one flaps, and counts.
    """
    following = 0 if lasted else attempt + 1
    return min(following, FLAPS_MOST) if welcomed else following
