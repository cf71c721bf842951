"""What a scope with labels means for what concerns many nodes at once (docs/decisions/0059-a-scope-narrows-a-rollout.md).

Rules, in order:

1. A rollout that the caller starts goes to nodes of the scope alone: its filter gets the scope's labels.
2. A filter or a node that is outside is refused, with a line in the audit trail.
3. Only a rollout that goes to nodes of the scope alone may be steered.
4. What concerns every node, such as withdrawing a release, needs a scope without labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from littoral_cloud.fleet.cohorts import label_filter, parse_filter
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.records import Node, load
from littoral_cloud.rollouts.state import RolloutPolicy
from littoral_cloud.trust.people import Caller, Denied


def narrowed(caller: Caller, where: str) -> str:
    """The filter, for nodes of the caller's scope alone. Raises Denied where it asks for others."""
    given = dict(parse_filter(where)) if where else {}
    mine = _filter_of(caller.scope.labels)
    for key, value in mine.items():
        if given.get(key, value) != value:
            raise _outside(caller, f"--where: {key}={given[key]}")
    return ",".join(f"{key}={value}" for key, value in (given | mine).items())


async def needs_all_of(ledger: Ledger, caller: Caller, policy: RolloutPolicy, what: str) -> None:
    """Raises Denied where a rollout of this policy could reach a node outside of the caller's scope."""
    if not caller.scope.labels:
        return
    given = dict(parse_filter(policy.where)) if policy.where else {}
    if all(given.get(key) == value for key, value in _filter_of(caller.scope.labels).items()):
        return
    if not policy.nodes or not all(caller.scope.has_node(node.labels) for node in await _nodes(ledger, policy.nodes)):
        raise _outside(caller, what)


def needs_every_node(caller: Caller, what: str) -> None:
    """Raises Denied where the caller's scope has labels."""
    if caller.scope.labels:
        raise _outside(caller, what)


async def _nodes(ledger: Ledger, ids: Sequence[str]) -> list[Node]:
    return [load(Node, doc) for doc in await ledger.get_many([("node", id) for id in ids]) if doc is not None]


def _filter_of(labels: Mapping[str, str]) -> dict[str, str]:
    """Raises BadInput where a filter cannot say a label."""
    return dict(parse_filter(label_filter(labels), "scope")) if labels else {}


def _outside(caller: Caller, what: str) -> Denied:
    return Denied(f"{what}: is outside of the scope of {caller.name}: {caller.scope}", hint="ask an admin for a wider scope")
