"""The domain side of a session: what a node's messages change in the ledger, and what the node gets. The wire is in
littoral_cloud/api/.

Every function may be called again with the same message: nodes repeat messages after a lost connection, and after Redis was away.
A node's messages change that node's own documents only. `allowance`: how many lines of the audit trail they may add; None: all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from littoral import PROTOCOL_VERSION
from littoral.budget import Budget
from littoral.errors import BadInput, Conflict, NotAccepted, Revoked, WaitsForOperator
from littoral_cloud.fleet.actions import UPDATES
from littoral_cloud.fleet.allowance import NodeAllowance, commit
from littoral_cloud.fleet.edit import edit, repeat_on_conflict
from littoral_cloud.fleet.ledger import Audit, Change, Doc, Ledger, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, joined_docs, profile_of
from littoral_cloud.fleet.records import Desired, Enrolment, Node, Presence, Reported, ReportedModel, UpdateState, dump, load

MAX_GENERATION = 2**53
"""Of anything that a node numbers: milliseconds since 1970 fit in, for some 285,000 years."""
MAX_JUMP = 1_000_000
"""Changes of a node between two reports of one boot, at most."""
PROTOCOL_MIN = 1
PROTOCOL_MAX = PROTOCOL_VERSION
WAITING_RETRY_S = 60.0
EXPIRED_RETRY_S = 5.0
UPGRADE_RETRY_S = 3600.0
"""A node of another protocol asks again this much later: either side may have been upgraded meanwhile."""


class Reason(StrEnum):
    """The values of littoral.fleet.v1.RefusalReason."""

    PROTOCOL_UNSUPPORTED = "PROTOCOL_UNSUPPORTED"
    NODE_UNKNOWN = "NODE_UNKNOWN"
    NODE_REVOKED = "NODE_REVOKED"
    SUPERSEDED = "SUPERSEDED"
    UNAVAILABLE = "UNAVAILABLE"
    PROTOCOL_VIOLATION = "PROTOCOL_VIOLATION"
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED"
    NODE_WAITING = "NODE_WAITING"


@dataclass(frozen=True, slots=True)
class SessionRefusal:
    """Why a session does not begin, or ends. `retry_after_s` 0: not before an operator acts."""

    reason: Reason
    detail: str
    retry_after_s: float = 0.0

    @property
    def error(self) -> NotAccepted:
        """The same for a call that is no session."""
        kind = {Reason.NODE_REVOKED: Revoked, Reason.NODE_WAITING: WaitsForOperator}.get(self.reason, NotAccepted)
        return kind(self.detail)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, by its certificate alone. `begins_at`, `expires_at`: seconds since 1970-01-01 UTC."""

    node_id: str
    certificate_sha256: str
    expires_at: float
    begins_at: float
    public_key_sha256: str  # of the DER SubjectPublicKeyInfo


@dataclass(frozen=True, slots=True)
class FederatedAnswer:
    run_id: str
    message_id: str
    reply_digest: str
    failure: str
    detail: str


def version_refusal(protocol_version: int) -> SessionRefusal | None:
    if PROTOCOL_MIN <= protocol_version <= PROTOCOL_MAX:
        return None
    return SessionRefusal(
        Reason.PROTOCOL_UNSUPPORTED,
        f"this cloud speaks protocols {PROTOCOL_MIN} to {PROTOCOL_MAX}, the node {protocol_version}: "
        f"upgrade {'the agent' if protocol_version < PROTOCOL_MIN else 'the cloud'}",
        UPGRADE_RETRY_S,
    )


def enrolment_refusal(node: Node | None, node_id: str) -> SessionRefusal | None:
    """None where it is an accepted node."""
    if node is None:
        return SessionRefusal(Reason.NODE_UNKNOWN, f"no node {node_id} is enrolled here: enrol this machine again")
    if node.enrolment is Enrolment.PENDING:
        waits = f"node {node.name} waits for an operator of this fleet: littoral-cloud node accept {node.name}"
        return SessionRefusal(Reason.NODE_WAITING, waits, WAITING_RETRY_S)
    if node.enrolment is not Enrolment.ACCEPTED:
        return SessionRefusal(Reason.NODE_REVOKED, f"node {node.name} is {node.enrolment.value}: ask the operator of this fleet")
    return None


def admission_refusal(node: Node | None, peer: Peer, now: float) -> SessionRefusal | None:
    """None where the peer is an accepted node whose certificate is still valid.

    Any certificate of the node counts until its end: all are of the one key from which the node's id is made. What takes a
    node out is its enrolment.
    """
    if (refused := enrolment_refusal(node, peer.node_id)) is not None:
        return refused
    if node is None or node.public_key_sha256 != peer.public_key_sha256:
        return SessionRefusal(Reason.NODE_UNKNOWN, f"node {peer.node_id} has another key: enrol this machine again")
    if now >= peer.expires_at:
        return SessionRefusal(Reason.CERTIFICATE_EXPIRED, f"the certificate of node {peer.node_id} has expired", EXPIRED_RETRY_S)
    return None


async def admission(ledger: Ledger, peer: Peer, now: float) -> SessionRefusal | None:
    doc = await ledger.get("node", peer.node_id)
    return admission_refusal(load(Node, doc) if doc else None, peer, now)


def parsed_desired(doc: Doc | None) -> tuple[int, Desired]:
    """(generation, what should be); generation 0 where nothing was ever wanted of the node."""
    return (doc.generation, load(Desired, doc)) if doc else (0, Desired())


async def desired_of(ledger: Ledger, node_id: str) -> tuple[int, Desired]:
    """As parsed_desired."""
    return parsed_desired(await ledger.get("desired", node_id))


async def note_budgets(
    ledger: Ledger,
    node_id: str,
    budgets: Mapping[str, Budget],
    conditions: Mapping[str, Any],
    labelled: Mapping[str, int] | None = None,
    *,
    allowance: NodeAllowance | None = None,
) -> bool:
    """Keeps what a node may spend, how it stands and how many examples it holds (empty: as before); False where it is known."""

    async def attempt() -> bool:
        presence, profile = await ledger.get_many([(PRESENCE, node_id), (PROFILE, node_id)])
        if (before := joined_docs(presence, profile)) is None:
            return False
        examples = labelled or before.labelled_examples
        after = replace(before, budgets=budgets, conditions=conditions, labelled_examples=examples)
        if after == before:
            return False
        write = Write(PROFILE, node_id, dump(profile_of(after)), profile.generation if profile else 0)
        await commit(ledger, (write,), budget_lines(node_id, before, after), allowance)
        return True

    return await repeat_on_conflict(attempt)


def budget_lines(node_id: str, before: Presence, after: Presence) -> tuple[Audit, ...]:
    """A line for every model of which the node may spend something else now; "" stands for those that are not named."""
    lines = []
    for model in sorted({*before.budgets, *after.budgets}):
        was, now = before.budget_for(model), after.budget_for(model)
        if was != now:
            details = {"model": model, "was": str(was), "budget": str(now), "conditions": list(after.in_force)}
            lines.append(Audit("budget.changed", node_id, node_id, details))
    return tuple(lines)


async def note_reported(ledger: Ledger, node_id: str, reported: Reported, allowance: NodeAllowance | None = None) -> bool:
    """Writes what a node reports where it is newer than what is known; False where it is not.

    Raises BadInput where its generation cannot be one; see `is_newer`.
    """
    edited = await edit(
        ledger,
        Reported,
        "reported",
        node_id,
        lambda before: with_all_evidence(before, reported) if is_newer(before, reported) else None,
        lambda before, after: moves(node_id, before, after),
        commit=lambda made: commit(ledger, made.writes, made.audit, allowance),
    )
    return edited.written


def with_all_evidence(before: Reported | None, after: Reported) -> Reported:
    """With what the node showed of the same update before its agent started again: a gate counts that, too, and a
    coordinator that starts knows it."""
    if before is None:
        return after
    models = {}
    for name, model in after.models.items():
        old = before.models.get(name)
        if old is not None and old.evidence is not None and old.desired_generation == model.desired_generation:
            earlier = old.earlier_evidence if before.boot_id in ("", after.boot_id) else old.evidence
            if model.evidence is None:
                whole = old.evidence
            else:
                whole = model.evidence if earlier is None else model.evidence.after(earlier)
            model = replace(model, evidence=whole, earlier_evidence=earlier)
        models[name] = model
    return replace(after, models=models) if models != after.models else after


def is_newer(before: Reported | None, after: Reported) -> bool:
    """Whether a report comes after the one that is known. The node's number orders reports of one boot only. A report of
    another boot in the node's open session is always newer, so that one wrong number does not block the node for ever.

    Raises BadInput where the number is none, or is ahead of the last by more than a node can change meanwhile.
    """
    if after.generation > MAX_GENERATION:
        raise BadInput(f"reported.generation: {after.generation} is over {MAX_GENERATION}: grows by one with each change")
    if before is None or before.boot_id != after.boot_id:
        return True
    if after.generation > before.generation + MAX_JUMP:
        raise BadInput(f"reported.generation: {after.generation} after {before.generation}: grows by one with each change")
    return after.generation > before.generation


def moves(node_id: str, before: Reported | None, after: Reported) -> tuple[Audit, ...]:
    """A line for every model whose update came to another state, and for every crash or hang that is new."""
    lines = []
    for name, model in after.models.items():
        old = before.models.get(name) if before else None
        if model.incident and (old is None or old.incident != model.incident):
            told: dict[str, object] = {"model": name, "manifest": model.serving, "detail": model.incident}
            lines.append(Audit("model.troubled", node_id, node_id, told | {"crashes": model.crashes, "hangs": model.hangs}))
        if model.state is UpdateState.UNSPECIFIED or (old is not None and _update_of(old) == _update_of(model)):
            continue
        details: dict[str, object] = {"model": name, "manifest": model.target, "generation": model.desired_generation}
        if model.reason:
            details |= {"reason": model.reason, "detail": model.detail}
        if model.state is UpdateState.DEFERRED and model.deferral is not None:
            details |= {"reason": model.deferral.reason}
        if model.probation is not None and model.probation.accuracy is not None:
            details |= {"accuracy": model.probation.accuracy, "previous_accuracy": model.probation.previous_accuracy}
        lines.append(Audit(UPDATES[model.state], node_id, node_id, details))
    return tuple(lines)


def _update_of(model: ReportedModel) -> tuple[UpdateState, str, int]:
    return model.state, model.target, model.desired_generation


async def note_measurement(ledger: Ledger, measurement: MeasurementRecord) -> bool:
    """Keeps what a node measured of an artifact that is known here; False for another."""
    if await ledger.get("artifact", measurement.manifest_digest) is None:
        return False
    id = measurement_id(measurement.manifest_digest, measurement.node_id)
    await ledger.commit(Change((Write("measurement", id, dump(measurement), None),)))
    return True


async def note_answer(ledger: Ledger, node_id: str, answer: FederatedAnswer) -> bool:
    """Keeps a node's first answer to the federated task that it has; False where it has no such task, or had answered."""
    _, desired = await desired_of(ledger, node_id)
    task = desired.federated
    if task is None or (task.run_id, task.message_id) != (answer.run_id, answer.message_id):
        return False
    body = {
        "run_id": answer.run_id,
        "node_id": node_id,
        "reply_digest": answer.reply_digest,
        "failure": answer.failure,
        "detail": answer.detail,
    }
    try:
        await ledger.commit(Change((Write("federated_reply", answer.message_id, body, 0),)))
    except Conflict:
        return False
    return True


async def end_task(ledger: Ledger, node_id: str, failure: str, detail: str) -> None:
    """Answers the federated task of a node in its place, so that its run waits for it no longer, and takes the task away."""
    _, desired = await desired_of(ledger, node_id)
    if (task := desired.federated) is None:
        return
    await note_answer(ledger, node_id, FederatedAnswer(task.run_id, task.message_id, "", failure, detail))

    def without(before: Desired | None) -> Desired | None:
        same = before is not None and before.federated is not None and before.federated.message_id == task.message_id
        return replace(before, federated=None) if before is not None and same else None

    await edit(ledger, Desired, "desired", node_id, without)
