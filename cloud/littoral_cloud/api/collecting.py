"""How often a coordinator's garbage collector looks through memory.

A full look takes 0.2 to 0.5 s with 2,000 sessions, and nothing is answered meanwhile. Python counts the objects that were made
since the last look; a message or a request makes some hundred that are gone when it is answered. With Python's own numbers many
of these are still there at a look, count as old ones, and full looks follow every few seconds.

Measured with 2,000 sessions and 200 requests a second to the API: the slowest hundredth of the answers took 360 ms before, and
70 ms with these numbers.
"""

from __future__ import annotations

import gc

YOUNG, MIDDLE, OLD = 50_000, 20, 20
"""Objects more than were freed before the first look; looks at the young before one at the middle; of these before a full one."""


def collect_rarely() -> None:
    """For this process, from now on."""
    gc.set_threshold(YOUNG, MIDDLE, OLD)
