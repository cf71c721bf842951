"""The keys of one fleet, as they lie in the folder of keys. Nothing here ever goes to Redis.

FOLDER/ca, ca-2, ca-3       one CA each, in the order in which they were made (littoral_cloud/trust/ca.py)
FOLDER/signing, signing-2   one signing key each

Which of them is in force is written in the ledger (littoral_cloud/fleet/anchors.py), for all coordinators. Without that document
the newest is.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from littoral.errors import Unavailable
from littoral.identity import key_id_of, sha256_fingerprint
from littoral.signed_time import ClockKey, new_clock_key, seal_time
from littoral_cloud.fleet.anchors import FleetAnchors
from littoral_cloud.fleet.identity import FleetIdentity
from littoral_cloud.fleet.key_records import AuthorityRecord
from littoral_cloud.trust.ca import NODE_DAYS, CertificateAuthority, NodeCertificate, ServerIdentity, open_ca
from littoral_cloud.trust.command_key import KeyCommand, KeyCommands, is_behind_command
from littoral_cloud.trust.signing import IntroducedSigningKey, open_signing_key

T = TypeVar("T")

FILES_ALONE = KeyCommands()

CLOCK_KEY_S = 2 * 24 * 3600.0
AT_ONCE = 4
"""Signatures that commands make at one time."""

MOST_SIGNATURES = 8
"""Under one signed time."""


class Trust:
    """Args:
    authorities, keys: with their private parts, oldest first.
    node_days: the life of a node's certificate.
    commands: that have keys.
    """

    def __init__(
        self,
        folder: Path,
        authorities: Iterable[CertificateAuthority],
        keys: Iterable[IntroducedSigningKey],
        node_days: float = NODE_DAYS,
        commands: KeyCommands = FILES_ALONE,
    ) -> None:
        self.folder = folder
        self.commands = commands
        self._node_days = node_days
        self._authorities = {each.fingerprint: each for each in authorities}
        self._keys = {each.key_id: each for each in keys}
        self._threads = ThreadPoolExecutor(AT_ONCE, "signing")  # without a thread before it is used
        self._clock_key: ClockKey | None = None
        self._clock_key_by: tuple[str, ...] = ()
        self._public: dict[str, bytes] = {}
        self.node_keys: dict[str, bytes] = {}
        """Those that new nodes trust, as `signing_keys`; a retired one is not among them."""
        self.anchors: FleetAnchors
        self.follow(None)

    def _from_folder(self, known: FleetIdentity | None) -> FleetAnchors:
        """What the folder alone says: each of them has been in force, up to those that the fleet's identity names, if it does."""
        authorities = _until(self._authorities, known.ca if known else "")
        keys = _until(self._keys, known.signing_key if known else "")
        return FleetAnchors(
            number=max(len(authorities), len(keys)) - 1,
            authorities=tuple(each.record(number) for number, each in enumerate(authorities)),
            signing_keys=tuple(each.record(number) for number, each in enumerate(keys)),
        )

    def follow(self, anchors: FleetAnchors | None, known: FleetIdentity | None = None) -> None:
        """Takes over what the ledger says; None: it says nothing."""
        self.anchors = anchors or self._from_folder(known)
        told = [base64.b64decode(each.public_key) for each in self.anchors.signing_keys]
        self._public.update((key_id_of(raw), raw) for raw in (*told, *(each.raw for each in self._keys.values())))
        self.node_keys.clear()
        self.node_keys.update(
            (each.key_id, base64.b64decode(each.public_key)) for each in self.anchors.signing_keys if not each.retirement
        )

    def look_again(self, now: float) -> None:
        """Reads what was put into the folder since it was opened. Raises Untrusted."""
        found = open_trust(self.folder, now, self._node_days, self.commands)
        self._authorities, self._keys = found._authorities, found._keys
        self.follow(self.anchors)

    # -- the CA ----------------------------------------------------------------------------------------------------

    @property
    def ca(self) -> CertificateAuthority:
        """The one in force; where its key is not here, the last one before it whose key is."""
        usable = [self._authorities[each.fingerprint] for each in self.anchors.authorities if self._is_usable(each)]
        return usable[-1] if usable else next(iter(self._authorities.values()))

    def _is_usable(self, record: AuthorityRecord) -> bool:
        return bool(record.in_force_at) and record.fingerprint in self._authorities

    @property
    def lacks(self) -> str:
        """What is in force and not here, in words; "": nothing."""
        found = []
        if (ca := self.anchors.authority.fingerprint) not in self._authorities:
            found.append(f"the key of CA {ca[:16]}")
        if (key := self.anchors.signing_key.key_id) not in self._keys:
            found.append(f"signing key {key[:16]}")
        return " and ".join(found)

    def has_authority(self, fingerprint: str) -> bool:
        return fingerprint in self._authorities

    def has_signing_key(self, key_id: str) -> bool:
        return key_id in self._keys

    def shown(self, now: float) -> tuple[str, bytes]:
        """Another value where servers have to show another certificate."""
        return self.ca.fingerprint, self._chain(now)

    def issue_server(self, names: Iterable[str], now: float) -> ServerIdentity:
        """As CertificateAuthority.issue_server, with a chain that leads every node to a root that it trusts."""
        return self.ca.issue_server(names, now, behind=self._chain(now))

    def _chain(self, now: float) -> bytes:
        """What a server sends behind its certificate. The order counts: a verifier that meets a root which it does not trust
        gives up, so the introductions stand before the roots."""
        told = self.anchors.in_force.told
        introductions = [x509.load_der_x509_certificate(der) for der in reversed(told.introductions)]
        roots = [x509.load_der_x509_certificate(der) for der in reversed(told.authorities)]
        sent = [*self.ca.intermediates, *introductions, *roots]
        return b"".join(each.public_bytes(Encoding.PEM) for each in sent if each.not_valid_after_utc.timestamp() > now)

    @property
    def client_authorities(self) -> bytes:
        """PEM of every CA that issued certificates of nodes."""
        found = (each.certificate for each in self.anchors.authorities)
        return b"".join(x509.load_der_x509_certificate(base64.b64decode(each)).public_bytes(Encoding.PEM) for each in found)

    def root_named(self, fingerprint: str) -> bytes:
        """The root with this SHA-256, DER; another one: that of the CA in force."""
        named = (each.root_der for each in self.anchors.authorities)
        return next((der for der in named if sha256_fingerprint(der) == fingerprint), self.ca.root_der)

    # -- issuing to nodes, as littoral_cloud.fleet.enrolment.Issuer --------------------------------------------------

    @property
    def threads(self) -> Executor | None:
        """Where to issue: a command takes its time."""
        return self._threads if any(is_behind_command(each.key) for each in self._authorities.values()) else None

    def public_key_sha256(self, csr_der: bytes) -> str:
        return self.ca.public_key_sha256(csr_der)

    def is_proof(self, signature: bytes, challenge: bytes, csr_der: bytes) -> bool:
        return self.ca.is_proof(signature, challenge, csr_der)

    def issue_node(self, csr_der: bytes, node_id: str, now: float, *, knows: int | None = None) -> NodeCertificate:
        """As CertificateAuthority.issue_node.

        Args:
            knows: the number of the anchors that the node knows; None: it does not matter.
        """
        wanted = self.anchors.issuer_for(knows).fingerprint if knows is not None else ""
        return self._authorities.get(wanted, self.ca).issue_node(csr_der, node_id, now, self._node_days)

    # -- the signing key -------------------------------------------------------------------------------------------

    @property
    def signing_key(self) -> Ed25519PrivateKey:
        """The one in force, or as `ca`."""
        return self._usable_keys[-1].key

    @property
    def _usable_keys(self) -> list[IntroducedSigningKey]:
        """In force, or before; oldest first, at least one."""
        known = [each.key_id for each in self.anchors.signing_keys if each.in_force_at]
        return [self._keys[id] for id in known if id in self._keys] or list(self._keys.values())[:1]

    def key_of(self, key_id: str) -> Ed25519PrivateKey:
        """Raises KeyError where it is not here."""
        return self._keys[key_id].key

    @property
    def signing_key_id(self) -> str:
        return key_id_of(self.signing_key.public_key().public_bytes_raw())

    def signing_keys(self) -> dict[str, bytes]:
        """Raw Ed25519 public keys by key id: of every key that signed manifests, or will. `follow` changes it in place."""
        return self._public

    def seal_time(self, at: float, nonce: bytes) -> bytes:
        """As littoral.signed_time: by every key that a node may know that was away, the one in force first.

        Raises Unavailable where commands have them, and `renew_clock_key` has not ended yet.
        """
        keys = [each.key for each in reversed(self._usable_keys[-MOST_SIGNATURES:])]
        if not any(is_behind_command(key) for key in keys):
            return seal_time(at, nonce, *keys)
        if self._clock_key is None or self._clock_key.until < at:
            raise Unavailable("the key that signs times is not made yet", hint="ask again in a minute")
        return seal_time(at, nonce, clock_key=self._clock_key)

    def renew_clock_key(self, now: float) -> None:
        """Where a command has a signing key: has the key signed that signs times, once half of its life is over, or after another
        signing key came into force. Blocking, for a thread. Raises CommandFailed."""
        keys = tuple(each.key for each in reversed(self._usable_keys[-MOST_SIGNATURES:]))
        if not any(is_behind_command(key) for key in keys):
            return
        made_for = tuple(key_id_of(key.public_key().public_bytes_raw()) for key in keys)
        if self._clock_key is None or self._clock_key.until - now < CLOCK_KEY_S / 2 or made_for != self._clock_key_by:
            self._clock_key, self._clock_key_by = new_clock_key(now + CLOCK_KEY_S, *keys), made_for


def _until(found: Mapping[str, T], id: str) -> tuple[T, ...]:
    """Up to the one with this id; all where it is not among them."""
    places = list(found)
    return tuple(found.values())[: places.index(id) + 1] if id in found else tuple(found.values())


def has_trust(folder: Path) -> bool:
    """Whether open_trust would find keys there; makes nothing."""
    return bool(numbered(folder, "ca")) and bool(numbered(folder, "signing"))


def open_trust(folder: Path, now: float, node_days: float = NODE_DAYS, commands: KeyCommands = FILES_ALONE) -> Trust:
    """Opens the CAs and signing keys in this folder, making the first of each where there is none. Raises Untrusted, NoSpace or
    BadInput."""
    authorities = [open_ca(place, now, commands.ca) for place in _with_keys(folder, "ca", commands.ca)]
    keys = [open_signing_key(place, commands.signing) for place in _with_keys(folder, "signing", commands.signing)]
    return Trust(folder, authorities, keys, node_days, commands)


def _with_keys(folder: Path, name: str, command: KeyCommand | None) -> tuple[Path, ...]:
    """Without folders whose key was destroyed or lost, where another one has its key."""
    places = numbered(folder, name) or (folder / name,)
    return tuple(each for each in places if command is not None or (each / "key.pem").exists()) or places[-1:]


def numbered(folder: Path, name: str) -> tuple[Path, ...]:
    """FOLDER/NAME, NAME-2, NAME-3 and so on, those that are there."""
    found = {1: folder / name} | {
        int(place.name.removeprefix(f"{name}-")): place
        for place in folder.glob(f"{name}-*")
        if place.name.removeprefix(f"{name}-").isdecimal()
    }
    return tuple(place for _, place in sorted(found.items()) if place.is_dir())
