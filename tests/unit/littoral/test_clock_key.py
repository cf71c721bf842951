"""Where a command has the signing key, another key signs times: one that it signed for, until a time that it named."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.errors import Untrusted
from littoral.identity import key_id_of, seal
from littoral.signed_time import CLOCK_KEY_TYPE, MOST_BYTES, NONCE_BYTES, ClockKey, answered_time, new_clock_key, seal_time

NOW = 1_800_000_000.0
NONCE = b"n" * NONCE_BYTES
FLEET, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
CLOCK_KEY = new_clock_key(NOW + 100, FLEET)


def trusted(*keys: Ed25519PrivateKey) -> dict[str, bytes]:
    raw = [key.public_key().public_bytes_raw() for key in keys]
    return {key_id_of(each): each for each in raw}


def test_a_node_that_trusts_any_of_the_fleets_keys_takes_it() -> None:
    former = Ed25519PrivateKey.generate()
    envelope = seal_time(NOW, NONCE, clock_key=new_clock_key(NOW + 100, FLEET, former))
    assert answered_time(envelope, NONCE, trusted(former)) == answered_time(envelope, NONCE, trusted(FLEET)) == NOW
    eight = [Ed25519PrivateKey.generate() for _ in range(8)]
    assert len(seal_time(NOW, NONCE, clock_key=new_clock_key(NOW, *eight))) < MOST_BYTES


def test_it_tells_no_time_after_its_end() -> None:
    with pytest.raises(Untrusted, match="is after 1800000100, until when its key counts"):
        answered_time(seal_time(NOW + 101, NONCE, clock_key=CLOCK_KEY), NONCE, trusted(FLEET))


def test_a_key_that_a_stranger_named_is_refused() -> None:
    with pytest.raises(Untrusted, match="does not trust"):
        answered_time(seal_time(NOW, NONCE, clock_key=new_clock_key(NOW + 100, STRANGER)), NONCE, trusted(FLEET))
    stolen = ClockKey(STRANGER, CLOCK_KEY.until, CLOCK_KEY.by)  # another key under the fleet's word
    with pytest.raises(Untrusted, match="does not trust"):
        answered_time(seal_time(NOW, NONCE, clock_key=stolen), NONCE, trusted(FLEET))


@pytest.mark.parametrize(
    "by",
    [
        7,
        "!",
        "",
        base64.b64encode(b"no envelope").decode(),
        base64.b64encode(seal(b"[]", CLOCK_KEY_TYPE, FLEET)).decode(),
        base64.b64encode(seal(b'{"key": "00", "until": 1}', CLOCK_KEY_TYPE, FLEET)).decode(),
        base64.b64encode(seal(b'{"key": 1}', "another type", FLEET)).decode(),
    ],
)
def test_a_malformed_one_is_refused(by: Any) -> None:
    envelope = json.loads(seal_time(NOW, NONCE, FLEET))
    with pytest.raises(Untrusted):
        answered_time(json.dumps({**envelope, "by": by}).encode(), NONCE, trusted(FLEET))
