"""What a node reads whose session does not begin, or ends, for a reason of its coordinator."""

from __future__ import annotations

from littoral_cloud.fleet.clones import SessionTurns
from littoral_cloud.fleet.sessions import Reason, SessionRefusal

DRAIN_RETRY_S = 2.0
FULL_RETRY_S = 60.0


def shutting_down(after_s: float = DRAIN_RETRY_S) -> SessionRefusal:
    """Args:
    after_s: when this node shall connect again: to another coordinator, if it knows one.
    """
    return SessionRefusal(Reason.UNAVAILABLE, "this coordinator is shutting down", after_s)


def full(nodes: int, files: int) -> SessionRefusal:
    """Args:
    nodes: that are connected.
    files: that may be open.
    """
    detail = (
        f"this coordinator holds {nodes} nodes, as many as its limit of {files} open files allows: "
        "its operator may raise it (ulimit -n, LimitNOFILE=) and start it again"
    )
    return SessionRefusal(Reason.UNAVAILABLE, detail, FULL_RETRY_S)


def superseded(node_id: str, turns: SessionTurns) -> SessionRefusal:
    if not turns.taken_back:
        return SessionRefusal(Reason.SUPERSEDED, f"node {node_id} has opened another session")
    detail = f"node {node_id} runs twice, from {' and '.join(turns.addresses)}: stop one, empty its folder, and enrol it anew"
    return SessionRefusal(Reason.SUPERSEDED, detail, turns.wait_s)
