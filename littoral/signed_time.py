"""The coordinator's time, signed by the fleet's signing key, and a node's proof of its key.

Rules, in order:

1. A node draws a nonce of NONCE_BYTES and asks for the time. The answer is a DSSE envelope (littoral.identity) around
   {"at": seconds since 1970-01-01 UTC, "nonce": hex}, signed by the keys that sign manifests.
2. The node trusts it by that signature and its own nonce alone: the connection may be anyone's, an old answer has another nonce.
3. Where a command has that key (an HSM), the coordinator's own key signs: anyone may ask for the time, and a command is slow. The
   envelope then has a further field, "by": an envelope by the signing key, which names that key, and until when it counts.
4. A node whose certificate has ended signs the envelope, as it came, and its certificate request with its own key. So the
   envelope is a challenge that every coordinator of the fleet recognises, without remembering any.

Example: at a boot in 1970 a node that cannot check any certificate's dates learns from the envelope that it is 2026.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from littoral.errors import BadInput, Untrusted
from littoral.identity import key_id_of, seal, unseal

PAYLOAD_TYPE = "application/vnd.littoral.time.v1+json"
CLOCK_KEY_TYPE = "application/vnd.littoral.clock-key.v1+json"
NONCE_BYTES = 32
MOST_BYTES = 4096
"""Of an envelope."""
CHALLENGE_S = 60.0
"""How old a challenge may be."""
_PROOF = b"littoral-return-v1\n"
_MOST_SECONDS = 2.0**38  # the year 10680; datetime ends before


@dataclass(frozen=True, slots=True)
class SignedTime:
    """`at`: seconds since 1970-01-01 UTC, when it was signed."""

    at: float
    nonce: bytes


@dataclass(frozen=True, slots=True)
class ClockKey:
    """A key that signs times until then; seconds since 1970-01-01 UTC. `by`: the envelope that says so."""

    key: Ed25519PrivateKey
    until: float
    by: bytes


def new_clock_key(until: float, *keys: Ed25519PrivateKey) -> ClockKey:
    """`keys`: the fleet's signing keys, which make it count."""
    key = Ed25519PrivateKey.generate()
    body = {"key": key.public_key().public_bytes_raw().hex(), "until": until}
    return ClockKey(key, until, seal(json.dumps(body).encode(), CLOCK_KEY_TYPE, *keys))


def seal_time(at: float, nonce: bytes, *keys: Ed25519PrivateKey, clock_key: ClockKey | None = None) -> bytes:
    """The envelope. Raises BadInput where the nonce has another length.

    Args:
        keys: that sign it, where there is no clock key.
    """
    if len(nonce) != NONCE_BYTES:
        raise BadInput(f"nonce: {len(nonce)} bytes", hint=f"send {NONCE_BYTES} random bytes")
    body = json.dumps({"at": at, "nonce": nonce.hex()}).encode()
    if clock_key is None:
        return seal(body, PAYLOAD_TYPE, *keys)
    envelope = json.loads(seal(body, PAYLOAD_TYPE, clock_key.key))
    return json.dumps({**envelope, "by": base64.b64encode(clock_key.by).decode()}).encode()


def open_time(envelope: bytes, trusted: Mapping[str, bytes]) -> SignedTime:
    """What a trusted key signed; the caller compares the nonce, or the age.

    Args:
        trusted: raw Ed25519 public keys by key id.

    Raises Untrusted.
    """
    if len(envelope) > MOST_BYTES:
        raise Untrusted(f"signed time: {len(envelope)} bytes, at most {MOST_BYTES}")
    until = math.inf
    if (by := _by(envelope)) is not None:
        trusted, until = _clock_key_of(by, trusted)
    payload = unseal(envelope, PAYLOAD_TYPE, trusted)
    try:
        body = json.loads(payload)
        found = SignedTime(float(body["at"]), bytes.fromhex(body["nonce"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Untrusted("signed time: it has no time and nonce") from error
    if not 0.0 <= found.at < _MOST_SECONDS:
        raise Untrusted(f"signed time: {found.at} is no time")
    if found.at > until:
        raise Untrusted(f"signed time: {found.at:.0f} is after {until:.0f}, until when its key counts")
    return found


def _by(envelope: bytes) -> bytes | None:
    """The envelope in the field "by"; None: there is none. Raises Untrusted where it is none."""
    try:
        body = json.loads(envelope)
        return base64.b64decode(body["by"], validate=True) if isinstance(body, dict) and "by" in body else None
    except (ValueError, TypeError) as error:
        raise Untrusted("signed time: this is not a signed envelope") from error


def _clock_key_of(by: bytes, trusted: Mapping[str, bytes]) -> tuple[dict[str, bytes], float]:
    """(the key that a trusted one names, raw by key id; until when it counts). Raises Untrusted."""
    payload = unseal(by, CLOCK_KEY_TYPE, trusted)
    try:
        body = json.loads(payload)
        raw, until = bytes.fromhex(body["key"]), float(body["until"])
        Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, KeyError, TypeError) as error:
        raise Untrusted("signed time: the key that signed it is malformed") from error
    return {key_id_of(raw): raw}, until


def answered_time(envelope: bytes, nonce: bytes, trusted: Mapping[str, bytes]) -> float:
    """The time in an answer to this nonce. Raises Untrusted."""
    found = open_time(envelope, trusted)
    if found.nonce != nonce:
        raise Untrusted("signed time: it answers another question", hint="an old answer was sent again")
    return found.at


def prove(envelope: bytes, certificate_request: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """A node's proof of its key, for this challenge and this request."""
    return key.sign(_to_sign(envelope, certificate_request), ec.ECDSA(hashes.SHA256()))


def is_proof(proof: bytes, envelope: bytes, certificate_request: bytes, key: ec.EllipticCurvePublicKey) -> bool:
    try:
        key.verify(proof, _to_sign(envelope, certificate_request), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _to_sign(envelope: bytes, certificate_request: bytes) -> bytes:
    return _PROOF + hashlib.sha256(envelope).digest() + hashlib.sha256(certificate_request).digest()
