"""Certificates of a CA that only a test knows: for whom the fleet must refuse, and for servers without a whole coordinator."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from littoral.identity import private_pem, sha256_fingerprint
from littoral_cloud.trust.ca import CertificateAuthority, public_key_sha256

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Credential:
    """PEM of one key and its certificate."""

    key: bytes
    certificate: bytes

    @property
    def sha256(self) -> str:
        return sha256_fingerprint(x509.load_pem_x509_certificate(self.certificate).public_bytes(Encoding.DER))

    @property
    def public_key_sha256(self) -> str:
        public = x509.load_pem_x509_certificate(self.certificate).public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        return public_key_sha256(public)


class Authority:
    """Issues for whom it is told to."""

    @property
    def issuer(self) -> CertificateAuthority:
        """As a coordinator has it: issues for whoever sends a request."""
        return CertificateAuthority(self._certificate, self._key)

    def __init__(self, name: str = "a test's CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key, LONG_AGO + datetime.timedelta(days=36500))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self._certificate.public_bytes(Encoding.PEM)

    def issue(self, name: str, *, begins_at: float | None = None, expires_at: float = 4e9, server: bool = False) -> Credential:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        begins = LONG_AGO if begins_at is None else datetime.datetime.fromtimestamp(begins_at, datetime.UTC)
        builder = self._builder(subject, key, datetime.datetime.fromtimestamp(expires_at, datetime.UTC), begins)
        if server:
            names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Credential(private_pem(key), certificate.public_bytes(Encoding.PEM))

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        expires: datetime.datetime,
        begins: datetime.datetime = LONG_AGO,
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(expires)
        )
