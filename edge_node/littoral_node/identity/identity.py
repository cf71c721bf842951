"""Who a node is and whom it believes, as it is written down. No file is opened here: littoral_node.identity.folder does that.

Everything lies twice. node.json, key.pem, cert.pem and ca.pem are the identity; identity.json is a copy of all four, written
first. Where one of the four is damaged, it is made again from the copy; where they are whole, they count, and the copy is made
again from them. So one file that the disk lost never costs a node its session, and a kill in the middle of a renewal leaves the
certificate before.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from littoral.decoder import decode
from littoral.errors import BadInput
from littoral.validity import RENEW_AFTER, expires_soon

SCHEMA = 1
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is and whom it believes. `signing_keys`: raw Ed25519 public keys by key id."""

    node_id: str
    node_name: str
    fleet_address: str  # host:port
    certificate_pem: bytes
    ca_pem: bytes
    key_pem: bytes
    signing_keys: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class WrittenIdentity:
    """node.json, and with `pems` its copy, identity.json. `signing_keys` are base64, `parts` SHA-256 of the PEMs."""

    node_id: str
    node_name: str
    fleet_address: str
    signing_keys: Mapping[str, str]
    parts: Mapping[str, str]
    pems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Life:
    """Of a certificate: seconds since 1970-01-01 UTC."""

    begins_at: float
    ends_at: float

    def due(self, now: float) -> bool:
        """Whether the next one is to be asked for."""
        return now >= self.begins_at + (self.ends_at - self.begins_at) * RENEW_AFTER

    def soon(self, now: float) -> bool:
        """Whether it ends so soon that an operator should act, or has ended."""
        return expires_soon(self.begins_at, self.ends_at, now)

    def over(self, now: float) -> bool:
        return now >= self.ends_at

    def describe(self, now: float) -> str:
        """How it stands, for an operator."""
        days = (self.ends_at - now) / DAY_S
        return (
            f"the certificate expired {-days:.1f} days ago" if self.over(now) else f"the certificate expires in {days:.1f} days"
        )


def life_of(certificate_pem: bytes) -> Life:
    """Raises ValueError where it is no certificate."""
    from cryptography import x509  # a megabyte of memory: an agent looks at its certificate once

    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return Life(certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp())


def _pems_of(identity: Identity) -> dict[str, bytes]:
    return {"key": identity.key_pem, "certificate": identity.certificate_pem, "ca": identity.ca_pem}


def node_body(identity: Identity) -> dict[str, Any]:
    """Of node.json."""
    return {
        "schema": SCHEMA,
        "node_id": identity.node_id,
        "node_name": identity.node_name,
        "fleet_address": identity.fleet_address,
        "signing_keys": {name: base64.b64encode(raw).decode() for name, raw in identity.signing_keys.items()},
        "parts": {name: hashlib.sha256(pem).hexdigest() for name, pem in _pems_of(identity).items()},
    }


def copy_body(identity: Identity) -> dict[str, Any]:
    """Of identity.json: everything."""
    return {**node_body(identity), "pems": {name: pem.decode("ascii") for name, pem in _pems_of(identity).items()}}


def identity_from(body: Mapping[str, Any], pems: Mapping[str, bytes | None]) -> Identity:
    """Args:
    body: of node.json, or of the copy.
    pems: key, certificate and ca; None: is missing.

    Raises ValueError, naming what of it is not what the body says.
    """
    if body.get("schema") != SCHEMA:
        raise ValueError(f"node.json: schema {body.get('schema')!r}, this agent reads {SCHEMA}: upgrade it")
    try:
        written = decode(WrittenIdentity, {name: value for name, value in body.items() if name != "schema"}, "node.json")
    except BadInput as error:
        raise ValueError(str(error)) from error
    wrong = [
        FILES[name] for name, pem in pems.items() if pem is None or hashlib.sha256(pem).hexdigest() != written.parts.get(name)
    ]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: not what node.json names, or missing")
    return Identity(
        node_id=written.node_id,
        node_name=written.node_name,
        fleet_address=written.fleet_address,
        certificate_pem=pems["certificate"] or b"",
        ca_pem=pems["ca"] or b"",
        key_pem=pems["key"] or b"",
        signing_keys=signing_keys_of(body),
    )


def signing_keys_of(body: Mapping[str, Any]) -> dict[str, bytes]:
    """Raises ValueError, KeyError, AttributeError where there are none."""
    return {str(name): base64.b64decode(raw) for name, raw in body["signing_keys"].items()}


def copied_pems(body: Mapping[str, Any]) -> dict[str, bytes | None]:
    """Of the copy. Raises ValueError."""
    try:
        return {name: str(body["pems"][name]).encode("ascii") for name in FILES}
    except (KeyError, TypeError) as error:
        raise ValueError(f"identity.json: lacks {error}") from error


FILES = {"key": "key.pem", "certificate": "cert.pem", "ca": "ca.pem"}


@dataclass(frozen=True, slots=True)
class FoundIdentity:
    """What of an identity could be read.

    Args:
        identity: None: no session can be opened with it.
        signing_keys: whom to believe; where the identity is damaged, what of them can still be read.
        node_id, node_name: "": not known.
        damage: in words; "": nothing is wrong.
        mended: it is whole all the same: made again from its copy, or the copy from it.
    """

    identity: Identity | None
    signing_keys: Mapping[str, bytes]
    node_id: str = ""
    node_name: str = ""
    damage: str = ""
    mended: bool = False
