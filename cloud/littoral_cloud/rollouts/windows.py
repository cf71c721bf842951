"""When a node takes updates: in its own maintenance window, or in the one that the rollout has in its place. Pure.

The node's setting and its time zone come with its hello. A node that says nothing takes updates at any time; one that names no
zone, as agents of before do, lives in UTC. See littoral.maintenance for the rules of a window.
"""

from __future__ import annotations

from littoral import maintenance
from littoral.maintenance import parse_window, zone_named
from littoral_cloud.rollouts.fleet_node import FleetNode


def opens_at(node: FleetNode, now: float, window: str = "") -> float:
    """From when on the node takes an update: now, where its window is open; seconds since 1970-01-01 UTC.

    Args:
        window: in place of the node's own; "": that one.

    Raises BadInput where its window cannot be read, or its time zone is not known here.
    """
    if node.presence is None or not (text := window or node.presence.update_window):
        return now
    parsed = parse_window(text, "update window")
    return maintenance.opens_at(parsed, zone_named(node.presence.time_zone, "time zone"), now) if parsed.parts else now
