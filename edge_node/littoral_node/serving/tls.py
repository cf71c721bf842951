"""The certificate that a node shows to clients from elsewhere: the operator's, or one that it makes for itself once.

A self-made one is its own authority: clients are given the file, or compare the fingerprint that the node prints.
"""

from __future__ import annotations

import datetime
import socket
import ssl
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from littoral.errors import BadInput
from littoral.identity import new_node_key, private_pem, sha256_fingerprint
from littoral_node.identity.files import Damaged, ignore_damage, write_atomic

if TYPE_CHECKING:
    from cryptography import x509

CERTIFICATE, KEY = "serving-cert.pem", "serving-key.pem"
_YEARS = 10
"""Clients hold the certificate itself: a new one breaks every one of them."""
_ANY = ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound


@dataclass(frozen=True, slots=True)
class Tls:
    certificate: Path
    key: Path
    fingerprint: str  # SHA-256 of the certificate, DER; hex

    def context(self) -> ssl.SSLContext:
        """For the HTTP server."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.load_cert_chain(self.certificate, self.key)
        return made


def tls_of(
    folder: Path, hosts: tuple[str, ...], given: tuple[Path, Path] | None = None, *, now: float, damaged: Damaged = ignore_damage
) -> Tls:
    """The given files; where none are given, those of the node's folder, made now if they are not there, are damaged or have
    expired.

    Args:
        hosts: that the node listens on; a self-made certificate names them.
        given: certificate and key.
        now: seconds since 1970-01-01 UTC.

    Raises:
        BadInput: they are no certificate and its key.
    """
    certificate, key = given or (folder / CERTIFICATE, folder / KEY)
    if given is None:
        _keep_made(certificate, key, hosts, now, damaged)
    try:
        return _read(certificate, key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BadInput(
            f"tls-cert {certificate}, tls-key {key}: are no certificate and its key: {error}",
            hint="PEM files, readable by the node",
        ) from error


def _keep_made(certificate: Path, key: Path, hosts: tuple[str, ...], now: float, damaged: Damaged) -> None:
    """Makes the node's own certificate where there is none that can be used. Clients need the new one: it is logged."""
    if not (key.exists() or certificate.exists()):
        _make(certificate, key, hosts, now)
        return
    try:
        _read(certificate, key)
        whole = _expires(certificate) > now
    except (OSError, ValueError) as error:
        damaged(certificate, f"it and {key.name} are no certificate and its key ({error}): made anew, give it to the clients")
        whole = False
    if not whole:
        _make(certificate, key, hosts, now)


def _read(certificate: Path, key: Path) -> Tls:
    """Raises OSError, of which ssl.SSLError is one, or ValueError."""
    found = Tls(certificate, key, "")
    found.context()
    fingerprint = sha256_fingerprint(ssl.PEM_cert_to_DER_cert(_first(certificate.read_text())))
    return Tls(certificate, key, fingerprint)


def _first(pem: str) -> str:
    end = "-----END CERTIFICATE-----"
    return pem[pem.find("-----BEGIN CERTIFICATE-----") :].partition(end)[0] + end


def _expires(certificate: Path) -> float:
    """Of one that signed itself. Raises ValueError where it was changed since."""
    from cryptography import x509  # a megabyte that only who needs it pays for
    from cryptography.exceptions import InvalidSignature

    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    try:
        found.verify_directly_issued_by(found)
    except (InvalidSignature, TypeError) as error:
        raise ValueError("its signature is not its own") from error
    return found.not_valid_after_utc.timestamp()


def _make(certificate: Path, key: Path, hosts: tuple[str, ...], now: float) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    made = new_node_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"littoral-node {socket.gethostname()}"[:64])])
    began = datetime.datetime.fromtimestamp(now, datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(began - datetime.timedelta(days=1))  # the clock of the other side may be behind
        .not_valid_after(began + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(made, hashes.SHA256())
    )
    write_atomic(key, private_pem(made), mode=0o600)
    write_atomic(certificate, signed.public_bytes(Encoding.PEM))


def _names(hosts: tuple[str, ...]) -> list[x509.GeneralName]:
    """By which clients may reach the node: its host name, the addresses it listens on, and loopback."""
    from cryptography import x509

    own = socket.gethostname()
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        *([x509.DNSName(own)] if own.isascii() and own != "localhost" else []),
    ]
    addresses = {ip_address("127.0.0.1"), ip_address("::1")}
    for host in hosts:
        try:
            addresses |= set() if host in _ANY else {ip_address(host)}
        except ValueError:
            names.append(x509.DNSName(host))
    if any(host in _ANY for host in hosts):
        addresses |= _own_addresses(own)
    return names + [x509.IPAddress(address) for address in sorted(addresses, key=str)]


def _own_addresses(name: str) -> set[IPv4Address | IPv6Address]:
    try:
        return {ip_address(str(info[4][0]).partition("%")[0]) for info in socket.getaddrinfo(name, None)}
    except (OSError, ValueError):  # a machine that does not know its own name
        return set()
