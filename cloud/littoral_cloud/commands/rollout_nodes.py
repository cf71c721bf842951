"""What each node gets, or got, in one rollout, a page at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from littoral_cloud.app import Core
from littoral_cloud.fleet.records import Node, load
from littoral_cloud.retention.archive import FOLDER, find, find_all
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState, assignment_docs, assignment_id
from littoral_cloud.rollouts.eligibility import FITS_BUDGET
from littoral_cloud.rollouts.older import older_assignments
from littoral_cloud.rollouts.state import KIND, Rollout
from littoral_cloud.trust.people import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignedNode:
    """`words`: why it gets nothing or failed, or what changes for its clients."""

    node: str
    wave: int | None
    candidate: str | None
    state: AssignmentState
    changed: bool
    went_back: bool
    words: str


async def assigned_nodes(
    core: Core, rollout_id: str, rollout: Rollout, scope: Scope, *, after: str, most: int
) -> tuple[tuple[AssignedNode, ...], str]:
    """At most `most` nodes behind this node id, by their ids: wave and artifact of each, or why it gets nothing. On the first
    page also the first of those that each rule keeps from the release. And the node id behind which the next page begins; "" at
    the end. Nodes outside of the scope are left out."""
    given = await _assignments(core, rollout_id, after, most)
    own = FITS_BUDGET if given else ""  # these have an assignment each, but where the rollout came to no plan
    first = [] if after else [no for rule in rollout.refused if rule.rule != own for no in rule.first]
    node_ids = [*(a.node_id for a in given), *(no.node_id for no in first)]
    docs = await core.ledger.get_many([("node", node_id) for node_id in node_ids])
    nodes = {doc.id: load(Node, doc) for doc in docs if doc is not None}

    def seen(node_id: str) -> bool:
        return not scope.labels or (node_id in nodes and scope.has_node(nodes[node_id].labels))

    def name(node_id: str) -> str:
        return nodes[node_id].name if node_id in nodes else node_id

    in_order = sorted(given, key=lambda a: (a.state is AssignmentState.REFUSED, a.wave == 0, a.wave, a.order))
    rows = [_row(name(a.node_id), a) for a in in_order if seen(a.node_id)]
    rows += [_refused(name(no.node_id), f"{no.rule}: {no.reason}") for no in first if seen(no.node_id)]
    return tuple(rows), given[-1].node_id if len(given) == most else ""


async def _assignments(core: Core, rollout_id: str, after: str, most: int) -> list[Assignment]:
    doc = await core.ledger.get(KIND, rollout_id)
    if doc is None:
        return await asyncio.to_thread(_archived, core, rollout_id, after, most)
    if older := older_assignments(rollout_id, doc.body):
        return _page(list(older), after, most)
    return [load(Assignment, doc) async for doc in assignment_docs(core.ledger, rollout_id, after=after, most=most)]


def _archived(core: Core, rollout_id: str, after: str, most: int) -> list[Assignment]:
    folder = core.settings.data_dir / FOLDER
    found = find(folder, KIND, rollout_id)
    older = older_assignments(rollout_id, found.doc.body) if found is not None else ()
    docs = find_all(folder, ASSIGNMENT, assignment_id(rollout_id, ""))
    return _page([*older, *(load(Assignment, doc) for doc in docs)], after, most)


def _page(given: list[Assignment], after: str, most: int) -> list[Assignment]:
    return sorted((a for a in given if a.node_id > after), key=lambda a: a.node_id)[:most]


def _row(node: str, a: Assignment) -> AssignedNode:
    if a.state is AssignmentState.REFUSED:
        return _refused(node, f"{FITS_BUDGET}: {a.why}")
    return AssignedNode(
        node=node,
        wave=a.wave or None,
        candidate=a.name,
        state=a.state,
        changed=a.touched,
        went_back=a.restore_generation > 0,
        words=a.why or "; ".join(a.interface),
    )


def _refused(node: str, words: str) -> AssignedNode:
    return AssignedNode(
        node=node, wave=None, candidate=None, state=AssignmentState.REFUSED, changed=False, went_back=False, words=words
    )
