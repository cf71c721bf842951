"""How a node gets its next certificate, always for the same key.

Rules, in order:

1. While its certificate counts, a node renews it on the fleet listener (`renew`), not before half of its life.
2. After its end, which ends mutual TLS too, the node shows its key on the enrolment listener (`come_back`): it signs a challenge
   (littoral.signed_time) that is at most a minute old.
3. It gets the next one by itself until `grace_s` after the end of the last, or after an operator accepted it.
4. Later it becomes PENDING: an operator accepts or rejects it.
5. A node that is out gets none: Revoked.
6. One certificate a minute, or in AGAIN_S by rule 2. The one before counts until its end: a lost answer locks no node out.

Example: 30 days, and 90 of grace. Off from day 10 to day 115, a node comes back by itself; off until day 130, it waits for an
operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from littoral.errors import BadInput, FleetError, Unavailable, Untrusted
from littoral.signed_time import CHALLENGE_S, open_time
from littoral_cloud.fleet.edit import repeat_on_conflict
from littoral_cloud.fleet.enrolment import NODE_ID_DIGITS, IssuedCertificate, Issuer, issued_by
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import Enrolment, Node, dump, load
from littoral_cloud.fleet.sessions import Peer, admission_refusal, enrolment_refusal

NOT_BEFORE = 1 / 2
"""Of a certificate's life. Nodes ask after littoral.validity.RENEW_AFTER, by their own clock, which may be ahead."""

RENEWED_AGAIN_S = 60.0
AGAIN_S = 600.0
"""Seconds between two certificates that a node gets by `come_back`: a hostile one fills no audit trail."""


class NotDue(FleetError):
    """A node asks for its next certificate long before the one that it has ends."""

    code = "not-due"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Of a node's key: what EnrolmentService.Return carries."""

    challenge: bytes  # an envelope of the fleet's signing key
    certificate_request: bytes  # PKCS#10, DER
    signature: bytes


def due(peer: Peer, now: float) -> bool:
    """Whether so much of the shown certificate's life has gone by that the next one is given."""
    return now >= peer.begins_at + (peer.expires_at - peer.begins_at) * NOT_BEFORE


async def renew(ledger: Ledger, authority: Issuer, peer: Peer, certificate_request: bytes, now: float) -> IssuedCertificate:
    """The certificate that follows the one of this peer.

    Args:
        certificate_request: PKCS#10, DER, by the node's own key.

    Raises:
        NotAccepted: the node is not, or no longer, part of the fleet. NotDue: it is too early. BadInput: the request is
            malformed, or of another key. Unavailable: one was given less than a minute ago, or the ledger cannot be had.
    """
    key = authority.public_key_sha256(certificate_request)

    async def attempt() -> IssuedCertificate:
        doc = await ledger.get("node", peer.node_id)
        node = load(Node, doc) if doc else None
        if (refused := admission_refusal(node, peer, now)) is not None:
            raise refused.error
        assert doc is not None
        assert node is not None
        if key != node.public_key_sha256:
            raise BadInput("certificate_request: is of another key than the node's", hint="renew with the key of the node")
        if not due(peer, now):
            days = (peer.expires_at - now) / 86_400
            raise NotDue(f"node {node.name}: its certificate is good for {days:.0f} days more", hint="is its clock right?")
        _refuse_again(node, now, RENEWED_AGAIN_S)
        issued = await issued_by(authority, certificate_request, peer.node_id, now, knows=node.anchors)
        await ledger.commit(_given(node, doc.generation, issued, now, "node.certificate-renewed"))
        return issued

    return await repeat_on_conflict(attempt)


async def come_back(
    ledger: Ledger, authority: Issuer, proof: Proof, trusted: Mapping[str, bytes], now: float, grace_s: float
) -> IssuedCertificate:
    """The next certificate of a node whose last one has ended.

    Args:
        trusted: the fleet's signing keys, raw, by key id.

    Raises:
        BadInput: the challenge is too old or not ours, the request is malformed, or the proof is wrong. Revoked: the node is out.
        WaitsForOperator: an operator has to accept it. NotAccepted: it is not known. Unavailable: it got one a moment ago.
    """
    key = checked_key(authority, proof, trusted, now)
    node_id = key[:NODE_ID_DIGITS]

    async def attempt() -> IssuedCertificate | None:
        doc = await ledger.get("node", node_id)
        node = load(Node, doc) if doc else None
        if node is not None and node.public_key_sha256 != key:
            node = None
        if (refused := enrolment_refusal(node, node_id)) is not None:
            raise refused.error
        assert doc is not None
        assert node is not None
        if now > max(node.certificate_expires_at, node.accepted_at) + grace_s:
            await ledger.commit(_waiting(node, doc.generation, now))
            return None
        _refuse_again(node, now, AGAIN_S)
        issued = await issued_by(authority, proof.certificate_request, node_id, now, knows=node.anchors)
        await ledger.commit(_given(node, doc.generation, issued, now, "node.returned"))
        return issued

    while (issued := await repeat_on_conflict(attempt)) is None:
        continue  # it waits now, and the next look says so
    return issued


def checked_key(authority: Issuer, proof: Proof, trusted: Mapping[str, bytes], now: float) -> str:
    """SHA-256 of the key that a proof is of. Raises BadInput."""
    try:
        challenge = open_time(proof.challenge, trusted)
    except Untrusted as error:
        raise BadInput(f"challenge: {error.message}", hint="ask this fleet for the time first") from error
    if not -CHALLENGE_S <= now - challenge.at <= CHALLENGE_S:  # another coordinator's clock may be ahead
        raise BadInput(f"challenge: is {now - challenge.at:.0f} s old, at most {CHALLENGE_S:g}", hint="ask for the time again")
    if not authority.is_proof(proof.signature, proof.challenge, proof.certificate_request):
        raise BadInput("proof: is not by the key of the certificate request", hint="sign with the key of the node")
    return authority.public_key_sha256(proof.certificate_request)


def _refuse_again(node: Node, now: float, again_s: float) -> None:
    if abs(now - node.renewed_at) < again_s:
        hint = "ask again in a minute" if again_s == RENEWED_AGAIN_S else f"ask again in {again_s / 60:.0f} minutes"
        raise Unavailable(f"node {node.name}: was given a certificate a moment ago", hint=hint)


def _given(node: Node, generation: int, issued: IssuedCertificate, now: float, action: str) -> Change:
    after = replace(node, certificate_sha256=issued.sha256, certificate_expires_at=issued.expires_at, renewed_at=now)
    details: dict[str, object] = {"name": node.name, "certificate": issued.sha256, "expires_at": issued.expires_at}
    if action == "node.returned":
        details["expired_at"] = node.certificate_expires_at
    line = Audit(action, node.node_id, node.node_id, details)
    return Change((Write("node", node.node_id, dump(after), generation),), (line,))


def _waiting(node: Node, generation: int, now: float) -> Change:
    details = {"name": node.name, "expired_at": node.certificate_expires_at}
    line = Audit("node.waits", node.node_id, node.node_id, details)
    after = replace(node, enrolment=Enrolment.PENDING)
    return Change((Write("node", node.node_id, dump(after), generation),), (line,))
