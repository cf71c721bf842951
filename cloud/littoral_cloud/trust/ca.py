"""A CA of the fleet: ECDSA P-256, in a folder of its own. It names nodes, and the server that they talk to.

FOLDER/ca.pem           its certificate; where another CA issued that, the chain behind it, up to the root that nodes pin
FOLDER/key.pem          its key; none where a command signs (littoral_cloud/trust/command_key.py)
FOLDER/introduced.pem   of a later one: its root, as the root before it certified it (littoral/trust_anchors.py)

A node is named by the common name of its certificate alone; what a request says of itself is ignored. Certificates begin an
hour before they are issued, because clocks of small machines run late.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from littoral.errors import BadInput, Untrusted
from littoral.identity import private_pem, sha256_fingerprint
from littoral.signed_time import is_proof
from littoral_cloud.fleet.key_records import AuthorityRecord, encoded
from littoral_cloud.trust.certificate_parts import (
    CERTIFIED_KEYS,
    authority_builder,
    common_name,
    general_name_of,
    instant,
    key_usage,
    path_length_of,
)
from littoral_cloud.trust.command_key import KeyCommand, key_in, no_folder
from littoral_cloud.trust.files import create_folder

DAY_S = 24 * 3600.0
ROOT_DAYS = 3650
NODE_DAYS = 30.0
SERVER_DAYS = 90
BACKDATE_S = 3600.0
MAX_REQUEST_BYTES = 8192
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class NodeCertificate:
    der: bytes
    sha256: str  # of the DER, hex
    expires_at: float  # seconds since 1970-01-01 UTC


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """For one start of the server; its key is never written down."""

    private_key_pem: bytes
    chain_pem: bytes  # the server's certificate, then the root: a new node looks for the root of its join line in it
    expires_at: float


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Args:
    node_days: the life of a node's certificate.
    above: the certificates between this one and the root, with the root as the last; empty: it is the root.
    introduction: see FOLDER/introduced.pem; None: it was the first, or has the root of the one before it.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: tuple[x509.Certificate, ...] = ()
    introduction: x509.Certificate | None = None
    node_days: float = NODE_DAYS

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, hex."""
        return sha256_fingerprint(self.certificate.public_bytes(Encoding.DER))

    @property
    def root(self) -> x509.Certificate:
        """What nodes pin."""
        return self.above[-1] if self.above else self.certificate

    @property
    def root_der(self) -> bytes:
        return self.root.public_bytes(Encoding.DER)

    @property
    def root_fingerprint(self) -> str:
        """SHA-256 of the root's DER, hex: what the join line carries."""
        return sha256_fingerprint(self.root_der)

    @property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """What a server must send for a node to find the root."""
        return (self.certificate, *self.above[:-1]) if self.above else ()

    @property
    def files(self) -> dict[str, bytes]:
        """Of its folder, but for the key."""
        chain = b"".join(each.public_bytes(Encoding.PEM) for each in (self.certificate, *self.above))
        introduced = {"introduced.pem": self.introduction.public_bytes(Encoding.PEM)} if self.introduction else {}
        return {"ca.pem": chain, **introduced}

    def record(self, number: int) -> AuthorityRecord:
        """For the ledger, as of one that is in force since it was made."""
        made_at = self.certificate.not_valid_before_utc.timestamp()
        return AuthorityRecord(
            certificate=encoded(self.certificate.public_bytes(Encoding.DER)),
            root=encoded(self.root_der) if self.above else "",
            introduction=encoded(self.introduction.public_bytes(Encoding.DER)) if self.introduction else "",
            number=number,
            introduced_at=made_at,
            in_force_at=made_at,
        )

    @property
    def expires_at(self) -> float:
        return min(each.not_valid_after_utc.timestamp() for each in (self.certificate, *self.above))

    @property
    def validity(self) -> tuple[float, float]:
        """From when until when; seconds since 1970-01-01 UTC."""
        return self.certificate.not_valid_before_utc.timestamp(), self.expires_at

    def public_key_sha256(self, csr_der: bytes) -> str:
        """Of the key that signed a request; as `read_request`."""
        return public_key_sha256(read_request(csr_der))

    def is_proof(self, signature: bytes, challenge: bytes, csr_der: bytes) -> bool:
        """Whether the key of a request signed this challenge together with it; as `read_request`."""
        return is_proof(signature, challenge, csr_der, read_request(csr_der))

    @property
    def threads(self) -> Executor | None:
        """None: it signs at once, in any thread."""
        return None

    def root_named(self, fingerprint: str) -> bytes:
        """The root, DER: a CA alone has one."""
        return self.root_der

    def issue_node(
        self, csr_der: bytes, node_id: str, now: float, days: float | None = None, *, knows: int | None = None
    ) -> NodeCertificate:
        """A client certificate for the key of a request, named `node_id`. `days`: other than `node_days`.

        Args:
            knows: see Trust.issue_node; a CA alone issues to all.

        Raises:
            BadInput: the request is malformed, not signed by its own key, or not ECDSA P-256.
            Untrusted: this CA has expired.
        """
        public = read_request(csr_der)
        expires_at = self._until(now, self.node_days if days is None else days)
        certificate = (
            self._leaf(public, node_id, now, expires_at)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        der = certificate.public_bytes(Encoding.DER)
        return NodeCertificate(der, sha256_fingerprint(der), expires_at)

    def issue_server(
        self, names: Iterable[str], now: float, days: int = SERVER_DAYS, *, behind: bytes | None = None
    ) -> ServerIdentity:
        """A fresh key and certificate for these DNS names and addresses, and for this machine's own.

        Args:
            behind: the chain that is sent behind the certificate, PEM; None: its own.

        Raises:
            BadInput: a name is neither a DNS name nor an address. Untrusted: this CA has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        expires_at = self._until(now, days)
        wanted = tuple(dict.fromkeys((*names, *LOCAL_NAMES)))
        certificate = (
            self._leaf(key.public_key(), "littoral-cloud", now, expires_at)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
            .add_extension(x509.SubjectAlternativeName([general_name_of(name) for name in wanted]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        chain = self.files["ca.pem"] if behind is None else behind
        return ServerIdentity(private_pem(key), certificate.public_bytes(Encoding.PEM) + chain, expires_at)

    def introduce(self, root: x509.Certificate) -> x509.Certificate:
        """Another root's subject and key, certified by this one, which is a root: who trusts this one trusts the other."""
        ends = min(root.not_valid_after_utc, self.certificate.not_valid_after_utc)
        key = root.public_key()
        assert isinstance(key, CERTIFIED_KEYS)
        return (
            authority_builder(root.subject, self.certificate.subject, key, root.not_valid_before_utc, ends, path_length_of(root))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def _until(self, now: float, days: float) -> float:
        if now >= self.expires_at:
            raise Untrusted("ca: the root has expired", hint="move its folders of keys away, restart, and enrol every node again")
        return min(float(int(now + days * DAY_S)), self.expires_at)

    def _leaf(self, public: ec.EllipticCurvePublicKey, name: str, now: float, expires_at: float) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(common_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(instant(now - BACKDATE_S))
            .not_valid_after(instant(expires_at))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )


def open_ca(folder: Path, now: float, command: KeyCommand | None = None) -> CertificateAuthority:
    """The CA in this folder, made there on first use.

    Args:
        command: has the key, where the folder has none; then it makes no folder.

    Raises Untrusted where what is there is damaged, others may read it, or key and certificates do not belong together.
    """
    if not folder.exists():
        if command is not None:
            raise no_folder(folder, command, "fleet init-ca")
        key, certificate = new_root(now)
        create_folder(folder, {"key.pem": private_pem(key), **CertificateAuthority(certificate, key).files})
    hint = f"put {folder} back from a backup"
    try:
        chain = x509.load_pem_x509_certificates((folder / "ca.pem").read_bytes())
        introduced = folder / "introduced.pem"
        introduction = x509.load_pem_x509_certificate(introduced.read_bytes()) if introduced.exists() else None
        found = key_in(folder, chain[0].public_key(), command)
    except (OSError, ValueError, TypeError) as error:
        raise Untrusted(f"ca: {folder} is damaged: {error}", hint=hint) from error
    if not isinstance(found, ec.EllipticCurvePrivateKey) or found.public_key() != chain[0].public_key():
        raise Untrusted(f"ca: the key and the certificate in {folder} do not belong together", hint=hint)
    return CertificateAuthority(chain[0], found, tuple(chain[1:]), introduction)


def read_request(csr_der: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a PKCS#10 request whose sender holds the private one. Raises BadInput."""
    hint = "send a PKCS#10 request, DER, ECDSA P-256"
    if len(csr_der) > MAX_REQUEST_BYTES:
        raise BadInput(f"certificate_request: {len(csr_der)} bytes is over {MAX_REQUEST_BYTES}", hint=hint)
    try:
        request = x509.load_der_x509_csr(csr_der)
        public = request.public_key()
        signed = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion) as error:
        raise BadInput("certificate_request: is malformed", hint=hint) from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise BadInput("certificate_request: its key is not ECDSA P-256", hint=hint)
    if not signed:
        raise BadInput("certificate_request: is not signed by its own key", hint=hint)
    return public


def public_key_sha256(public: ec.EllipticCurvePublicKey) -> str:
    """Of the DER SubjectPublicKeyInfo, hex."""
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def new_root(
    now: float, name: x509.Name | None = None, key: ec.EllipticCurvePrivateKey | None = None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A root and its key.

    Args:
        name: of the root before it, as RFC 4210 wants it of one that is introduced; None: a new one.
        key: None: a new one.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = name or common_name(f"Littoral CA {public_key_sha256(key.public_key())[:8]}")
    builder = authority_builder(name, name, key.public_key(), instant(now - DAY_S), instant(now + ROOT_DAYS * DAY_S))
    return key, builder.sign(key, hashes.SHA256())
