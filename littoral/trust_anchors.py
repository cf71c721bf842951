"""How whom a node believes is replaced while it is in the field: the fleet's CA, and the key that signs manifests.

Rules, in order:

1. A node begins with what its enrolment gave: one root certificate, and the signing keys.
2. The next root is introduced by a certificate with its subject and key, issued by the root before it: the "NewWithOld"
   certificate of RFC 4210, section 4.4. Who trusts the one trusts the other. A server sends the same certificate in its chain,
   so that a node that never heard of the new root connects all the same.
3. The next signing key is introduced by an envelope (DSSE) that names it, signed by the key before it.
4. Where several were made since, each introduces the one after it; a node follows as far as it gets.
5. A retired root is dropped only by a node that trusts a later one, which it introduced.
6. Signing keys stay, because artifacts that an old one signed are verified at every start, until a later key says in an envelope
   that one counts no more. Later is what it introduced, itself or by others.
7. With what is dropped goes all that the message does not list: what a thief introduced with a stolen key.

So who controls the coordinator's database, or a server's certificate, can introduce nothing: that takes the key before.

Example: a node enrolled under root A and key 1. It was off while root B (introduced by A) and root C (by B) were made, and A was
retired. Its next session brings all three: it trusts B by A, C by B, and drops A.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral import decoder, json_text
from littoral.errors import BadInput, Untrusted
from littoral.identity import key_id_of, seal, sha256_fingerprint, unseal

if TYPE_CHECKING:
    from cryptography import x509

PAYLOAD_TYPE = "application/vnd.littoral.signing-key.v1+json"
RETIRED_TYPE = "application/vnd.littoral.retired-signing-key.v1+json"
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
    retired_keys: tuple[bytes, ...] = ()  # envelopes

    def check(self) -> None:
        """Raises BadInput where there is more than one node has to read."""
        for name in ("authorities", "introductions", "retired", "signing_keys", "retired_keys"):
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
    retired = [der for der in known if sha256_fingerprint(der) in told.retired]
    gone = {der for der in retired if any(_introduces(roots[der], introductions, roots[new]) for new in known)}
    left = [der for der in known if der not in gone and (not gone or der in told.authorities)]
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
    return seal(_body_of(public_key), PAYLOAD_TYPE, by)


def retire_key(public_key: bytes, by: Ed25519PrivateKey) -> bytes:
    """The envelope with which a later signing key says that an earlier one (raw Ed25519, 32 bytes) counts no more."""
    return seal(_body_of(public_key), RETIRED_TYPE, by)


def _body_of(public_key: bytes) -> bytes:
    body = {"public_key": base64.b64encode(public_key).decode()}
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def named_key(envelope: bytes, kind: str, trusted: Mapping[str, bytes]) -> bytes:
    """The raw Ed25519 key that an envelope of PAYLOAD_TYPE or RETIRED_TYPE names. Raises Untrusted."""
    payload = unseal(envelope, kind, trusted)
    try:
        return _raw_in(payload)
    except (BadInput, ValueError) as error:
        raise Untrusted(f"signing key: its introduction is malformed: {error}") from error


def _raw_in(payload: bytes) -> bytes:
    """Raises BadInput, ValueError."""
    raw = base64.b64decode(decoder.decode(IntroducedKey, json_text.parse(payload, "key"), "key").public_key, validate=True)
    if len(raw) != _KEY_BYTES:
        raise ValueError(f"{len(raw)} bytes, not {_KEY_BYTES}")
    return raw


def followed_keys(trusted: Mapping[str, bytes], told: ToldAnchors) -> dict[str, bytes]:
    """The signing keys that are trusted from now on, raw by key id. Raises Untrusted where none that is trusted introduces the
    newest one in the message."""
    known = dict(trusted)
    while new := {key_id_of(raw): raw for _, raw in _links(known, told.signing_keys) if key_id_of(raw) not in known}:
        known |= new
    links = [(by, key_id_of(raw)) for by, raw in _links(known, told.signing_keys)]
    if told.signing_keys and _claimed(told.signing_keys[-1]) not in known:
        hint = "enrol it with a new join line"
        raise Untrusted("signing key: none that this node trusts has introduced the newest one", hint=hint)
    gone = {key_id_of(raw) for by, raw in _links(known, told.retired_keys, RETIRED_TYPE) if _is_after(by, key_id_of(raw), links)}
    listed = {id for link in links for id in link}
    return {id: raw for id, raw in known.items() if id not in gone and (not gone or id in listed)}


def _links(known: Mapping[str, bytes], envelopes: Sequence[bytes], kind: str = PAYLOAD_TYPE) -> list[tuple[str, bytes]]:
    """(the id of a known key that signed, the raw key that the envelope names), of each envelope that a known key signed."""
    found = []
    for envelope in envelopes:
        for id, raw in known.items():
            with suppress(Untrusted):
                found.append((id, named_key(envelope, kind, {id: raw})))
    return found


def _claimed(envelope: bytes) -> str:
    """The id of the key that an envelope names, its signature unchecked; "": it names none."""
    with suppress(ValueError, KeyError, TypeError, BadInput):
        payload = base64.b64decode(json.loads(envelope)["payload"], validate=True)
        return key_id_of(_raw_in(payload))
    return ""


def _is_after(later: str, earlier: str, links: Sequence[tuple[str, str]]) -> bool:
    """Whether one key was introduced by the other, or by one that it introduced."""
    after = {earlier}
    while new := {named for by, named in links if by in after} - after:
        after |= new
    return later in after and later != earlier
