"""How many nodes wait for their Welcome at one time, and when those that are sent away may come again. Pure.

A node that is sent away has cost both sides a TLS handshake for nothing, more than its Welcome costs. So as many wait in line as
have patience, at the pace at which Welcomes really leave; the others get a time at which half of that line will have gone.

Rules, in order:

1. `AT_ONCE` nodes are greeted at one time, the others wait in the order in which their hellos came.
2. The line is as long as the nodes that are greeted in `LINE_S`; where it is full, a node is sent away.
3. Each of those gets another time: `LINE_S` / 2 from now at the earliest, one after another at the same pace.

Example: 2,000 nodes come in 8 s to a machine that greets 100 a second. 800 wait in line at most; the others get a time: 4 s
from then, 4.01 s, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass

WELCOMES_A_SECOND = 250
"""That one processor manages: so quickly a fleet is asked to come back."""
AT_ONCE = 32
"""Nodes whose documents are read and written at one time."""
LINE_S = 8.0
"""A node has 20 s of patience, its handshake among them."""
LINE_LEAST = 200
"""Nodes that may wait on the slowest machine."""
_SLOWEST_S = 1.0
_SMOOTHED = 64


@dataclass(frozen=True, slots=True)
class WelcomePace:
    """Of the Welcomes while others wait.

    Args:
        seconds: between two.
        left_at: when the last one left, where others waited behind it.
    """

    seconds: float = 1 / WELCOMES_A_SECOND
    left_at: float | None = None

    @property
    def line_most(self) -> int:
        """Nodes that may wait."""
        return max(LINE_LEAST, int(LINE_S / self.seconds))


def after_welcome(pace: WelcomePace, now: float, *, others_wait: bool) -> WelcomePace:
    """The exponential mean of the last times between two Welcomes; a time in which no node waited does not count."""
    seconds = pace.seconds
    if pace.left_at is not None:
        seconds += (min(now - pace.left_at, _SLOWEST_S) - seconds) / _SMOOTHED
    return WelcomePace(seconds, now if others_wait else None)


def next_turn(waiting: int, last_turn: float, now: float, pace: WelcomePace) -> float | None:
    """When a node that comes now may come again, each at another time; None: it waits in line.

    Args:
        waiting: nodes in the line.
        last_turn: what the node before got that was sent away; 0: there was none.
    """
    if waiting < pace.line_most:
        return None
    return max(now + LINE_S / 2, last_turn + pace.seconds)
