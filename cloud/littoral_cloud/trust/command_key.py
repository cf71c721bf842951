"""A key that a command has: an HSM by pkcs11-tool, a cloud's key service, an openssl of another user.

The command reads the bytes to sign on stdin and prints the signature. It is run without a shell, for at most LIMIT_S. The
signature is checked against the public key before anything uses it, so a wrong key or form is found at once.

    CA            ECDSA P-256 with SHA-256 over the bytes; DER, or r and s (64 bytes)
    signing key   Ed25519 over the bytes; 64 bytes

Each of these may also come as base64. These classes are private keys to `cryptography`: its X.509 builders call `sign`, and need
nothing else.

Example: LITTORAL_CA_KEY_COMMAND='/etc/littoral/sign-ca {key}', where the script ends in
`openssl dgst -sha256 -binary | pkcs11-tool --sign --mechanism ECDSA --id 01 ...`. `{key}` is the SHA-256 of the public key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key, load_pem_public_key

from littoral.errors import BadInput, Untrusted
from littoral.process.command import CommandFailed
from littoral.process.once import run_once
from littoral_cloud.trust.files import read_private

LIMIT_S = 30.0
TRIAL = b"littoral: a signature to try the command"
_RAW = 64
_DER_BEGINS = 0x30
_DER_MOST = 72
_MOST_PRINTED = 4096


@dataclass(frozen=True, slots=True)
class KeyCommand:
    """`setting`: the variable that names the command, for errors. `words`: the program and its arguments."""

    setting: str
    words: tuple[str, ...]
    limit_s: float = LIMIT_S

    @classmethod
    def of(cls, setting: str, text: str | None) -> KeyCommand | None:
        """None where there is none. Raises BadInput where the text cannot be split into words."""
        if not text:
            return None
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise BadInput(f"{setting}: {error}", hint="quote as a shell does; no shell runs it") from error
        if not words:
            raise BadInput(f"{setting}: names no program", hint="like /etc/littoral/sign-ca {key}")
        return cls(setting, words)

    def signature_of(self, data: bytes, key_id: str) -> bytes:
        """What the command printed, without base64. Raises CommandFailed."""
        words = [word.replace("{key}", key_id) for word in self.words]
        hint = f"run it by hand with some bytes on stdin: {shlex.join(words)}"
        return _plain(run_once(self.setting, words, data, limit_s=self.limit_s, most_bytes=_MOST_PRINTED, hint=hint))

    def wrong(self, key_id: str) -> CommandFailed:
        hint = f"it must sign the bytes of stdin with key {key_id[:16]}, and print the signature alone"
        return CommandFailed(f"{self.setting}: what it printed is no signature by that key", hint=hint)


@dataclass(frozen=True, slots=True)
class KeyCommands:
    """None: the key is a file."""

    ca: KeyCommand | None = None
    signing: KeyCommand | None = None

    @classmethod
    def of(cls, ca: str | None, signing: str | None) -> KeyCommands:
        """From the settings. Raises BadInput."""
        return cls(KeyCommand.of("LITTORAL_CA_KEY_COMMAND", ca), KeyCommand.of("LITTORAL_SIGNING_KEY_COMMAND", signing))


class CommandEcKey(ec.EllipticCurvePrivateKey):
    """An ECDSA P-256 key behind a command."""

    def __init__(self, public: ec.EllipticCurvePublicKey, command: KeyCommand) -> None:
        self._public = public
        self.command = command

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public.curve

    @property
    def key_size(self) -> int:
        return self._public.key_size

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """DER. Raises CommandFailed."""
        if not isinstance(signature_algorithm.algorithm, hashes.SHA256):
            raise TypeError(f"a command signs with SHA-256, not {signature_algorithm.algorithm}")
        key_id = hashlib.sha256(self._public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
        signature = self.command.signature_of(bytes(data), key_id)
        if len(signature) == _RAW:
            signature = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        try:
            self._public.verify(signature, bytes(data), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise self.command.wrong(key_id) from None
        return signature

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        raise _hidden(self.command)

    def private_numbers(self) -> NoReturn:
        raise _hidden(self.command)

    def private_bytes(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise _hidden(self.command)

    def __copy__(self) -> CommandEcKey:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> CommandEcKey:
        return self


class CommandEd25519Key(Ed25519PrivateKey):
    """An Ed25519 key behind a command."""

    def __init__(self, public: Ed25519PublicKey, command: KeyCommand) -> None:
        self._public = public
        self.command = command

    def public_key(self) -> Ed25519PublicKey:
        return self._public

    def sign(self, data: Any) -> bytes:
        """Raises CommandFailed."""
        key_id = hashlib.sha256(self._public.public_bytes_raw()).hexdigest()
        signature = self.command.signature_of(bytes(data), key_id)
        try:
            self._public.verify(signature, bytes(data))
        except InvalidSignature:
            raise self.command.wrong(key_id) from None
        return signature

    def private_bytes(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise _hidden(self.command)

    def private_bytes_raw(self) -> NoReturn:
        raise _hidden(self.command)

    def __copy__(self) -> CommandEd25519Key:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> CommandEd25519Key:
        return self


def is_behind_command(key: object) -> bool:
    return isinstance(key, CommandEcKey | CommandEd25519Key)


def tried(key: object) -> str:
    """For the doctor: which command has the key, after one signature by it; "": it is a file. Raises CommandFailed."""
    match key:
        case CommandEcKey():
            key.sign(TRIAL, ec.ECDSA(hashes.SHA256()))
        case CommandEd25519Key():
            key.sign(TRIAL)
        case _:
            return ""
    return f", signs with {key.command.words[0]}"


def key_in(folder: Path, public: object, command: KeyCommand | None) -> object:
    """The private key of FOLDER/key.pem; where there is none, the command's that belongs to this public key.

    Raises Untrusted, ValueError or TypeError where it is damaged, others may read it, or no command has such a key.
    """
    path = folder / "key.pem"
    if command is None or path.exists():
        return load_pem_private_key(read_private(path), password=None)
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        return CommandEcKey(public, command)
    if isinstance(public, Ed25519PublicKey):
        return CommandEd25519Key(public, command)
    raise Untrusted(f"keys: the public key in {folder} is neither ECDSA P-256 nor Ed25519", hint=f"unset {command.setting}")


def no_folder(folder: Path, command: KeyCommand, way: str) -> Untrusted:
    """For a key behind a command whose public part is not known yet."""
    hint = (
        f"`littoral-cloud {way} --public-key public.pem` makes it; or unset {command.setting}: then a key is made in the folder"
    )
    return Untrusted(f"keys: {folder} is not there, and {command.setting} names a command", hint=hint)


def public_key_in(path: Path) -> ec.EllipticCurvePublicKey | Ed25519PublicKey:
    """A public key in PEM: ECDSA P-256 or Ed25519. Raises Untrusted."""
    hint = "write it as PEM: `openssl pkey -pubin -in KEY -out public.pem`"
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Untrusted(f"keys: {path} is no public key: {error}", hint=hint) from error
    if isinstance(key, Ed25519PublicKey) or (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        return key
    raise Untrusted(f"keys: {path} is neither ECDSA P-256 nor Ed25519", hint=hint)


def _hidden(command: KeyCommand) -> TypeError:
    return TypeError(f"the key of {command.setting} cannot leave its command")


def _plain(printed: bytes) -> bytes:
    """Base64, as cloud services print it, becomes bytes; all else stays."""
    if len(printed) == _RAW or (printed[:1] == bytes([_DER_BEGINS]) and len(printed) <= _DER_MOST):
        return printed
    try:
        return base64.b64decode(b"".join(printed.split()), validate=True)
    except binascii.Error:
        return printed
