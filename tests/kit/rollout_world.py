"""A fleet in virtual time: documents with generations, nodes with fates, and a controller that may die between any two commits.

Nothing of the rollout is imitated: `next_actions` decides on what is read back from JSON, and its Change is applied by the
simulator's own documents, whole and only if the expected generations are there.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from littoral.budget import Budget
from littoral.digest import digest_of
from littoral.errors import Conflict
from littoral_cloud.fleet.deferral import ReportedDeferral
from littoral_cloud.fleet.evidence import NodeEvidence
from littoral_cloud.fleet.handed import KIND as HANDED
from littoral_cloud.fleet.handed import Handed, after_handing
from littoral_cloud.fleet.ledger import Audit, Change, Doc, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.records import (
    Artifact,
    Desired,
    Enrolment,
    Node,
    Presence,
    Probation,
    ProbationResult,
    Release,
    Reported,
    ReportedModel,
    UpdateState,
    dump,
    load,
)
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, Ineligible
from littoral_cloud.rollouts.decide import next_actions
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.permission import begin_by
from littoral_cloud.rollouts.seen import Snapshot, snapshot_of
from littoral_cloud.rollouts.state import KIND, Rollout, RolloutPolicy, RolloutState
from littoral_cloud.simulate.memory_documents import MemoryDocuments

MODEL = "digits"
R = TypeVar("R")


def manifest(name: str) -> str:
    return digest_of(name.encode())


def artifact(name: str, *, runtime: str = "onnxruntime", accuracy: float = 0.98, size: int = 10_000, **fields: Any) -> Artifact:
    return Artifact(
        manifest_digest=manifest(name),
        model=MODEL,
        name=name,
        runtime=runtime,
        accuracy=accuracy,
        artifact_bytes=size,
        parameters=1,
        architecture={"name": "x"},
        **fields,
    )


@dataclass
class Fate:
    """What one node does. Times are seconds; `outcome` of a candidate that is not named is SUCCEEDED."""

    outcome: Mapping[str, UpdateState] = field(default_factory=dict)  # by manifest digest
    measures: Mapping[str, str] = field(default_factory=dict)  # "" it works, "never", else the failure; by manifest digest
    takes_s: float = 5.0
    defers_s: float = 0.0  # that it would put an update off; it goes on as soon as it has to
    away: tuple[tuple[float, float], ...] = ()  # from, to
    repeats: bool = False  # says everything twice, the older after the newer


@dataclass
class Actor:
    node_id: str
    fate: Fate
    serving: str = ""
    previous: str = ""
    done: int = 0  # generation of the last intent that it has dealt with
    report: ReportedModel | None = None
    probation: ProbationResult | None = None  # what it says of one
    evidence: NodeEvidence | None = None  # and for gates
    due: float = 0.0
    deferred_until: float = 0.0
    working: tuple[str, int] | None = None  # manifest, generation
    number: int = 0


def refused(rollout: Rollout) -> list[Ineligible]:
    """The first nodes of each rule."""
    return [no for rule in rollout.refused for no in rule.first]


class World:
    def __init__(self, artifacts: list[Artifact], *, start: float = 1_000.0) -> None:
        self.now = start
        self.documents = MemoryDocuments()
        self.trail: list[Audit] = []
        self.actors: dict[str, Actor] = {}
        self.sessions_open = True  # False: nothing is handed to a session
        self.served: list[tuple[float, str, str]] = []  # when, who, what: everything that was ever served
        for each in artifacts:
            self.put("artifact", each.manifest_digest, dump(each))

    # the ledger

    def put(self, kind: str, id: str, body: Mapping[str, Any] | None) -> None:
        self.documents.write((Write(kind, id, body, None),))

    @property
    def docs(self) -> dict[tuple[str, str], Doc]:
        """All of them, now; by kind and id."""
        return {(doc.kind, doc.id): doc for doc in self.documents.every()}

    def commit(self, change: Change) -> None:
        self.documents.write(change.writes)
        self.trail += change.audit
        for write in change.writes:
            if write.kind == "desired" and write.id in self.actors:
                self.hand(write.id)

    def of(self, record: type[Any], kind: str) -> dict[str, Any]:
        return {id: load(record, doc) for id, doc in self.documents.of(kind).items()}

    def record(self, record: type[R], kind: str, id: str) -> R:
        """One that is there."""
        return load(record, self.documents.of(kind)[id])

    def desired(self, node_id: str) -> tuple[int, Desired]:
        doc = self.documents.get("desired", node_id)
        return (doc.generation, load(Desired, doc)) if doc else (0, Desired())

    def snapshot(self) -> Snapshot:
        return snapshot_of(self.documents.every())

    # what an operator does

    def add_node(
        self,
        node_id: str,
        fate: Fate | None = None,
        *,
        budget: Budget | None = None,
        runtimes: tuple[str, ...] = ("onnxruntime", "ncnn"),
        serving: str = "",
        labelled: int = 0,
        features: tuple[str, ...] = (),
        kind: str = "",
    ) -> Actor:
        """`kind`: its class of hardware; "": one of its own."""
        node = Node(
            node_id=node_id,
            name=f"name-{node_id}",
            enrolment=Enrolment.ACCEPTED,
            public_key_sha256="",
            certificate_sha256="",
            certificate_expires_at=1e12,
            enrolled_at=0.0,
        )
        self.put("node", node_id, dump(node))
        presence = Presence(
            connected=True,
            since=self.now,
            boot_id="0" * 32,
            agent_version="1",
            protocol_version=1,
            features=features,
            hardware={},
            hardware_class=kind or f"class-of-{node_id}",
            runtimes=runtimes,
            budgets={MODEL: budget or Budget()},
            labelled_examples={MODEL: labelled},
        )
        self.put("presence", node_id, dump(presence))
        actor = Actor(node_id, fate or Fate(), serving=serving)
        self.actors[node_id] = actor
        if serving:
            self.served.append((self.now, node_id, serving))
            actor.report = ReportedModel(
                state=UpdateState.SUCCEEDED, desired_generation=0, target=serving, serving=serving, previous=""
            )
            self.say(actor)
        return actor

    def release(self, number: int, *artifacts: Artifact, kind: str = "manual") -> Release:
        release = Release(
            release_id=f"{MODEL}-{number}",
            model=MODEL,
            kind=kind,
            artifacts=tuple(a.manifest_digest for a in artifacts),
            created_at=self.now,
        )
        for each in artifacts:
            if self.documents.get("artifact", each.manifest_digest) is None:
                self.put("artifact", each.manifest_digest, dump(each))
        self.put("release", release.release_id, dump(release))
        return release

    def start(self, release: Release, policy: RolloutPolicy | None = None, *, id: str = "", by: str = "") -> str:
        policy = policy or RolloutPolicy(probation=Probation())
        rollout = Rollout(
            release_id=release.release_id,
            model=MODEL,
            kind=release.kind,
            policy=policy,
            state=RolloutState.PENDING,
            created_at=self.now,
            entered_at=self.now,
            deadline=begin_by(policy, self.now),
            started_by=by,
        )
        id = id or f"{release.release_id}-r1"
        self.put(KIND, id, dump(rollout))
        return id

    def rollout(self, id: str) -> Rollout:
        return self.record(Rollout, KIND, id)

    def assignments(self, id: str) -> dict[str, Assignment]:
        """Of nodes that had a turn in one rollout, by node id; in the order of the plan."""
        found = [a for a in self.of(Assignment, ASSIGNMENT).values() if a.rollout_id == id and a.manifest_digest]
        return {a.node_id: a for a in sorted(found, key=lambda a: (a.order, a.node_id))}

    def waves(self, id: str) -> list[tuple[str, ...]]:
        """Node ids of each wave that has started."""
        given = self.assignments(id).values()
        numbers = range(1, self.rollout(id).waves_started + 1)
        return [tuple(a.node_id for a in given if a.wave == number) for number in numbers]

    def edit(self, kind: str, id: str, record: type[Any], **fields: Any) -> None:
        self.put(kind, id, dump(replace(self.record(record, kind, id), **fields)))

    # what the controller does

    def control(self, *, commits: int = 1_000, stale: Snapshot | None = None) -> int:
        """Decides and commits until everything waits, or `commits` were made: then this controller is dead. A stale snapshot
        stands for one that was read before somebody else wrote. Gives how many commits were made."""
        made = 0
        while made < commits:
            snapshot = stale or self.snapshot()
            moved = False
            for id in snapshot.rollouts:
                seen = snapshot.of(id)
                decision = next_actions(seen, self.now)
                if isinstance(decision, Waits):
                    continue
                moved = True
                try:
                    for change in decision.changes(seen):
                        self.commit(change)
                        made += 1
                        if made >= commits:
                            return made
                except Conflict:
                    if stale is None:
                        raise
                    continue
                break  # what the others saw may be old now
            if stale is not None:
                stale = None
                continue
            if not moved:
                return made
        return made

    # what nodes do

    def away(self, actor: Actor) -> bool:
        return any(start <= self.now < end for start, end in actor.fate.away)

    def tick(self, seconds: float, rng: random.Random | None = None) -> None:
        """Time passes; each node that is there does its next thing."""
        self.now += seconds
        actors = list(self.actors.values())
        if rng is not None:
            rng.shuffle(actors)
        for actor in actors:
            self._connect(actor)
            if not self.away(actor):
                self._measure(actor)
                self._update(actor)

    def _connect(self, actor: Actor) -> None:
        presence = self.record(Presence, "presence", actor.node_id)
        if presence.connected == self.away(actor):
            self.edit("presence", actor.node_id, Presence, connected=not presence.connected, since=self.now)
            self.hand(actor.node_id)

    def hand(self, node_id: str) -> None:
        """What a session does with a desired state, at its start and after each change."""
        actor = self.actors[node_id]
        connected = self.record(Presence, "presence", node_id).connected
        if not self.sessions_open or not connected or self.away(actor):
            return
        doc = self.documents.get(HANDED, actor.node_id)
        before = load(Handed, doc) if doc else Handed()
        after = after_handing(before, self.desired(actor.node_id)[1], self.now)
        if after is not before:
            self.put(HANDED, actor.node_id, dump(after))

    def _measure(self, actor: Actor) -> None:
        for digest in self.desired(actor.node_id)[1].benchmarks:
            said = actor.fate.measures.get(digest, "")
            id = measurement_id(digest, actor.node_id)
            if said == "never" or self.documents.get("measurement", id) is not None:
                continue
            record = MeasurementRecord(
                manifest_digest=digest,
                node_id=actor.node_id,
                hardware_class=self.record(Presence, "presence", actor.node_id).hardware_class,
                failure=said,
                p95_ms=1.0,
                peak_rss_bytes=1_000,
                samples=10,
                measured_at=self.now,
            )
            self.put("measurement", id, dump(record))

    def _update(self, actor: Actor) -> None:
        wanted = self.desired(actor.node_id)[1].models.get(MODEL)
        if wanted is not None and wanted.generation > actor.done:
            if actor.working is None or actor.working[1] < wanted.generation:
                actor.working = (wanted.manifest_digest, wanted.generation)
                actor.deferred_until = self.now + min(actor.fate.defers_s, wanted.defer_s)
                known = wanted.manifest_digest in (actor.serving, actor.previous)
                actor.due = actor.deferred_until + (0.0 if known else actor.fate.takes_s)
                self._tell(actor, UpdateState.DEFERRED if actor.deferred_until > self.now else UpdateState.DOWNLOADING)
            elif actor.report is not None and actor.report.state is UpdateState.DEFERRED and self.now >= actor.deferred_until:
                self._tell(actor, UpdateState.DOWNLOADING)
            if self.now >= actor.due:
                self._finish(actor)

    def _finish(self, actor: Actor) -> None:
        assert actor.working is not None
        digest, generation = actor.working
        proved = digest in (actor.serving, actor.previous)
        outcome = UpdateState.SUCCEEDED if proved else actor.fate.outcome.get(digest, UpdateState.SUCCEEDED)
        if outcome is UpdateState.PENDING:
            return  # hangs for ever
        before = actor.report
        if outcome is UpdateState.SUCCEEDED and digest != actor.serving:
            actor.serving, actor.previous = digest, actor.serving
            self.served.append((self.now, actor.node_id, digest))
        actor.done, actor.working = generation, None
        self._tell(actor, outcome, (digest, generation))
        if actor.fate.repeats and before is not None:  # an older word comes late: the session refuses it by its generation
            assert self.record(Reported, "reported", actor.node_id).generation == actor.number

    def _tell(self, actor: Actor, state: UpdateState, update: tuple[str, int] | None = None) -> None:
        update = update or actor.working
        assert update is not None
        bad = state in (UpdateState.FAILED, UpdateState.ROLLED_BACK, UpdateState.ABORTED)
        actor.report = ReportedModel(
            state=state,
            desired_generation=update[1],
            target=update[0],
            serving=actor.serving,
            previous=actor.previous,
            reason="accuracy-drop" if bad else "",
            detail="0.98 -> 0.10" if bad else "",
            probation=actor.probation,
            evidence=actor.evidence,
            deferral=self._deferral(actor, state),
        )
        self.say(actor)

    def show(self, node_id: str, evidence: NodeEvidence) -> None:
        """A node reports what it has seen of its candidate so far."""
        actor = self.actors[node_id]
        assert actor.report is not None
        actor.evidence = evidence
        actor.report = replace(actor.report, evidence=evidence)
        self.say(actor)

    def _deferral(self, actor: Actor, state: UpdateState) -> ReportedDeferral | None:
        if not actor.fate.defers_s:
            return None
        return ReportedDeferral(reason="busy", until=actor.deferred_until if state is UpdateState.DEFERRED else 0.0)

    def say(self, actor: Actor) -> None:
        assert actor.report is not None
        actor.number += 1
        said = Reported(generation=actor.number, observed_generation=self.desired(actor.node_id)[0], models={MODEL: actor.report})
        self.put("reported", actor.node_id, dump(said))
        if actor.fate.repeats:
            self.put("reported", actor.node_id, dump(said))

    def write(self, *writes: Write) -> None:
        self.commit(Change(writes))
