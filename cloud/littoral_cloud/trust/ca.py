"""The fleet's own CA: an ECDSA P-256 root in DATA/ca. It names nodes, and the server that they talk to.

A node is named by the common name of its certificate alone; what a request says of itself is ignored. Certificates begin an
hour before they are issued, because clocks of small machines run late.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from littoral.errors import BadInput, Untrusted
from littoral.identity import private_pem, sha256_fingerprint
from littoral.signed_time import is_proof
from littoral_cloud.trust.files import create_folder, read_private

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
    """`node_days`: the life of a node's certificate."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey
    node_days: float = NODE_DAYS

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, hex: what the join line carries."""
        return sha256_fingerprint(self.der)

    @property
    def expires_at(self) -> float:
        return self.certificate.not_valid_after_utc.timestamp()

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

    def issue_node(self, csr_der: bytes, node_id: str, now: float, days: float | None = None) -> NodeCertificate:
        """A client certificate for the key of a request, named `node_id`. `days`: other than `node_days`.

        Raises:
            BadInput: the request is malformed, not signed by its own key, or not ECDSA P-256.
            Untrusted: this CA has expired.
        """
        public = read_request(csr_der)
        expires_at = self._until(now, self.node_days if days is None else days)
        certificate = (
            self._leaf(public, node_id, now, expires_at)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        der = certificate.public_bytes(Encoding.DER)
        return NodeCertificate(der, sha256_fingerprint(der), expires_at)

    def issue_server(self, names: Iterable[str], now: float, days: int = SERVER_DAYS) -> ServerIdentity:
        """A fresh key and certificate for these DNS names and addresses, and for this machine's own.

        Raises:
            BadInput: a name is neither a DNS name nor an address.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        expires_at = self._until(now, days)
        wanted = tuple(dict.fromkeys((*names, *LOCAL_NAMES)))
        certificate = (
            self._leaf(key.public_key(), "littoral-cloud", now, expires_at)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in wanted]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return ServerIdentity(private_pem(key), certificate.public_bytes(Encoding.PEM) + self.pem, expires_at)

    def _until(self, now: float, days: float) -> float:
        if now >= self.expires_at:
            raise Untrusted("ca: the root has expired", hint="move DATA/ca away, restart, and enrol every node again")
        return min(float(int(now + days * DAY_S)), self.expires_at)

    def _leaf(self, public: ec.EllipticCurvePublicKey, name: str, now: float, expires_at: float) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_instant(now - BACKDATE_S))
            .not_valid_after(_instant(expires_at))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


def open_ca(folder: Path, now: float) -> CertificateAuthority:
    """The CA in this folder, made there on first use.

    Raises Untrusted where what is there is damaged, others may read it, or key and certificate do not belong together.
    """
    if not folder.exists():
        key, certificate = _new_root(now)
        create_folder(folder, {"key.pem": private_pem(key), "ca.pem": certificate.public_bytes(Encoding.PEM)})
    hint = f"put {folder} back from a backup"
    try:
        found = load_pem_private_key(read_private(folder / "key.pem"), password=None)
        root = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise Untrusted(f"ca: {folder} is damaged: {error}", hint=hint) from error
    if not isinstance(found, ec.EllipticCurvePrivateKey) or found.public_key() != root.public_key():
        raise Untrusted(f"ca: the key and the certificate in {folder} do not belong together", hint=hint)
    return CertificateAuthority(root, found)


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


def _new_root(now: float) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Littoral CA {public_key_sha256(key.public_key())[:8]}")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_instant(now - DAY_S))
        .not_valid_after(_instant(now + ROOT_DAYS * DAY_S))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    if not name.isascii() or not name or any(c.isspace() or c in "/:@" for c in name):
        raise BadInput(f"public_names: {name!r} is neither a DNS name nor an address", hint="give names without port or scheme")
    return x509.DNSName(name)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
