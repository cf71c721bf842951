"""Keys, certificate requests, signatures and the join line.

A node's key is ECDSA P-256 and never leaves it. Manifests are signed with Ed25519 in a DSSE envelope
(https://github.com/secure-systems-lab/dsse, v1.0.2), so that what was signed is exactly the bytes that are parsed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from littoral.errors import BadInput, Untrusted

JOIN_PREFIX = "littoral-join-1."


@dataclass(frozen=True, slots=True)
class JoinLine:
    """All that a new node needs: where to go, what to show, and whom to believe."""

    address: str  # host:port of the enrolment listener
    token: str
    expires_at: int  # seconds since 1970-01-01 UTC
    ca_sha256: str  # of the CA's certificate, DER; 64 hex digits

    def render(self) -> str:
        body = json.dumps([self.address, self.token, self.expires_at, self.ca_sha256], separators=(",", ":"))
        return JOIN_PREFIX + base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, line: str) -> JoinLine:
        """Raises BadInput where the line was cut, folded or is something else."""
        text = "".join(line.split())
        hint = "paste the whole line that `littoral-cloud token create` printed"
        if not text.startswith(JOIN_PREFIX):
            raise BadInput(f"join line: must begin with {JOIN_PREFIX!r}, got {text[:24]!r}", hint=hint)
        body = text.removeprefix(JOIN_PREFIX)
        try:
            raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            address, token, expires_at, ca_sha256 = json.loads(raw)
            return cls(str(address), str(token), int(expires_at), str(ca_sha256))
        except (binascii.Error, ValueError, TypeError) as error:
            raise BadInput("join line: is damaged", hint=hint) from error


def new_node_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def is_node_key(pem: bytes) -> bool:
    """Whether it is a key that a node can have: ECDSA P-256, and not damaged."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)


def certificate_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS#10, DER. The subject is a placeholder: the cloud names the node."""
    # Only who enrols or renews needs it, and it is over a megabyte of the agent's memory.
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "littoral-node")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def sha256_fingerprint(certificate_der: bytes) -> str:
    return hashlib.sha256(certificate_der).hexdigest()


def key_id_of(public_key: bytes) -> str:
    """Id of a raw Ed25519 public key (32 bytes)."""
    return hashlib.sha256(public_key).hexdigest()


def _pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def seal(payload: bytes, payload_type: str, *keys: Ed25519PrivateKey) -> bytes:
    """The DSSE envelope around a payload, signed by each of the keys, as JSON bytes. Deterministic: Ed25519 draws no random
    numbers."""
    signed = _pre_authentication_encoding(payload_type, payload)
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [
            {"keyid": key_id_of(key.public_key().public_bytes_raw()), "sig": base64.b64encode(key.sign(signed)).decode()}
            for key in keys
        ],
    }
    return json.dumps(envelope, sort_keys=True, separators=(",", ":")).encode()


def signers_of(envelope: bytes) -> frozenset[str]:
    """The key ids that an envelope names; no signature is checked. Raises Untrusted where it is none."""
    try:
        return frozenset(str(each["keyid"]) for each in json.loads(envelope)["signatures"])
    except (ValueError, KeyError, TypeError) as error:
        raise Untrusted("signature: this is not a signed envelope") from error


def unseal(envelope: bytes, payload_type: str, trusted: Mapping[str, bytes]) -> bytes:
    """The payload of an envelope that one of the trusted keys signed.

    Args:
        trusted: raw Ed25519 public keys by key id.

    Raises:
        Untrusted: no signature in it is by a trusted key and right, or it is no envelope of this type.
    """
    try:
        parsed = json.loads(envelope)
        payload = base64.b64decode(parsed["payload"], validate=True)
        kind = parsed["payloadType"]
        signatures = [(str(s["keyid"]), base64.b64decode(s["sig"], validate=True)) for s in parsed["signatures"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Untrusted("signature: this is not a signed envelope", hint="download it again, or release it again") from error
    if kind != payload_type:
        raise Untrusted(f"signature: the envelope holds {kind!r}, wanted {payload_type!r}")
    for key_id, signature in signatures:
        if (public := trusted.get(key_id)) is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, _pre_authentication_encoding(kind, payload))
        except InvalidSignature:
            continue
        return payload
    named = ", ".join(key_id[:12] for key_id, _ in signatures) or "no key"
    raise Untrusted(f"signature: signed by {named}, which this node does not trust or which is wrong")
