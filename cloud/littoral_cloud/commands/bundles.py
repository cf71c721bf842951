"""The use case that gives an artifact as one file: its signed manifest, the keys that it is checked with, and its files, as a tar
archive that comes as a stream. The same artifact gives the same bytes while the fleet's signing keys are the same.

    manifest.dsse.json    the signed envelope; its SHA-256 is the artifact's name
    signing-keys.json     {key id: raw Ed25519 public key, in base64}
    files/PATH            each file that the manifest names
"""

from __future__ import annotations

import asyncio
import base64
import json
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from littoral.manifest import Manifest
from littoral_cloud.commands.use_case import Office, use_case
from littoral_cloud.lineage.find import all_artifacts, find, short
from littoral_cloud.trust.people import Caller, Role

CHUNK_BYTES = 256 * 1024
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class Bundle:
    """`name`: of the file. `total_bytes`: of the whole."""

    name: str
    digest: str
    total_bytes: int
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class _Member:
    """`content`: its bytes, or the file with them."""

    name: str
    size: int
    content: bytes | Path

    @property
    def takes(self) -> int:
        """Bytes of the archive."""
        return len(self.head) + self.size + self.padding

    @property
    def head(self) -> bytes:
        info = tarfile.TarInfo(self.name)
        info.size, info.mode = self.size, 0o644
        return info.tobuf(tarfile.PAX_FORMAT)

    @property
    def padding(self) -> int:
        return -self.size % _BLOCK


@use_case("artifact.export", Role.VIEWER)
async def export(office: Office, caller: Caller, *, artifact: str) -> Bundle:
    """An artifact as one file: signed manifest, keys, files."""
    found = find(await all_artifacts(office.core.ledger), artifact)
    caller.needs_model(found.model)
    members = await asyncio.to_thread(_members, office, found.manifest_digest)
    total = sum(member.takes for member in members) + 2 * _BLOCK
    return Bundle(f"{found.name}-{short(found.manifest_digest)}.tar", found.manifest_digest, total, _chunks(members))


def _members(office: Office, digest: str) -> list[_Member]:
    """Raises NotFound where a blob is here no more. Blocking."""
    core = office.core
    envelope, trusted = core.blobs.read(digest), core.trust.signing_keys()
    keys = json.dumps({id: base64.b64encode(key).decode() for id, key in sorted(trusted.items())}, indent=2).encode() + b"\n"
    files = Manifest.open(envelope, trusted).files
    return [
        _Member("manifest.dsse.json", len(envelope), envelope),
        _Member("signing-keys.json", len(keys), keys),
        *(_Member(f"files/{file.path}", file.bytes, core.blobs.path(file.digest)) for file in files),
    ]


async def _chunks(members: list[_Member]) -> AsyncIterator[bytes]:
    for member in members:
        yield member.head
        if isinstance(member.content, bytes):
            yield member.content
        else:
            file = await asyncio.to_thread(member.content.open, "rb")
            try:
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    yield chunk
            finally:
                file.close()
        yield bytes(member.padding)
    yield bytes(2 * _BLOCK)
