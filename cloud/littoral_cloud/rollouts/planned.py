"""What a plan writes: assignments of its nodes, the nodes that each rule keeps out, and what nodes are asked to measure. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from littoral_cloud.fleet.records import Desired
from littoral_cloud.rollouts.assignments import Assignment, Ineligible, refused_assignment
from littoral_cloud.rollouts.eligibility import FITS_BUDGET
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import FIRST_NODES, RefusedByRule


def planned_docs(
    seen: RolloutView, assignments: Iterable[Assignment], refused: Iterable[Ineligible], now: float
) -> dict[str, Assignment | None]:
    """The documents that differ from those that are there: of a plan that was not written to its end, and of turns that were."""
    wanted = {a.node_id: replace(a, at=now) for a in assignments}
    for no in refused:
        if no.rule == FITS_BUDGET:  # the one rule that somebody asks about later, node by node: rechoice.py
            wanted[no.node_id] = replace(refused_assignment(seen.rollout_id, no), at=now)
    held = dict(seen.assignments.held)
    changed: dict[str, Assignment | None] = {id: None for id in held if id not in wanted}
    return changed | {id: a for id, a in wanted.items() if id not in held or replace(held[id][1], at=now) != a}


def by_rule(refused: Iterable[Ineligible]) -> tuple[RefusedByRule, ...]:
    """In order of the rules' names."""
    found: defaultdict[str, list[Ineligible]] = defaultdict(list)
    for no in sorted(refused, key=lambda no: no.node_id):
        found[no.rule].append(no)
    return tuple(RefusedByRule(rule=rule, nodes=len(nos), first=tuple(nos[:FIRST_NODES])) for rule, nos in sorted(found.items()))


def asked_to_measure(seen: RolloutView, ask: Mapping[str, Sequence[str]]) -> dict[str, Desired]:
    """Args:
    ask: manifest digests to measure, by node id.
    """
    changed = {}
    for node_id, digests in ask.items():
        desired = seen.nodes[node_id].desired
        changed[node_id] = replace(desired, benchmarks=tuple(dict.fromkeys((*desired.benchmarks, *digests))))
    return changed


def without_trials(seen: RolloutView) -> dict[str, Desired]:
    ours = seen.digests
    changed = {}
    for node_id, node in seen.nodes.items():
        if node.desired.benchmarks and not ours.isdisjoint(node.desired.benchmarks):
            changed[node_id] = replace(node.desired, benchmarks=tuple(t for t in node.desired.benchmarks if t not in ours))
    return changed
