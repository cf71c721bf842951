"""How many nodes are greeted at one time, and when those that are sent away may come again. Pure."""

from __future__ import annotations

BUSY_RETRY_S = 1.0
WELCOMES_A_SECOND = 250
"""That one processor manages: so quickly a fleet is asked to come back."""
GREETINGS_MOST = 200
"""Nodes between their connection and their Welcome. More would wait for longer than they have patience, for nothing."""


def next_turn(greeting: int, last_turn: float, now: float, *, most: int = GREETINGS_MOST) -> float | None:
    """When a node that comes now may come again, each at another time; None: it is greeted at once.

    Args:
        greeting: nodes that are being greeted.
        last_turn: what the node before got that was sent away; 0: there was none.
    """
    if greeting < most:
        return None
    return max(now + BUSY_RETRY_S, last_turn + 1 / WELCOMES_A_SECOND)
