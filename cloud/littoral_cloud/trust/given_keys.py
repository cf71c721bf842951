"""A CA or signing key that an operator brings: certified by a root of their own, or with its key behind a command.

Everything is checked before anything is written, a command by one signature.

Example: an operator's root signs a request; `fleet init-ca --certificate chain.pem --key key.pem` makes KEYS/ca of it. chain.pem
has the new CA first, then each issuer, and the root last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from littoral.errors import BadInput
from littoral.identity import private_pem
from littoral_cloud.trust.ca import CertificateAuthority, new_root
from littoral_cloud.trust.command_key import CommandEcKey, CommandEd25519Key, KeyCommand, public_key_in, tried

T = TypeVar("T")

MOST_CERTIFICATES = 8
_CHAIN_HINT = "give PEM with the new CA first, each issuer behind it, and the root last"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenCa:
    """Args:
    certificate: PEM of the chain; None: the CA is a root, made now.
    key: PEM of its key; None: it is made now, or a command has it.
    public_key: PEM, of a key behind a command, for a root that is made now.
    """

    certificate: Path | None = None
    key: Path | None = None
    public_key: Path | None = None


def made_ca(
    given: GivenCa, now: float, command: KeyCommand | None, old: CertificateAuthority | None = None
) -> tuple[CertificateAuthority, Mapping[str, bytes]]:
    """A CA, and the files of its folder.

    Args:
        old: that is in force, and introduces it; None: it is the first.

    Raises BadInput, Untrusted, CommandFailed.
    """
    if given.certificate is not None:
        chain = _chain_in(given.certificate, now)
        key, files = _key_of(given, chain[0].public_key(), command)
        made = CertificateAuthority(chain[0], key, chain[1:])
    else:
        key, files = _key_of(given, None, command)
        name = old.certificate.subject if old is not None and not old.above else None
        made = CertificateAuthority(new_root(now, name, key)[1], key)
    if old is not None and made.root_der != old.root_der:
        if old.above:
            raise BadInput(
                f"certificate: its root is {made.root_fingerprint[:16]}, nodes pin {old.root_fingerprint[:16]}, of another owner",
                hint="let that root sign the next CA, and give it with --certificate",
            )
        made = CertificateAuthority(made.certificate, key, made.above, old.introduce(made.root))
    return made, {**files, **made.files}


def made_signing_key(public_key: Path | None, command: KeyCommand | None) -> tuple[Ed25519PrivateKey, Mapping[str, bytes]]:
    """A signing key, and the files of its folder. `public_key`: PEM, of a key behind the command. Raises as `made_ca`."""
    if public_key is None:
        if command is not None:
            raise _needs_public(command)
        made = Ed25519PrivateKey.generate()
        return made, {"key.pem": private_pem(made)}
    if command is None:
        raise BadInput("public-key: no command has its key", hint="set LITTORAL_SIGNING_KEY_COMMAND")
    public = public_key_in(public_key)
    if not isinstance(public, Ed25519PublicKey):
        raise BadInput(f"public-key: {public_key} is not Ed25519", hint="a signing key is Ed25519")
    key = CommandEd25519Key(public, command)
    tried(key)
    return key, {"public.pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)}


def _key_of(given: GivenCa, certified: object, command: KeyCommand | None) -> tuple[ec.EllipticCurvePrivateKey, dict[str, bytes]]:
    if given.key is not None:
        key = _private_key_in(given.key)
        if certified is None or key.public_key() != certified:
            raise BadInput(
                f"key: {given.key} is not the key of the certificate", hint="give --certificate and the key of its first one"
            )
        return key, {"key.pem": private_pem(key)}
    if certified is None and given.public_key is None:
        if command is not None:
            raise _needs_public(command)
        key = ec.generate_private_key(ec.SECP256R1())
        return key, {"key.pem": private_pem(key)}
    if command is None:
        raise BadInput("key: no file and no command has it", hint="give --key, or set LITTORAL_CA_KEY_COMMAND")
    public = certified if given.public_key is None else public_key_in(given.public_key)
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise BadInput("public-key: is not ECDSA P-256", hint="the key of a CA is ECDSA P-256")
    behind = CommandEcKey(public, command)
    tried(behind)
    return behind, {}


def _needs_public(command: KeyCommand) -> BadInput:
    return BadInput(f"public-key: {command.setting} names a command, and not which key", hint="give --public-key public.pem")


def _private_key_in(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadInput(
            f"key: {path} cannot be read: {error}", hint="give an ECDSA P-256 key in PEM, without a password"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadInput(f"key: {path} is not ECDSA P-256", hint="`openssl ecparam -name prime256v1 -genkey -noout -out key.pem`")
    return key


def _chain_in(path: Path, now: float) -> tuple[x509.Certificate, ...]:
    """From the new CA to a root. Raises BadInput, naming the certificate that is wrong."""
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"certificate: {path} cannot be read: {error}", hint=_CHAIN_HINT) from error
    if len(chain) > MOST_CERTIFICATES:
        raise BadInput(f"certificate: {path} holds {len(chain)}, at most {MOST_CERTIFICATES} are read", hint=_CHAIN_HINT)
    public = chain[0].public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise BadInput(f"certificate: the key of {_named(chain[0])} is not ECDSA P-256", hint=_CHAIN_HINT)
    for issued, issuer in (*pairwise(chain), (chain[-1], chain[-1])):
        try:
            issued.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature) as error:
            by = "itself, so it is no root" if issued is issuer else _named(issuer)
            raise BadInput(f"certificate: {_named(issued)} is not issued by {by}", hint=_CHAIN_HINT) from error
    for place, each in enumerate(chain):
        _check_authority(each, below=place, now=now)
    return tuple(chain)


def _check_authority(certificate: x509.Certificate, below: int, now: float) -> None:
    """`below`: how many CAs stand between this one and the one that issues to nodes, and count for its path length."""
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    if not begins <= now < ends:
        raise BadInput(f"certificate: {_named(certificate)} is not valid now", hint="check its dates, and this machine's clock")
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise BadInput(f"certificate: {_named(certificate)} is no CA", hint="sign it with basicConstraints=CA:TRUE")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise BadInput(f"certificate: {_named(certificate)} may not issue", hint="sign it with keyUsage=keyCertSign")
    if constraints.path_length is not None and constraints.path_length < below:
        hint = f"its path length must be at least {below}"
        raise BadInput(f"certificate: {_named(certificate)} allows a path length of {constraints.path_length}", hint=hint)


def _extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    try:
        value = certificate.extensions.get_extension_for_class(kind).value  # type: ignore[type-var]
    except (x509.ExtensionNotFound, ValueError):
        return None
    return value


def _named(certificate: x509.Certificate) -> str:
    return repr(certificate.subject.rfc4514_string()[:80])
