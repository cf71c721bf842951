"""For how many nodes the limit of open files leaves room, and that it is as high as it may be.

A process that has used up its files fails at the next open: of Redis, a blob or a file to sync. So a part of the limit is
reserved, the listeners take no more connections than are left, and a node for which there is no room gets a refusal.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

from littoral.errors import BadInput

RESERVE = 128
"""Files that are never a node's: Redis, its own files, child processes and their pipes."""

FILES_A_NODE = 3
"""Its session; and while it fetches or sends a blob, a second connection and the blob's file."""

_SHARE_OF_ENROLMENT = 0.25
_MOST = 1 << 20
"""The limit is raised no higher, also where more is allowed: each file costs the kernel a little."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a limit of open files allows. Connections are counted a listener."""

    limit: int
    nodes: int
    fleet_connections: int
    enrolment_connections: int

    def __str__(self) -> str:
        return f"{self.limit} open files: room for {self.nodes} nodes"


def room_for(limit: int) -> ConnectionLimits:
    """Raises BadInput where a limit is too low for a coordinator."""
    free = limit - RESERVE
    enrolments = max(1, int(free * _SHARE_OF_ENROLMENT))
    nodes = (free - enrolments) // FILES_A_NODE
    if nodes < 1:
        raise BadInput(
            f"open files: the limit of {limit} is too low, {RESERVE} are reserved for Redis and the like",
            hint="ulimit -n 1024, or LimitNOFILE= of the unit; thousands for a large fleet",
        )
    return ConnectionLimits(limit, nodes, free - enrolments - nodes, enrolments)


def raise_limit() -> tuple[int, int]:
    """Raises the soft limit of this process, and of those that it starts, to the hard one. Gives the soft one before and now."""
    soft, hard = limits()
    wanted = max(soft, min(hard, _MOST))
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return soft, wanted


def limits() -> tuple[int, int]:
    """(soft, hard) limit of open files of this process; unlimited is the most that is ever asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return tuple(_MOST if limit == resource.RLIM_INFINITY else limit for limit in (soft, hard))  # type: ignore[return-value]
