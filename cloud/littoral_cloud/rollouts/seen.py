"""What a rollout's decision is made from: one reading of the ledger, as frozen values."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from littoral.budget import Budget, Measured
from littoral.errors import NoFit, NotFound
from littoral.quota import within_quotas
from littoral_cloud.fleet.ledger import Doc, Ledger
from littoral_cloud.fleet.measurements import MeasurementIndex, MeasurementRecord
from littoral_cloud.fleet.presence import There, there
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, Profile, joined_docs, with_profile
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.quarantine import NodeTrouble, Quarantine
from littoral_cloud.fleet.records import (
    Artifact,
    Desired,
    DesiredModel,
    Node,
    Presence,
    Release,
    Reported,
    ReportedModel,
    load,
    models_on,
)
from littoral_cloud.fleet.view import FleetView, Held
from littoral_cloud.rollouts.state import ENDED, Rollout

_NOTHING = Desired()
SHARED_BUDGETS = 4096
"""That are remembered, of different profiles and models."""
NODE_KINDS = ("node", PRESENCE, PROFILE, "desired", "reported", TROUBLE)


@dataclass(frozen=True, slots=True)
class FleetNode:
    node: Node
    presence: Presence | None = None
    desired: Desired = field(default_factory=Desired)
    desired_generation: int = 0  # of the document; 0: nothing was ever wanted of it
    reported: Reported | None = None
    quarantine: Quarantine | None = None

    @property
    def id(self) -> str:
        return self.node.node_id

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def connected(self) -> bool:
        return self.presence is not None and self.presence.connected

    def there(self, now: float) -> There:
        return there(self.presence, now)

    def wanted(self, model: str) -> DesiredModel | None:
        return self.desired.models.get(model)

    def report(self, model: str) -> ReportedModel | None:
        return self.reported.models.get(model) if self.reported else None

    def serving(self, model: str) -> str:
        """Manifest that answers requests, by the node's last report; "": none."""
        report = self.report(model)
        return report.serving if report else ""


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
    behind_s: float = 0.0  # how old the oldest change is that this look does not know yet

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
        )


KINDS = ("rollout", "release", "artifact", "measurement", *NODE_KINDS)


def snapshot_of(docs: Iterable[Doc], *, also: str = "") -> Snapshot:
    """The snapshot that these documents make; documents of other kinds than KINDS are passed over. Pure.

    Args:
        also: a rollout that is looked at even when it has ended.
    """
    by_kind: dict[str, dict[str, Doc]] = {kind: {} for kind in KINDS}
    for doc in docs:
        by_kind.get(doc.kind, {})[doc.id] = doc
    rollouts = {id: (doc.generation, load(Rollout, doc)) for id, doc in by_kind["rollout"].items()}
    return Snapshot(
        {id: held for id, held in rollouts.items() if held[1].state not in ENDED or id == also},
        {id: load(Release, doc) for id, doc in by_kind["release"].items()},
        {id: load(Artifact, doc) for id, doc in by_kind["artifact"].items()},
        nodes_of(by_kind),
        MeasurementIndex(load(MeasurementRecord, doc) for doc in by_kind["measurement"].values()),
    )


RECORDS: Mapping[str, type] = {
    "node": Node,
    PRESENCE: Presence,
    PROFILE: Profile,
    "desired": Desired,
    "reported": Reported,
    TROUBLE: NodeTrouble,
    "artifact": Artifact,
    "release": Release,
    "measurement": MeasurementRecord,
    "rollout": Rollout,
}
"""What a FleetView has to follow for a SeenFleet."""


class SeenFleet:
    """The view as rollouts see it: each node joined from its documents, again whenever one of them changed.

    Args:
        view: follows RECORDS; it does not run yet.
    """

    def __init__(self, view: FleetView) -> None:
        self.view = view
        self.nodes: dict[str, FleetNode] = {}
        self.measurements = MeasurementIndex()
        self._shared_budgets: dict[tuple[int, frozenset[str]], tuple[Profile, Mapping[str, Budget]]] = {}
        view.follow(NODE_KINDS, self._join)
        view.follow(("measurement",), self._index)

    def live_rollouts(self) -> dict[str, tuple[int, Rollout]]:
        """Those that have not ended: generation and record, by id, the oldest first."""
        live = [(id, held) for id, held in self.view.of("rollout").items() if held.record.state not in ENDED]
        live.sort(key=lambda each: (each[1].record.created_at, each[0]))
        return {id: (held.generation, held.record) for id, held in live}

    def of(self, rollout_id: str) -> RolloutView:
        """What one rollout sees now. Its nodes and measurements are the view's own, and change with it.

        Raises NotFound where the rollout's release is not there."""
        of = self.view.of
        snapshot = Snapshot(
            self.live_rollouts(),
            {id: held.record for id, held in of("release").items()},
            {id: held.record for id, held in of("artifact").items()},
            self.nodes,
            self.measurements,
        )
        return replace(snapshot.of(rollout_id), behind_s=self.view.behind_s)

    def _index(self, kind: str, id: str, held: Held[Any] | None) -> None:
        if held is None:
            self.measurements.remove(id)
        else:
            self.measurements.put(held.record)

    def _join(self, kind: str, id: str, held: Held[Any] | None) -> None:
        of = self.view.of
        if (node := of("node").get(id)) is None:
            self.nodes.pop(id, None)
            return
        held_presence, held_profile = of(PRESENCE).get(id), of(PROFILE).get(id)
        held_desired, held_reported = of("desired").get(id), of("reported").get(id)
        desired: Desired = held_desired.record if held_desired else _NOTHING
        reported: Reported | None = held_reported.record if held_reported else None
        presence: Presence | None = held_presence.record if held_presence else None
        if held_profile is None:  # earlier coordinators stored both in one
            presence = with_profile(presence, None)
            presence = presence.sharing(models_on(desired, reported)) if presence else None
        else:
            profile: Profile = held_profile.record
            presence = with_profile(presence, profile, self._budgets(profile, models_on(desired, reported)))
        trouble = of(TROUBLE).get(id)
        quarantine = trouble.record.quarantine if trouble else None
        desired_generation = held_desired.generation if held_desired else 0
        self.nodes[id] = FleetNode(node.record, presence, desired, desired_generation, reported, quarantine)

    def _budgets(self, profile: Profile, models: frozenset[str]) -> Mapping[str, Budget]:
        """As Presence.sharing: worked out once for all nodes that are alike, whose profile is one object."""
        key = (id(profile), models)
        if (known := self._shared_budgets.get(key)) is None or known[0] is not profile:
            if len(self._shared_budgets) >= SHARED_BUDGETS:
                self._shared_budgets.clear()
            known = self._shared_budgets[key] = (profile, within_quotas(profile.limits, profile.budgets, models))
        return known[1]


async def read(ledger: Ledger, *, also: str = "") -> Snapshot | None:
    """None where every rollout has ended: then nothing else is read. `also`: as in `snapshot_of`."""
    rollouts = await ledger.all("rollout")
    if not any(load(Rollout, doc).state not in ENDED or doc.id == also for doc in rollouts):
        return None
    others = [doc for kind in KINDS if kind != "rollout" for doc in await ledger.all(kind)]
    return snapshot_of([*rollouts, *others], also=also)


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
        )
        views[id] = replace(view, quarantine=load(NodeTrouble, trouble).quarantine) if trouble else view
    return views


def view_of(node: Node, presence: Presence | None, desired: Doc | None, reported: Reported | None) -> FleetNode:
    wanted = load(Desired, desired) if desired else Desired()
    return joined(node, presence, wanted, desired.generation if desired else 0, reported)


def joined(
    node: Node, presence: Presence | None, desired: Desired, desired_generation: int, reported: Reported | None
) -> FleetNode:
    """One node; its budgets are bounded by each model's quota, with the models that are on it or are to come."""
    if presence is not None:
        presence = presence.sharing(models_on(desired, reported))
    return FleetNode(node, presence, desired, desired_generation, reported)
