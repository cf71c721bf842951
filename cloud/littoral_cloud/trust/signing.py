"""The Ed25519 keys that sign manifests, each in a folder of its own.

FOLDER/key.pem             the key; or where a command has it (littoral_cloud/trust/command_key.py)
FOLDER/public.pem          its public part
FOLDER/introduced.json     of a later one: how the key before it introduced it (littoral/trust_anchors.py)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.errors import Untrusted
from littoral.identity import key_id_of, private_pem
from littoral_cloud.fleet.key_records import SigningKeyRecord, encoded
from littoral_cloud.trust.command_key import KeyCommand, key_in, no_folder, public_key_in
from littoral_cloud.trust.files import create_folder


@dataclass(frozen=True, slots=True)
class IntroducedSigningKey:
    """`introduction`: an envelope; empty: it was the first."""

    key: Ed25519PrivateKey
    introduction: bytes = b""
    made_at: float = 0.0

    @property
    def raw(self) -> bytes:
        """The public key."""
        return self.key.public_key().public_bytes_raw()

    @property
    def key_id(self) -> str:
        return key_id_of(self.raw)

    @property
    def files(self) -> dict[str, bytes]:
        """Of its folder, but for the key."""
        return {"introduced.json": self.introduction} if self.introduction else {}

    def record(self, number: int) -> SigningKeyRecord:
        """For the ledger, as of one that is in force since it was made."""
        return SigningKeyRecord(
            public_key=encoded(self.raw),
            introduction=self.introduction.decode(),
            number=number,
            introduced_at=self.made_at,
            in_force_at=self.made_at,
        )


def open_signing_key(folder: Path, command: KeyCommand | None = None) -> IntroducedSigningKey:
    """The key in this folder, made there on first use.

    Args:
        command: has the key, where the folder has only FOLDER/public.pem; then it makes no folder.

    Raises Untrusted where what is there is no such key.
    """
    if not folder.exists():
        if command is not None:
            raise no_folder(folder, command, "fleet init-signing-key")
        create_folder(folder, {"key.pem": private_pem(Ed25519PrivateKey.generate())})
    path, introduced, public = folder / "key.pem", folder / "introduced.json", folder / "public.pem"
    try:
        key = key_in(folder, public_key_in(public) if public.exists() else None, command if public.exists() else None)
        introduction = introduced.read_bytes() if introduced.exists() else b""
        made_at = folder.stat().st_mtime
    except (OSError, ValueError, TypeError) as error:
        raise Untrusted(f"keys: {path} is damaged: {error}", hint="put it back from a backup") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Untrusted(f"keys: {path} is not an Ed25519 key", hint="put it back from a backup")
    return IntroducedSigningKey(key, introduction, made_at)
