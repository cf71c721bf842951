"""The keys of one fleet, as they lie in the data folder. Nothing here ever goes to Redis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.identity import key_id_of
from littoral.signed_time import seal_time
from littoral_cloud.trust.ca import CertificateAuthority, open_ca
from littoral_cloud.trust.signing import open_signing_key


@dataclass(frozen=True, slots=True)
class Trust:
    ca: CertificateAuthority
    signing_key: Ed25519PrivateKey

    def signing_keys(self) -> dict[str, bytes]:
        """Raw Ed25519 public keys that nodes trust, by key id."""
        public = self.signing_key.public_key().public_bytes_raw()
        return {key_id_of(public): public}

    def seal_time(self, at: float, nonce: bytes) -> bytes:
        """As littoral.signed_time."""
        return seal_time(at, nonce, self.signing_key)


def has_trust(folder: Path) -> bool:
    """Whether open_trust would find keys there; makes nothing."""
    return (folder / "ca").is_dir() and (folder / "signing").is_dir()


def open_trust(folder: Path, now: float) -> Trust:
    """Opens FOLDER/ca and FOLDER/signing, making each on first use. Raises Untrusted, NoSpace or BadInput."""
    return Trust(open_ca(folder / "ca", now), open_signing_key(folder / "signing"))
