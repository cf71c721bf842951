"""How whom a node believes is replaced while it is in the field: the fleet's CA, and the key that signs manifests.

Rules, in order:

1. A node begins with what its enrolment gave: one root certificate, and the signing keys.
2. The next root is introduced by a certificate with its subject and key, issued by the root before it: the "NewWithOld"
   certificate of RFC 4210, section 4.4. Who trusts the one trusts the other. A server sends the same certificate in its chain,
   so that a node that never heard of the new root connects all the same.
3. The next signing key is introduced by an envelope (DSSE) that names it, signed by the key before it.
4. Where several were made since, each introduces the one after it; a node follows as far as it gets.
5. A retired root is dropped only by a node that trusts a later one, which it introduced. Signing keys stay: artifacts that an
   old one signed are verified at every start.

So who controls the coordinator's database, or a server's certificate, can introduce nothing: that takes the key before.

Example: a node enrolled under root A and key 1. It was off while root B (introduced by A) and root C (by B) were made, and A was
retired. Its next session brings all three: it trusts B by A, C by B, and drops A.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral import decoder, json_text
from littoral.errors import BadInput, Untrusted
from littoral.identity import key_id_of, seal, sha256_fingerprint, unseal

if TYPE_CHECKING:
    from cryptography import x509

PAYLOAD_TYPE = "application/vnd.littoral.signing-key.v1+json"
MOST = 16
"""Roots, introductions or keys that one message may hold."""
MOST_BYTES = 8192
"""Of each of them."""
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldAnchors:
    """What a coordinator tells of its fleet's CAs and keys; the fields are those of littoral.fleet.v1.TrustAnchors."""

    number: int
    authorities: tuple[bytes, ...] = ()  # roots, DER, the oldest first
    introductions: tuple[bytes, ...] = ()  # certificates, DER
    retired: tuple[str, ...] = ()  # SHA-256 of roots' DER, hex
    signing_keys: tuple[bytes, ...] = ()  # envelopes

    def check(self) -> None:
        """Raises BadInput where there is more than one node has to read."""
        for name in ("authorities", "introductions", "retired", "signing_keys"):
            parts = getattr(self, name)
            if len(parts) > MOST or any(len(part) > MOST_BYTES for part in parts):
                raise BadInput(f"trust_anchors.{name}: {len(parts)} parts, at most {MOST} of {MOST_BYTES} bytes are read")


@dataclass(frozen=True, slots=True)
class IntroducedKey:
    """The payload of an envelope that introduces a signing key. `public_key`: raw Ed25519, base64."""

    public_key: str


def followed_roots(trusted: Sequence[bytes], told: ToldAnchors) -> tuple[bytes, ...]:
    """The roots that are trusted from now on, the oldest first.

    Args:
        trusted: roots that are trusted now, DER.

    Raises Untrusted where none that is trusted introduces the newest root in the message; BadInput where a certificate is none.
    """
    from cryptography import x509  # a megabyte of memory: a node needs it only when a CA is renewed

    try:
        roots = {der: x509.load_der_x509_certificate(der) for der in (*trusted, *told.authorities)}
        introductions = [x509.load_der_x509_certificate(der) for der in told.introductions]
    except ValueError as error:
        raise BadInput(f"trust_anchors: holds what is no certificate: {error}") from error
    known = list(dict.fromkeys(trusted))
    while True:
        new = [der for der in told.authorities if der not in known and _introduced(roots[der], known, roots, introductions)]
        if not new:
            break
        known += new
    if told.authorities and told.authorities[-1] not in known:
        named = sha256_fingerprint(told.authorities[-1])[:16]
        raise Untrusted(f"CA {named}: no CA that this node trusts has introduced it", hint="enrol it with a new join line")
    over = {der for der in known if sha256_fingerprint(der) in told.retired}
    left = [
        der for der in known if der not in over or not any(_introduces(roots[der], introductions, roots[new]) for new in known)
    ]
    order = {der: place for place, der in enumerate(told.authorities)}
    return tuple(sorted(left, key=lambda der: order.get(der, -1)))


def _introduced(
    new: x509.Certificate,
    known: Sequence[bytes],
    roots: Mapping[bytes, x509.Certificate],
    introductions: Sequence[x509.Certificate],
) -> bool:
    return any(_introduces(roots[der], introductions, new) for der in known)


def _introduces(old: x509.Certificate, introductions: Sequence[x509.Certificate], new: x509.Certificate) -> bool:
    """Whether the old root issued a certificate with subject and key of the new one, which is another root."""
    if new == old or not _is_root(new):
        return False
    return any(_names(each, new) and _is_authority(each) and _issued(old, each) for each in introductions)


def _names(introduction: x509.Certificate, new: x509.Certificate) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return introduction.subject == new.subject and introduction.public_key() == new.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False


def _is_root(certificate: x509.Certificate) -> bool:
    return _is_authority(certificate) and _issued(certificate, certificate)


def _is_authority(certificate: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def introduce_key(public_key: bytes, by: Ed25519PrivateKey) -> bytes:
    """The envelope with which one signing key introduces the next one (raw Ed25519, 32 bytes)."""
    body = {"public_key": base64.b64encode(public_key).decode()}
    return seal(json.dumps(body, sort_keys=True, separators=(",", ":")).encode(), PAYLOAD_TYPE, by)


def introduced_key(envelope: bytes, trusted: Mapping[str, bytes]) -> bytes:
    """The raw Ed25519 key that a trusted one introduces. Raises Untrusted."""
    payload = unseal(envelope, PAYLOAD_TYPE, trusted)
    try:
        raw = base64.b64decode(decoder.decode(IntroducedKey, json_text.parse(payload, "key"), "key").public_key, validate=True)
    except (BadInput, ValueError) as error:
        raise Untrusted(f"signing key: its introduction is malformed: {error}") from error
    if len(raw) != _KEY_BYTES:
        raise Untrusted(f"signing key: has {len(raw)} bytes, not {_KEY_BYTES}")
    return raw


def followed_keys(trusted: Mapping[str, bytes], told: ToldAnchors) -> dict[str, bytes]:
    """The signing keys that are trusted from now on, raw by key id. Raises Untrusted where none that is trusted introduces the
    newest one in the message."""
    known, waiting = dict(trusted), list(told.signing_keys)
    while True:
        introduced = {envelope: raw for envelope in waiting if (raw := _introduced_key(envelope, known)) is not None}
        if not introduced:
            break
        known |= {key_id_of(raw): raw for raw in introduced.values()}
        waiting = [envelope for envelope in waiting if envelope not in introduced]
    if told.signing_keys and told.signing_keys[-1] in waiting:
        hint = "enrol it with a new join line"
        raise Untrusted("signing key: none that this node trusts has introduced the newest one", hint=hint)
    return known


def _introduced_key(envelope: bytes, trusted: Mapping[str, bytes]) -> bytes | None:
    try:
        return introduced_key(envelope, trusted)
    except Untrusted:
        return None
