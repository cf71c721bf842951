"""One CA and one signing key of a fleet, as they stand in its anchors (littoral_cloud/fleet/anchors.py)."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityRecord:
    """One CA. Certificates are DER in base64; times are seconds since 1970-01-01 UTC, 0: not yet.

    Args:
        certificate: that issues.
        root: that nodes pin, where an operator's own root issued `certificate`; "": `certificate` is the root.
        introduction: of its root, by the root before; "": it was the first, or has the same root as the one before.
        number: of the document that introduced it.
    """

    certificate: str
    root: str = ""
    introduction: str = ""
    number: int = 0
    introduced_at: float = 0.0
    in_force_at: float = 0.0
    retired_at: float = 0.0

    @property
    def fingerprint(self) -> str:
        return _sha256(self.certificate)

    @property
    def root_der(self) -> bytes:
        return base64.b64decode(self.root or self.certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyRecord:
    """One signing key, raw Ed25519 in base64; the rest as AuthorityRecord."""

    public_key: str
    introduction: str = ""  # an envelope (JSON)
    retirement: str = ""  # an envelope, by which a later one says that it counts no more
    number: int = 0
    introduced_at: float = 0.0
    in_force_at: float = 0.0

    @property
    def key_id(self) -> str:
        return _sha256(self.public_key)


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _sha256(text: str) -> str:
    return hashlib.sha256(base64.b64decode(text)).hexdigest()
