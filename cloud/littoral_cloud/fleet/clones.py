"""One identity that runs twice: a node's folder was copied to a second machine. Pure.

Two signs of it, each enough:

1. A node counts its sessions on its disk, so the count of each start is larger than all before. A copy counts on from the same
   number: another start comes with a count that was there already (`repeated`). Coordinators see it in the node's presence.
2. Two starts take turns at the session of one coordinator (`came`).

Each start of an agent draws a boot id. A start that gave way to another one has usually ended, and never comes back. If it does
come back, two agents run with one identity. The coordinator cannot tell which of them is the copy, so both get the session in
turn. The one that loses it waits longer each time, so that neither fights for it and neither loses it for ever.

Example: A connects; B connects, A gives way; A comes back, B gives way and waits 30 s; B comes back, A waits 60 s; and so on, up
to 900 s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from littoral.backoff import Backoff

REMEMBERED_S = 3600.0
"""A node counts as running twice for this long after the last sign of it."""


class Came(Protocol):
    """Of littoral_cloud.fleet.records.Presence. `connection` 0: of an agent that does not count."""

    @property
    def boot_id(self) -> str: ...
    @property
    def connection(self) -> int: ...


def repeated(before: Came, now: Came) -> bool:
    """Whether another start than the one before comes with a count that is not larger."""
    counted = bool(before.connection and now.connection)
    return counted and before.boot_id != now.boot_id and now.connection <= before.connection


BACKOFF = Backoff(30.0, 900.0)
TWINS_MOST = 4


@dataclass(frozen=True, slots=True)
class Start:
    """Of an agent, that had the session. `address`: where it called from; `until`: seconds since 1970-01-01 UTC."""

    boot_id: str
    address: str
    until: float


@dataclass(frozen=True, slots=True)
class SessionTurns:
    """At one node's session.

    Args:
        starts: that had it, the one that has it now is the last.
        taken_back: times that one of them came again after another had had it, since the last quiet hour.
        at: the last of these times.
    """

    starts: tuple[Start, ...] = ()
    taken_back: int = 0
    at: float = 0.0

    @property
    def wait_s(self) -> float:
        """For how long the session that gives way now must stay away; 0: it decides itself."""
        return BACKOFF.bound_s(self.taken_back - 1) if self.taken_back else 0.0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of all that take turns; empty: the node runs once."""
        return tuple(start.address for start in self.starts) if self.taken_back else ()


def came(turns: SessionTurns, start: Start, *, was_open: bool) -> SessionTurns:
    """Adds a start of the agent, whose hello has just arrived.

    Args:
        start: `until` is now.
        was_open: the session of the start before is open still.
    """
    now = start.until
    starts = turns.starts
    if was_open and starts:
        starts = (*starts[:-1], replace(starts[-1], until=now))
    starts = tuple(each for each in starts if now - each.until < REMEMBERED_S)
    before = starts[-1].boot_id if starts else ""
    again = any(each.boot_id == start.boot_id for each in starts) and before != start.boot_id
    fresh = now - turns.at < REMEMBERED_S
    others = tuple(each for each in starts if each.boot_id != start.boot_id)
    taken_back = (turns.taken_back if fresh else 0) + again
    return SessionTurns((*others, start)[-TWINS_MOST:], taken_back, now if again else turns.at)
