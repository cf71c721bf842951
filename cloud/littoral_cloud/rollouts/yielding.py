"""Rollouts of one model wait for each other, but not for a maintenance window. Pure.

Rules, in order:

1. A PENDING rollout that only waits for others of its model says so (`asks_turn`).
2. A rollout all of whose nodes have answered, and whose next turns wait for maintenance windows alone, yields to it: the nodes
   that the other was started for are the other's, and are dropped here.
3. Then the other begins. Nodes that it was not started for stay here, and have their turn when their windows open.
4. Where no node is left the rollout ends: SUCCEEDED where nodes have its release, else FAILED. Unless half of its nodes had their
   turn, no other node joins its release later (`Rollout.proved`).

So no node is in two rollouts that could both update it. Example: a rollout to all waits for a camera in Lyon until Saturday. One
to site=lyon starts on Thursday: the camera is that one's from then on.
"""

from __future__ import annotations

from itertools import islice

from littoral_cloud.fleet.cohorts import matches
from littoral_cloud.rollouts.assignments import BATCH_NODES
from littoral_cloud.rollouts.events import NodesYielded
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import Rollout, RolloutState


def yields(seen: RolloutView) -> NodesYielded | None:
    """What a rollout gives up whose turns wait for maintenance windows alone; None: no other one asks."""
    if (to := asking(seen)) is None:
        return None
    policy = seen.others[to].policy
    named = frozenset(policy.nodes)
    nodes = (node for a in seen.assignments.turns() if (node := seen.nodes.get(a.node_id)) is not None)
    its = (n.id for n in nodes if (not named or n.id in named) and matches(policy.where, n.node, n.presence))
    found = tuple(islice(its, BATCH_NODES + 1))
    return NodesYielded(to, found[:BATCH_NODES], last=len(found) <= BATCH_NODES)


def asking(seen: RolloutView) -> str | None:
    """The rollout that asks for its turn, and to which this one has not yielded; of several the oldest."""
    mine = seen.rollout
    asks = [
        (o.created_at, id) for id, o in seen.others.items() if o.model == mine.model and id not in mine.yielded_to and _asks(o)
    ]
    return min(asks)[1] if asks else None


def _asks(other: Rollout) -> bool:
    return other.state is RolloutState.PENDING and other.asks_turn and not other.paused_by and not other.aborted_by


def yielded_words(to: str) -> str:
    """Why a node is dropped."""
    return f"rollout {to} takes it over: its maintenance window was closed"
