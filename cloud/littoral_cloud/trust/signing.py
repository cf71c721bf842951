"""The Ed25519 key that signs manifests, in DATA/signing."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from littoral.errors import Untrusted
from littoral.identity import private_pem
from littoral_cloud.trust.files import create_folder, read_private


def open_signing_key(folder: Path) -> Ed25519PrivateKey:
    """The key in this folder, made there on first use. Raises Untrusted where what is there is no such key."""
    if not folder.exists():
        create_folder(folder, {"key.pem": private_pem(Ed25519PrivateKey.generate())})
    path = folder / "key.pem"
    try:
        key = load_pem_private_key(read_private(path), password=None)
    except (ValueError, TypeError) as error:
        raise Untrusted(f"keys: {path} is damaged: {error}", hint="put it back from a backup") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Untrusted(f"keys: {path} is not an Ed25519 key", hint="put it back from a backup")
    return key
