"""Whether a node is there: online, away for a moment, or offline. Pure.

A connection that ends says little: the coordinator may have been restarted, or the agent, or a cable was pulled. The node is
`away` for as long as it can take to come back by itself (three heartbeats until somebody notices, and the longest backoff), and
`offline` only after that. What is away is waited for; what is offline is not.
"""

from __future__ import annotations

from enum import StrEnum

from littoral.transport import LONGEST_BACKOFF_S, SILENT_INTERVALS
from littoral_cloud.fleet.records import Presence


class There(StrEnum):
    ONLINE = "online"
    AWAY = "away"
    OFFLINE = "offline"


def patience_s(heartbeat_interval_s: float, spread_s: float = 0.0) -> float:
    """For how long a node that went is away, not offline.

    Args:
        spread_s: over which time the coordinator asks its nodes to come back; see `Welcome.reconnect_spread_s`.
    """
    return SILENT_INTERVALS * heartbeat_interval_s + max(LONGEST_BACKOFF_S, spread_s)


def there(presence: Presence | None, now: float) -> There:
    """Args:
    presence: None: it has enrolled and never came.
    now: seconds since 1970-01-01 UTC.
    """
    if presence is None:
        return There.OFFLINE
    if presence.connected:
        return There.ONLINE
    return There.AWAY if now < presence.gone_at else There.OFFLINE
