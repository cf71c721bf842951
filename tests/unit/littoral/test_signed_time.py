"""A time that the fleet's signing key vouches for, and a node's proof of its key."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.errors import BadInput, Untrusted
from littoral.identity import key_id_of, new_node_key, seal
from littoral.signed_time import MOST_BYTES, PAYLOAD_TYPE, answered_time, is_proof, open_time, prove, seal_time

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
RAW = KEY.public_key().public_bytes_raw()
TRUSTED = {key_id_of(RAW): RAW}
NONCE = bytes(range(32))
AT = 1_800_000_000.5


def test_what_was_signed_comes_back_for_its_nonce_alone() -> None:
    envelope = seal_time(AT, NONCE, KEY)
    assert answered_time(envelope, NONCE, TRUSTED) == AT
    with pytest.raises(Untrusted, match="another question"):
        answered_time(envelope, bytes(32), TRUSTED)


def test_a_stranger_a_manifest_and_junk_are_not_believed() -> None:
    stranger = seal_time(AT, NONCE, Ed25519PrivateKey.generate())
    other_type = seal(json.dumps({"at": AT, "nonce": NONCE.hex()}).encode(), "application/vnd.littoral.manifest+json", KEY)
    for envelope in (stranger, other_type, b"", b"{}", b"x" * (MOST_BYTES + 1)):
        with pytest.raises(Untrusted):
            open_time(envelope, TRUSTED)


@pytest.mark.parametrize("body", [{}, {"at": "soon", "nonce": ""}, {"at": -1, "nonce": ""}, {"at": 1e300, "nonce": ""}, [1]])
def test_a_signed_body_without_a_time_is_refused(body: object) -> None:
    with pytest.raises(Untrusted, match="signed time"):
        open_time(seal(json.dumps(body).encode(), PAYLOAD_TYPE, KEY), TRUSTED)


@pytest.mark.parametrize("nonce", [b"", b"n" * 31, b"n" * 33])
def test_a_nonce_of_another_length_is_refused(nonce: bytes) -> None:
    with pytest.raises(BadInput, match=f"nonce: {len(nonce)} bytes"):
        seal_time(AT, nonce, KEY)


def test_a_proof_is_of_one_key_one_challenge_and_one_request() -> None:
    key, challenge = new_node_key(), seal_time(AT, NONCE, KEY)
    proof = prove(challenge, b"request", key)
    assert is_proof(proof, challenge, b"request", key.public_key())
    assert not is_proof(proof, challenge + b" ", b"request", key.public_key())
    assert not is_proof(proof, challenge, b"another", key.public_key())
    assert not is_proof(proof, challenge, b"request", new_node_key().public_key())
    assert not is_proof(b"junk", challenge, b"request", key.public_key())
