"""What certificates of the fleet are made of."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from littoral.errors import BadInput

CertifiedKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
CERTIFIED_KEYS = (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey)


def authority_builder(
    subject: x509.Name, issuer: x509.Name, key: CertifiedKey, begins: datetime, ends: datetime, path_length: int | None = 0
) -> x509.CertificateBuilder:
    """`path_length` 0: it issues to nodes and servers alone."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def path_length_of(root: x509.Certificate) -> int | None:
    return root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def general_name_of(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    if not name.isascii() or not name or any(c.isspace() or c in "/:@" for c in name):
        raise BadInput(f"public_names: {name!r} is neither a DNS name nor an address", hint="give names without port or scheme")
    return x509.DNSName(name)


def key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
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


def instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
