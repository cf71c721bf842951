"""A node's certificate is followed by another one, for the same key, while it still counts.

The certificate that was shown for a renewal counts on until the new one was shown in a session: where the answer is lost, or the
node dies before it has written it down, the node comes with the old one and asks again. Each node may ask once a minute, and not
before half of the life of its certificate has gone by.
"""

from __future__ import annotations

from dataclasses import replace

from littoral.errors import BadInput, FleetError, NotAccepted, Unavailable
from littoral_cloud.fleet.edit import edit, repeat_on_conflict
from littoral_cloud.fleet.enrolment import IssuedCertificate, Issuer
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import Node, dump, load
from littoral_cloud.fleet.sessions import Peer, admission_refusal

NOT_BEFORE = 1 / 2
"""Of a certificate's life. Nodes ask after littoral.validity.RENEW_AFTER, by their own clock, which may be ahead."""

AGAIN_S = 60.0


class NotDue(FleetError):
    """A node asks for its next certificate long before the one that it has ends."""

    code = "not-due"


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
            raise NotAccepted(refused.detail)
        assert doc is not None
        assert node is not None
        if key != node.public_key_sha256:
            raise BadInput("certificate_request: is of another key than the node's", hint="renew with the key of the node")
        if not due(peer, now):
            days = (peer.expires_at - now) / 86_400
            raise NotDue(f"node {node.name}: its certificate is good for {days:.0f} days more", hint="is its clock right?")
        if abs(now - node.renewed_at) < AGAIN_S:
            raise Unavailable(f"node {node.name}: was given a certificate a moment ago", hint="ask again in a minute")
        issued = authority.issue_node(certificate_request, peer.node_id, now)
        await ledger.commit(_renewed(node, doc.generation, peer, issued, now))
        return issued

    return await repeat_on_conflict(attempt)


def _renewed(node: Node, generation: int, peer: Peer, issued: IssuedCertificate, now: float) -> Change:
    after = replace(
        node,
        certificate_sha256=issued.sha256,
        certificate_expires_at=issued.expires_at,
        renewed_from=peer.certificate_sha256,
        renewed_at=now,
    )
    details = {"name": node.name, "certificate": issued.sha256, "expires_at": issued.expires_at}
    line = Audit("node.certificate-renewed", node.node_id, node.node_id, details)
    return Change((Write("node", node.node_id, dump(after), generation),), (line,))


async def shown(ledger: Ledger, peer: Peer) -> None:
    """The node has come with its newest certificate: the one before counts no more."""

    def change(node: Node | None) -> Node | None:
        if node is None or node.certificate_sha256 != peer.certificate_sha256:
            return None
        return replace(node, renewed_from="")

    await edit(ledger, Node, "node", peer.node_id, change)
