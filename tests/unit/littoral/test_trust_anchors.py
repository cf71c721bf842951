"""Only who is trusted already introduces a CA or a signing key, and no root is dropped that leaves nothing behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from littoral.errors import BadInput, Untrusted
from littoral.identity import certificate_request, key_id_of, new_node_key, seal, sha256_fingerprint
from littoral.trust_anchors import MOST, PAYLOAD_TYPE, ToldAnchors, followed_keys, followed_roots, introduce_key, retire_key
from littoral_cloud.trust.ca import CertificateAuthority, new_root

NOW = 1_800_000_000.0


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Line:
    """Roots that were made one after another."""

    authorities: tuple[CertificateAuthority, ...]

    @classmethod
    def of(cls, number: int) -> Line:
        first = CertificateAuthority(*reversed(new_root(NOW)))
        made = [first]
        for _ in range(number - 1):
            key, root = new_root(NOW, first.certificate.subject)
            made.append(CertificateAuthority(root, key, introduction=made[-1].introduce(root)))
        return cls(tuple(made))

    @property
    def roots(self) -> tuple[bytes, ...]:
        return tuple(each.root_der for each in self.authorities)

    def told(self, retired: int = 0) -> ToldAnchors:
        introductions = tuple(der(each.introduction) for each in self.authorities if each.introduction)
        gone = tuple(sha256_fingerprint(root) for root in self.roots[:retired])
        return ToldAnchors(number=9, authorities=self.roots, introductions=introductions, retired=gone)


@pytest.fixture(scope="module")
def line() -> Line:
    return Line.of(3)


def test_a_node_that_was_away_follows_several_roots_at_once(line: Line) -> None:
    first, second, third = line.roots
    assert followed_roots([first], line.told()) == (first, second, third)
    assert followed_roots([second], line.told()) == (second, third)
    assert followed_roots([first], line.told(retired=2)) == (third,)
    assert followed_roots([third], line.told(retired=2)) == (third,)
    assert followed_roots([first, second, third], line.told(retired=1)) == (second, third)


def test_the_order_of_introductions_does_not_matter(line: Line) -> None:
    told = line.told()
    turned = replace(told, introductions=tuple(reversed(told.introductions)))
    assert followed_roots(line.roots[:1], turned) == line.roots


def test_a_root_that_nobody_introduced_is_refused(line: Line) -> None:
    stranger = CertificateAuthority(*reversed(new_root(NOW, line.authorities[0].certificate.subject)))
    told = replace(line.told(), authorities=(*line.roots, stranger.root_der))
    with pytest.raises(Untrusted, match=f"CA {stranger.fingerprint[:16]}: no CA that this node trusts has introduced it"):
        followed_roots(line.roots[:1], told)


def test_a_stranger_introduces_nothing(line: Line) -> None:
    stranger = CertificateAuthority(*reversed(new_root(NOW, line.authorities[0].certificate.subject)))
    _, root = new_root(NOW, stranger.certificate.subject)
    told = ToldAnchors(number=1, authorities=(der(root),), introductions=(der(stranger.introduce(root)),))
    with pytest.raises(Untrusted, match="has introduced it"):
        followed_roots(line.roots[:1], told)


def test_the_certificate_of_a_node_introduces_nothing(line: Line) -> None:
    """It is issued by a trusted root, for a key that its node has: it names no authority."""
    first = line.authorities[0]
    node_key = new_node_key()
    issued = first.issue_node(certificate_request(node_key), "node-a", NOW)
    name = x509.load_der_x509_certificate(issued.der).subject
    root = new_root(NOW, name, node_key)[1]
    told = ToldAnchors(number=1, authorities=(der(root),), introductions=(issued.der,))
    with pytest.raises(Untrusted, match="has introduced it"):
        followed_roots([first.root_der], told)


def test_the_last_root_is_never_dropped(line: Line) -> None:
    every = tuple(sha256_fingerprint(root) for root in line.roots)
    assert followed_roots(line.roots[:1], replace(line.told(), retired=every)) == line.roots[2:]
    alone = ToldAnchors(number=1, retired=every)
    assert followed_roots(line.roots[:1], alone) == line.roots[:1]


@pytest.mark.parametrize("where", ["authorities", "introductions"])
def test_what_is_no_certificate_is_bad_input(line: Line, where: str) -> None:
    with pytest.raises(BadInput, match="what is no certificate"):
        followed_roots(line.roots[:1], replace(line.told(), **{where: (b"\x30\x03abc",)}))


def test_more_than_a_node_reads_is_bad_input() -> None:
    with pytest.raises(BadInput, match=f"trust_anchors.retired: {MOST + 1} parts"):
        ToldAnchors(number=1, retired=("a" * 64,) * (MOST + 1)).check()
    with pytest.raises(BadInput, match="signing_keys: 1 parts"):
        ToldAnchors(number=1, signing_keys=(b"a" * 9000,)).check()


def test_signing_keys_are_followed_one_by_the_other_and_none_is_dropped() -> None:
    keys = [Ed25519PrivateKey.generate() for _ in range(3)]
    raw = [key.public_key().public_bytes_raw() for key in keys]
    envelopes = tuple(introduce_key(new.public_key().public_bytes_raw(), by) for by, new in pairwise(keys))
    for told in (envelopes, tuple(reversed(envelopes))):
        known = followed_keys({key_id_of(raw[0]): raw[0]}, ToldAnchors(number=1, signing_keys=told))
        assert known == {key_id_of(each): each for each in raw}


def test_a_signing_key_that_a_stranger_introduces_is_refused() -> None:
    mine, strange, new = (Ed25519PrivateKey.generate() for _ in range(3))
    public = mine.public_key().public_bytes_raw()
    told = ToldAnchors(number=1, signing_keys=(introduce_key(new.public_key().public_bytes_raw(), strange),))
    with pytest.raises(Untrusted, match="none that this node trusts has introduced the newest one"):
        followed_keys({key_id_of(public): public}, told)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'{"public_key": 7}', b'{"public_key": "AAAA"}', b'{"public_key": "!"}', b'{"key": "AAAA"}']
)
def test_a_malformed_introduction_of_a_key_is_refused(payload: bytes) -> None:
    mine = Ed25519PrivateKey.generate()
    public = mine.public_key().public_bytes_raw()
    told = ToldAnchors(number=1, signing_keys=(seal(payload, PAYLOAD_TYPE, mine),))
    with pytest.raises(Untrusted, match="has introduced the newest one"):
        followed_keys({key_id_of(public): public}, told)


class Keys:
    """Signing keys that were made one after another."""

    def __init__(self, number: int) -> None:
        self.private = [Ed25519PrivateKey.generate() for _ in range(number)]
        self.raw = [key.public_key().public_bytes_raw() for key in self.private]
        self.envelopes = tuple(introduce_key(new, by) for by, new in zip(self.private, self.raw[1:], strict=False))

    def known(self, *places: int) -> dict[str, bytes]:
        return {key_id_of(self.raw[place]): self.raw[place] for place in places}

    def told(self, *retired: bytes) -> ToldAnchors:
        return ToldAnchors(number=1, signing_keys=self.envelopes, retired_keys=retired)


def test_a_later_signing_key_retires_an_earlier_one_and_what_a_thief_introduced_with_it() -> None:
    keys, thief = Keys(3), Ed25519PrivateKey.generate()
    stolen = retire_key(keys.raw[0], keys.private[2])
    assert followed_keys(keys.known(0), keys.told(stolen)) == keys.known(1, 2)
    assert followed_keys(keys.known(0, 1, 2), keys.told(stolen)) == keys.known(1, 2)
    assert followed_keys(keys.known(1, 2), keys.told(stolen)) == keys.known(1, 2)
    theirs = thief.public_key().public_bytes_raw()
    with_theirs = keys.known(0, 1, 2) | {key_id_of(theirs): theirs}
    assert followed_keys(with_theirs, keys.told(stolen)) == keys.known(1, 2)
    assert followed_keys(with_theirs, keys.told()) == with_theirs


def test_an_earlier_signing_key_and_a_stranger_retire_nothing() -> None:
    keys, stranger = Keys(3), Ed25519PrivateKey.generate()
    for envelope in (
        retire_key(keys.raw[2], keys.private[0]),
        retire_key(keys.raw[1], keys.private[1]),
        retire_key(keys.raw[0], stranger),
        introduce_key(keys.raw[0], keys.private[2]),
        b"no envelope",
    ):
        assert followed_keys(keys.known(0, 1, 2), keys.told(envelope)) == keys.known(0, 1, 2)


def test_a_node_that_enrolled_after_the_retirement_follows_without_the_key_before() -> None:
    keys = Keys(2)
    assert followed_keys(keys.known(1), keys.told(retire_key(keys.raw[0], keys.private[1]))) == keys.known(1)


def test_a_retired_root_takes_with_it_what_a_thief_introduced(line: Line) -> None:
    _, theirs = new_root(NOW, line.authorities[0].certificate.subject)
    trusted = [*line.roots, der(theirs)]
    assert followed_roots(trusted, line.told(retired=1)) == line.roots[1:]
    assert set(followed_roots(trusted, line.told())) == set(trusted)
