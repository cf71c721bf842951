"""Which nodes measure which candidates, before a plan is made from what they measured. Pure.

Rules, in order:

1. A candidate is measured for a hardware class once it ran on one machine of the class. A failure counts for its node alone.
2. Where a class lacks a candidate, at most MEASURERS of its nodes are asked: connected ones first, then those that are away.
3. Another node is asked in place of one that failed, is offline, or left the fleet.
4. Where none of those that were asked has answered after a third of `measure_s`, MEASURERS more are asked.
5. A class in which UNABLE_AFTER nodes failed a candidate, and none ran it, cannot run it: no other node of it is asked.
6. A node of unknown class ("") measures for itself.

Example: of 2,000 nodes of one class three are asked to measure four candidates. The plan is made once each candidate ran on one
of the three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from littoral_cloud.fleet.limits import takes
from littoral_cloud.fleet.presence import There
from littoral_cloud.fleet.records import Artifact
from littoral_cloud.rollouts.eligibility import offers, refusal
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import RolloutState
from littoral_cloud.rollouts.wording import first_of

MEASURERS = 3
"""Nodes of one class that are asked to measure a candidate: a rollout does not depend on one slow or lost node."""

UNABLE_AFTER = 2 * MEASURERS


@dataclass(frozen=True, slots=True)
class StillToMeasure:
    """What nodes have still to measure."""

    ask: Mapping[str, tuple[str, ...]]  # manifest digests by node id: what nodes are to be asked for in addition
    nodes: frozenset[str]  # node ids: those that were asked and have not answered, and those in `ask`
    waits_for: tuple[str, ...]  # the same in an operator's words, a clause for each class
    until: float  # when the first of `nodes` that is away will be offline, or more are asked; infinite: neither


def unmeasured(node: FleetNode, seen: RolloutView) -> tuple[str, ...]:
    """Candidates that this node can take, and that neither it nor its hardware class has measured; manifest digests."""
    if node.presence is None:
        return ()
    lacking = _lacking(node.presence.hardware_class, seen)
    return tuple(candidate.manifest_digest for candidate in lacking if _can_measure(node, candidate, seen))


def still_to_measure(seen: RolloutView, now: float) -> StillToMeasure:
    """Nodes that are offline are asked nothing."""
    ask: dict[str, list[str]] = {}
    measurers: dict[str, FleetNode] = {}
    clauses: list[str] = []
    more_at = _more_at(seen, now)
    most = MEASURERS if now < more_at else 2 * MEASURERS
    for kind, lacking, nodes in _classes(seen, now):
        chosen = {candidate.manifest_digest: _measurers(candidate, nodes, seen, most) for candidate in lacking}
        mine = {node.id: node for those in chosen.values() for node in those}
        for digest, those in chosen.items():
            for node in those:
                if digest not in node.desired.benchmarks:
                    ask.setdefault(node.id, []).append(digest)
        if mine:
            measurers |= mine
            clauses.append(_clause(kind, sum(map(bool, chosen.values())), mine.values(), seen))
    away = [node.presence.gone_at for node in measurers.values() if node.presence is not None and not node.connected]
    wanted = {node_id: tuple(digests) for node_id, digests in ask.items()}
    if now < more_at:
        away.append(more_at)
    return StillToMeasure(wanted, frozenset(measurers), first_of(clauses), min(away, default=float("inf")))


def _more_at(seen: RolloutView, now: float) -> float:
    """When more nodes are asked. The time counts from the start of MEASURING."""
    rollout, whole = seen.rollout, seen.rollout.policy.measure_s
    began = rollout.deadline - whole if rollout.state is RolloutState.MEASURING else now
    return began + whole / 3


def _classes(seen: RolloutView, now: float) -> Iterable[tuple[str, Sequence[Artifact], Sequence[FleetNode]]]:
    """Each class that lacks a candidate, what it lacks, and its nodes that are not offline, in the order in which they are
    asked. Each node of unknown class is a class of its own."""
    lacking: dict[str, Sequence[Artifact]] = {}
    nodes: dict[tuple[str, str], list[FleetNode]] = {}
    for node_id, node in seen.nodes.items():
        if node.presence is None:
            continue
        kind = node.presence.hardware_class
        if kind not in lacking:
            lacking[kind] = _lacking(kind, seen)
        if lacking[kind] and node.there(now) is not There.OFFLINE and refusal(node, seen) is None:
            nodes.setdefault((kind, "" if kind else node_id), []).append(node)
    for (kind, _), those in nodes.items():
        yield kind, lacking[kind], sorted(those, key=lambda node: (not node.connected, node.id))


def _lacking(kind: str, seen: RolloutView) -> Sequence[Artifact]:
    """Candidates that ran on no machine of this class, and that it may be able to run."""
    known = seen.measurements
    return [
        c
        for c in seen.candidates
        if known.of_class(c.manifest_digest, kind) is None and known.failures_in(c.manifest_digest, kind) < UNABLE_AFTER
    ]


def _measurers(candidate: Artifact, nodes: Sequence[FleetNode], seen: RolloutView, most: int) -> list[FleetNode]:
    """Those that were asked and may still answer, and as many more as are needed."""
    digest = candidate.manifest_digest
    asked = [node for node in nodes if digest in node.desired.benchmarks and _can_measure(node, candidate, seen)]
    others = (node for node in nodes if digest not in node.desired.benchmarks and _can_measure(node, candidate, seen))
    return [*asked, *islice(others, max(0, most - len(asked)))]


def _can_measure(node: FleetNode, candidate: Artifact, seen: RolloutView) -> bool:
    """It could get the candidate, and has not run it."""
    return (
        node.presence is not None
        and seen.measurements.of_node(candidate.manifest_digest, node.id) is None
        and takes(candidate, node.presence)
        and offers(candidate, node, seen)
    )


def _clause(kind: str, candidates: int, nodes: Iterable[FleetNode], seen: RolloutView) -> str:
    names = first_of(sorted(node.name for node in nodes))
    whose = f" for {kind}" if kind else ""
    return f"{', '.join(names)} to measure {candidates} of {len(seen.candidates)} candidates{whose}"
