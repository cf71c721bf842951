"""What a rollout's decision is made from: one reading of the ledger, as frozen values."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from littoral.budget import Measured
from littoral.errors import NoFit, NotFound
from littoral_cloud.fleet.handed import KIND as HANDED
from littoral_cloud.fleet.handed import Handed
from littoral_cloud.fleet.ledger import Doc, Ledger
from littoral_cloud.fleet.measurements import MeasurementIndex, MeasurementRecord
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, joined_docs
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.quarantine import NodeTrouble
from littoral_cloud.fleet.records import (
    Artifact,
    Desired,
    Node,
    Presence,
    Release,
    Reported,
    load,
    models_on,
)
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, assignment_docs, ids_of
from littoral_cloud.rollouts.book import AssignmentBook
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.older import older_assignments
from littoral_cloud.rollouts.state import ENDED, Rollout, RolloutState, limit_s

PREVIEW = "(preview)"
"""The id of a rollout that is not written. No other has brackets in its id."""
MANY_NODES = 300
"""With more, a walk over all of them takes so long that sessions and leases would wait for it: a thread makes it."""
NODE_KINDS = ("node", PRESENCE, PROFILE, "desired", "reported", TROUBLE, HANDED)


@dataclass(slots=True)
class KnownAnswers:
    """Answers that are the same for all nodes that are alike, each worked out once; see littoral_cloud.rollouts.eligibility."""

    changes: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)  # of the interface; by served and by candidate
    refusals: dict[Hashable, tuple[str, str] | None] = field(default_factory=dict)  # rule and reason
    choices: dict[Hashable, Measured | NoFit] = field(default_factory=dict)
    measured: int = 0  # version of the measurements that `choices` were made from


@dataclass(frozen=True)
class RolloutView:
    rollout_id: str
    generation: int  # of the rollout's document
    rollout: Rollout
    candidates: Sequence[Artifact]  # of the release
    artifacts: Mapping[str, Artifact]  # all that are known, by manifest digest
    nodes: Mapping[str, FleetNode]  # by node id
    measurements: MeasurementIndex
    others: Mapping[str, Rollout]  # the other rollouts that have not ended, by id
    assignments: AssignmentBook = field(default_factory=AssignmentBook)
    behind_s: float = 0.0  # how old the oldest change is that this look does not know yet
    approval_above: float = 1.0  # a rollout that could reach more of the fleet needs approval

    @property
    def is_long(self) -> bool:
        """Whether its decision walks over all nodes, and they are many; in the other states it takes a batch."""
        return len(self.nodes) > MANY_NODES and self.rollout.state in (RolloutState.PENDING, RolloutState.MEASURING)

    def standing_still(self) -> RolloutView:
        """The same, for a thread: its nodes do not change with the view."""
        return replace(self, nodes=dict(self.nodes))

    @cached_property
    def named(self) -> frozenset[str]:
        """Ids of the nodes that the rollout was started for; empty: for every node that it fits."""
        return frozenset(self.rollout.policy.nodes)

    @cached_property
    def digests(self) -> frozenset[str]:
        """Manifest digests of the candidates."""
        return frozenset(candidate.manifest_digest for candidate in self.candidates)

    @cached_property
    def known(self) -> KnownAnswers:
        return KnownAnswers()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One reading of all that rollouts look at; `of` cuts out what one of them sees."""

    rollouts: Mapping[str, tuple[int, Rollout]]  # those that have not ended: generation and record, by id
    releases: Mapping[str, Release]
    artifacts: Mapping[str, Artifact]
    nodes: Mapping[str, FleetNode]
    measurements: MeasurementIndex
    books: Mapping[str, AssignmentBook] = field(default_factory=dict)  # by rollout

    def of(self, rollout_id: str) -> RolloutView:
        """Raises NotFound where the rollout's release is not there."""
        generation, rollout = self.rollouts[rollout_id]
        if (release := self.releases.get(rollout.release_id)) is None:
            raise NotFound(f"rollout {rollout_id}: its release {rollout.release_id} is not there")
        return RolloutView(
            rollout_id,
            generation,
            rollout,
            tuple(self.artifacts[digest] for digest in release.artifacts if digest in self.artifacts),
            self.artifacts,
            self.nodes,
            self.measurements,
            {id: other for id, (_, other) in self.rollouts.items() if id != rollout_id and other.state not in ENDED},
            self.books.get(rollout_id) or AssignmentBook(rollout.model, self.nodes),
        )


KINDS = ("rollout", "release", "artifact", "measurement", *NODE_KINDS, ASSIGNMENT)


def snapshot_of(docs: Iterable[Doc], *, also: str = "") -> Snapshot:
    """The snapshot that these documents make; documents of other kinds than KINDS are passed over. Pure.

    Args:
        also: a rollout that is looked at even when it has ended.
    """
    by_kind: dict[str, dict[str, Doc]] = {kind: {} for kind in KINDS}
    for doc in docs:
        by_kind.get(doc.kind, {})[doc.id] = doc
    rollouts = {id: (doc.generation, load(Rollout, doc)) for id, doc in by_kind["rollout"].items()}
    rollouts = {id: held for id, held in rollouts.items() if held[1].state not in ENDED or id == also}
    nodes = nodes_of(by_kind)
    books = {id: book_of(rollout, nodes) for id, (_, rollout) in rollouts.items()}
    for doc in by_kind[ASSIGNMENT].values():
        rollout_id, node_id = ids_of(doc.id)
        if rollout_id in books:
            books[rollout_id].put(node_id, doc.generation, load(Assignment, doc))
    for id, book in books.items():  # as coordinators before wrote it
        for a in older_assignments(id, by_kind["rollout"][id].body):
            book.put(a.node_id, 0, a)
    return Snapshot(
        rollouts,
        {id: load(Release, doc) for id, doc in by_kind["release"].items()},
        {id: load(Artifact, doc) for id, doc in by_kind["artifact"].items()},
        nodes,
        MeasurementIndex(load(MeasurementRecord, doc) for doc in by_kind["measurement"].values()),
        books,
    )


def book_of(rollout: Rollout, nodes: Mapping[str, FleetNode]) -> AssignmentBook:
    return AssignmentBook(rollout.model, nodes, limit_s(rollout.policy, RolloutState.WAVE), rollout.policy.defer_s)


async def read_one(ledger: Ledger, rollout_id: str) -> RolloutView | None:
    """What one rollout sees, also when it has ended; None: there is none.

    Until it has planned, any node of the fleet may get its release. From then on only nodes that have an assignment are read,
    and the first of those that were left out, which its document names.
    """
    rollouts = {doc.id: doc for doc in await ledger.all("rollout")}
    if (mine := rollouts.get(rollout_id)) is None:
        return None
    docs = [*rollouts.values(), *[doc async for doc in assignment_docs(ledger, rollout_id)]]
    rollout = load(Rollout, mine)
    planned = rollout.state not in (RolloutState.PENDING, RolloutState.MEASURING)
    for kind in ("release", "artifact", "measurement", *(() if planned else NODE_KINDS)):
        docs += await ledger.all(kind)
    if planned:
        ids = {ids_of(doc.id)[1] for doc in docs if doc.kind == ASSIGNMENT}
        ids |= {a.node_id for a in older_assignments(rollout_id, mine.body)}
        ids |= {no.node_id for rule in rollout.refused for no in rule.first}
        found = await ledger.get_many([(kind, id) for id in sorted(ids) for kind in NODE_KINDS])
        docs += [doc for doc in found if doc is not None]
    return snapshot_of(docs, also=rollout_id).of(rollout_id)


async def measurements(ledger: Ledger) -> MeasurementIndex:
    return MeasurementIndex([load(MeasurementRecord, doc) for doc in await ledger.all("measurement")])


async def nodes(ledger: Ledger, *only: str) -> Mapping[str, FleetNode]:
    """By id; `only`: these alone, as far as they are there."""
    by_kind: dict[str, dict[str, Doc]] = {}
    for kind in NODE_KINDS:
        found = [await ledger.get(kind, id) for id in only] if only else await ledger.all(kind)
        by_kind[kind] = {doc.id: doc for doc in found if doc is not None}
    return nodes_of(by_kind)


def nodes_of(by_kind: Mapping[str, Mapping[str, Doc]]) -> dict[str, FleetNode]:
    """By id; `by_kind`: documents by id, of NODE_KINDS."""
    views = {}
    for id, doc in by_kind["node"].items():
        reported, trouble = by_kind["reported"].get(id), by_kind[TROUBLE].get(id)
        view = view_of(
            load(Node, doc),
            joined_docs(by_kind[PRESENCE].get(id), by_kind[PROFILE].get(id)),
            by_kind["desired"].get(id),
            load(Reported, reported) if reported else None,
            by_kind[HANDED].get(id),
        )
        views[id] = replace(view, quarantine=load(NodeTrouble, trouble).quarantine) if trouble else view
    return views


def view_of(
    node: Node, presence: Presence | None, desired: Doc | None, reported: Reported | None, handed: Doc | None = None
) -> FleetNode:
    """Its budgets are bounded by each model's quota, with the models that are on it or are to come."""
    wanted = load(Desired, desired) if desired else Desired()
    if presence is not None:
        presence = presence.sharing(models_on(wanted, reported))
    generation = desired.generation if desired else 0
    return FleetNode(node, presence, wanted, generation, reported, load(Handed, handed) if handed else None)
