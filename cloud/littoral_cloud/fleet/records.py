"""What the ledger holds, one frozen dataclass a kind. `load` and `dump` translate; nothing else knows the JSON.

kind          id                          record
node          node id                     Node
presence      node id                     Presence      (stored in two documents: littoral_cloud/fleet/profile)
desired       node id                     Desired       (its document's generation is DesiredState.generation)
reported      node id                     Reported
artifact      manifest digest             Artifact
release       release id                  Release

Kinds of one room are defined there: token (fleet/issued_tokens), trouble (fleet/quarantine), rollout (rollouts), and so on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar

from littoral import decoder
from littoral.budget import Budget
from littoral.errors import BadInput, FleetError
from littoral.metric import Metric, is_judged, score_of, worst_of
from littoral.quota import NodeLimits, within_quotas
from littoral_cloud.fleet.clones import REMEMBERED_S
from littoral_cloud.fleet.deferral import ReportedDeferral
from littoral_cloud.fleet.evidence import NodeEvidence, ProbationResult
from littoral_cloud.fleet.interface import Interface
from littoral_cloud.fleet.ledger import Doc
from littoral_cloud.fleet.membership import Enrolment as Enrolment

R = TypeVar("R")

AWAY_S = 60.0
"""How long a node is away before it is offline, by default; see littoral_cloud.fleet.presence."""


class UpdateState(StrEnum):
    """Of one model on one node; the values of littoral.fleet.v1.UpdateState. DEFERRED: PENDING, and the node puts it off."""

    UNSPECIFIED = "UNSPECIFIED"
    PENDING = "PENDING"
    DEFERRED = "DEFERRED"
    DOWNLOADING = "DOWNLOADING"
    VERIFYING = "VERIFYING"
    PROBATION = "PROBATION"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"
    ABORTED = "ABORTED"


_NOTHING: Mapping[str, Any] = {}
UNLIMITED = NodeLimits()


def nothing() -> Mapping[str, Any]:
    """The empty mapping of every record: a fleet has hundreds of thousands."""
    return _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    node_id: str
    name: str
    enrolment: Enrolment
    public_key_sha256: str  # of the DER SubjectPublicKeyInfo; asking again with the same key finds this node
    certificate_sha256: str
    certificate_expires_at: float
    enrolled_at: float
    labels: Mapping[str, str] = field(default_factory=nothing)
    renewed_at: float = 0.0  # when it last got a certificate without a token
    accepted_at: float = 0.0  # when an operator last accepted it
    anchors: int = 0  # number of the FleetAnchors (fleet/anchors) that it reported to know
    schema: int = 1

    @staticmethod
    def from_older(body: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: value for name, value in body.items() if name != "renewed_from"} if "renewed_from" in body else body


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What a node reported of itself in its last hello, and whether it is connected. That it is not, the coordinator that holds
    the session writes, and another one once its lease has lapsed."""

    connected: bool
    since: float  # of the last connect or disconnect
    boot_id: str
    agent_version: str = ""
    protocol_version: int = 0
    features: tuple[str, ...] = ()
    hardware: Mapping[str, Any] = field(default_factory=nothing)  # HardwareProfile as JSON with proto field names
    hardware_class: str = ""
    runtimes: tuple[str, ...] = ()
    budgets: Mapping[str, Budget] = field(default_factory=nothing)  # by model name; "" for the others
    labelled_examples: Mapping[str, int] = field(default_factory=nothing)
    conditions: Mapping[str, Any] = field(default_factory=nothing)  # Conditions as JSON with proto field names
    limits: NodeLimits = UNLIMITED  # of all models of the node together
    update_window: str = ""  # when it takes updates, as littoral.maintenance reads it; "": at any time
    time_zone: str = ""  # of the window; "": UTC
    coordinator: str = ""  # whose the session is or was; see littoral_cloud.api.hub
    session: str = ""
    patience_s: float = AWAY_S  # for how long it is away before it is offline
    connection: int = 0  # which of the node's sessions it is, by the node's own count; 0: of an older agent
    address: str = ""  # where it called from
    twins: tuple[str, ...] = ()  # where agents with this one identity call from, each in its turn; empty: it runs once
    twins_at: float = 0.0  # when that was last seen
    schema: int = 1

    @property
    def gone_at(self) -> float:
        """From when on it is offline, if it is not connected."""
        return self.since + self.patience_s

    def runs_twice(self, now: float) -> bool:
        return bool(self.twins) and now - self.twins_at < REMEMBERED_S

    @property
    def in_force(self) -> tuple[str, ...]:
        """Conditions of the node's settings that hold now, such as "battery_low": its budgets are what they make of them."""
        return tuple(self.conditions.get("in_force", ()))

    def sharing(self, models: Iterable[str]) -> Presence:
        """With budgets bounded by each model's quota, these being on the node: also of one more that would come."""
        return replace(self, budgets=within_quotas(self.limits, self.budgets, frozenset(models)))

    def budget_for(self, model: str) -> Budget:
        return self.budgets.get(model) or self.budgets.get("") or Budget()

    def examples_of(self, model: str) -> int:
        """Labelled examples that the node reports for a model."""
        return self.labelled_examples.get(model, self.labelled_examples.get("", 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probation:
    duration_s: float = 3.0
    max_accuracy_drop: float = 0.05
    max_failure_rate: float = 0.01
    shadow_s: float = 0.0  # before that, beside the served model
    compare: int = 0  # live requests that both models are asked, at most
    evidence_s: float = 0.0  # for how long the node reports its evidence as it grows
    error: float = 0.0  # the chance that the node's judgement fails a good model, 0..1; 0: as the node's default is


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredModel:
    manifest_digest: str
    rollout_id: str
    generation: int  # of this model's intent on this node; grows with every change of it
    probation: Probation = field(default_factory=Probation)
    chosen_for: Budget | None = None  # what the node might spend when this was chosen; None: not known
    defer_s: float = 0.0  # for how long the node may put the update off, all times together
    unfit: str = ""  # why nothing could be chosen inside `chosen_for`, so that this stands; "": it is inside


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedTask:
    run_id: str
    message_id: str
    message_digest: str
    message_bytes: int
    round: int
    reply_bytes: int = 0  # the most that a reply may have; 0: not known


MAX_FORMER = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    models: Mapping[str, DesiredModel] = field(default_factory=nothing)
    benchmarks: tuple[str, ...] = ()
    federated: FederatedTask | None = None
    former: tuple[str, ...] = ()  # manifests that were wanted before, the last first: the node may keep one to go back to
    schema: int = 1

    def with_model(self, name: str, model: DesiredModel) -> Desired:
        return replace(self, models={**self.models, name: model}, former=self._former(name, model.manifest_digest))

    def without_model(self, name: str) -> Desired:
        models = {other: model for other, model in self.models.items() if other != name}
        return replace(self, models=models, former=self._former(name, ""))

    def _former(self, name: str, digest: str) -> tuple[str, ...]:
        before = self.models.get(name)
        if before is None or before.manifest_digest == digest:
            return self.former
        return tuple(dict.fromkeys((before.manifest_digest, *self.former)))[:MAX_FORMER]

    def next_generation_of(self, name: str) -> int:
        return self.models[name].generation + 1 if name in self.models else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedModel:
    state: UpdateState
    desired_generation: int
    target: str  # manifest digest
    serving: str = ""
    previous: str = ""
    reason: str = ""
    detail: str = ""
    probation: ProbationResult | None = None
    memory_bytes: int = 0  # that what serves takes; 0: not known
    disk_bytes: int = 0  # of its artifacts, retained ones included
    crashes: int = 0  # of the node's agent, in a row, that are counted against it
    hangs: int = 0  # since the agent's start
    incident: str = ""  # the last crash or hang, in words
    evidence: NodeEvidence | None = None  # of its target, over all starts of the agent; None: of an agent that gives none
    earlier_evidence: NodeEvidence | None = None  # the part of `evidence` from before the agent's last start
    deferral: ReportedDeferral | None = None  # of the current update


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    generation: int  # the node's own; compared within one boot only
    observed_generation: int
    models: Mapping[str, ReportedModel] = field(default_factory=nothing)
    problem: str = ""
    boot_id: str = ""  # of the session that reported it; "": not known
    schema: int = 1


def models_on(desired: Desired, reported: Reported | None) -> frozenset[str]:
    """Models that a node serves, or is to serve."""
    serving = (name for name, model in reported.models.items() if model.serving) if reported else ()
    return frozenset((*desired.models, *serving))


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What a choice needs to know of a signed manifest; the whole is the blob."""

    manifest_digest: str
    model: str
    name: str
    runtime: str
    accuracy: float
    artifact_bytes: int
    parameters: int
    architecture: Mapping[str, Any]
    parents: tuple[str, ...] = ()
    class_accuracy: Mapping[str, float] = field(default_factory=nothing)  # by label, in order; empty: not measured when made
    remarks: tuple[str, ...] = ()  # of its manifest
    created_at: float = 0.0
    weights: str = ""  # digest of the safetensors blob that it was exported from; "": not stored, no training can start from it
    data: str = ""  # where its data set lies on the coordinator's machine; "": not known
    task: str = "classification"
    metric: Metric | None = None  # how good it is at another task; None: `accuracy` says it
    requires: Mapping[str, int] = field(default_factory=nothing)  # of its manifest: {"opset": 18, "ir": 9}
    needs: tuple[str, ...] = ()  # what a node must have to read what travels: littoral.codec.FEATURES
    interface: Interface | None = None  # what its clients rely on; None: of a record from before the field
    schema: int = 1

    @property
    def score(self) -> float:
        """Of two artifacts for one task, the better one has the higher score; minus infinity: it was never measured."""
        return score_of(self.accuracy, self.metric, self.class_accuracy)

    @property
    def is_judged(self) -> bool:
        return is_judged(self.accuracy, self.metric, self.class_accuracy)

    @property
    def worst_class(self) -> tuple[str, float] | None:
        """(label, accuracy) of the class that it is worst at; None where that was not measured."""
        return worst_of(tuple(self.class_accuracy), tuple(self.class_accuracy.values())) if self.class_accuracy else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Candidates of one model that may go out together; each node gets the one that fits it best."""

    release_id: str
    model: str
    kind: str  # "initial", "federated", "manual"
    artifacts: tuple[str, ...]  # manifest digests
    created_at: float
    note: str = ""  # for people
    run_id: str | None = None  # of the federated run that it was made from
    withdrawn: str = ""  # why no node gets it any more; "": it stands
    schema: int = 1


def load(record: type[R], doc: Doc) -> R:
    """Raises FleetError, naming document and field, where that is no such record. Its `from_older` reads older schemas."""
    try:
        body = getattr(record, "from_older", lambda body: body)(doc.body)
        return decoder.decode(record, body, f"{doc.kind} {doc.id}")
    except BadInput as error:
        raise FleetError(error.message, hint=error.hint) from error


def dump(value: Any) -> dict[str, Any]:
    """JSON-ready."""
    body: dict[str, Any] = decoder.plain(value)
    return body
