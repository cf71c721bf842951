"""Content digests, written "sha256:" and 64 lower-case hex digits. Always of the uncompressed bytes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from littoral.errors import BadInput

PREFIX = "sha256:"
_FORM = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(data: bytes | memoryview) -> str:
    return PREFIX + hashlib.sha256(data).hexdigest()


def digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return PREFIX + hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(text: str, field: str = "digest") -> str:
    """Gives the digest back. Raises BadInput, naming the field, where it does not have a digest's form."""
    if not _FORM.fullmatch(text):
        raise BadInput(f"{field}: {text[:80]!r} is not a digest", hint='it must be "sha256:" and 64 lower-case hex digits')
    return text


def hex_of(digest: str) -> str:
    """The 64 hex digits of a digest that has been checked."""
    return check_digest(digest).removeprefix(PREFIX)
