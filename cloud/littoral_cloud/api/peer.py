"""Who is calling: the node named by the certificate of this very connection."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from littoral.errors import NotAccepted
from littoral.identity import sha256_fingerprint
from littoral_cloud.fleet.sessions import Peer


def peer_of(context: Any) -> Peer:
    """Raises NotAccepted where the connection carries no certificate that names a node.

    gRPC has checked the certificate's signature at the handshake, and nothing since: an expired or revoked one goes on
    working for as long as the connection lives, so what calls this asks `admission` as well (littoral_cloud.api.node_calls).
    """
    pem = next(iter(context.auth_context().get("x509_pem_cert", ())), None)
    if pem is None:
        raise NotAccepted("this connection carries no certificate", hint="enrol this machine")
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise NotAccepted("this certificate names no node", hint="enrol this machine again")
    return Peer(
        names[0].value,
        sha256_fingerprint(certificate.public_bytes(Encoding.DER)),
        certificate.not_valid_after_utc.timestamp(),
        certificate.not_valid_before_utc.timestamp(),
        hashlib.sha256(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest(),
    )


def address_of(context: Any) -> str:
    """HOST:PORT that the other end calls from; gRPC writes it as "ipv4:HOST:PORT" or "ipv6:%5BHOST%5D:PORT"."""
    return unquote(str(context.peer()).partition(":")[2])
