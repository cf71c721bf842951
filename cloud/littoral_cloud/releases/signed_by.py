"""What was signed by a key that is to be retired: artifacts that nodes would lose, and how one is signed again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from littoral.errors import Conflict, FleetError
from littoral.identity import signers_of
from littoral.manifest import Manifest
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.ledger import Audit, Change, Ledger, Write
from littoral_cloud.fleet.records import Artifact, Desired, Reported, dump, load
from littoral_cloud.releases.catalogue import PublishingCore


async def in_use_by(ledger: Ledger, blobs: BlobStore, key_id: str) -> tuple[str, ...]:
    """Their names, in order. One whose manifest cannot be read is left out: no node can fetch it either."""
    used: set[str] = set()
    async for page in ledger.pages("desired"):
        for doc in page:
            used.update(model.manifest_digest for model in load(Desired, doc).models.values())
    async for page in ledger.pages("reported"):
        for doc in page:
            used.update(digest for model in load(Reported, doc).models.values() for digest in (model.serving, model.previous))
    found = []
    for digest in sorted(used - {""}):
        if await asyncio.to_thread(_signed_by_alone, blobs, digest, key_id):
            known = await ledger.get("artifact", digest)
            found.append(load(Artifact, known).name if known else digest[:16])
    return tuple(sorted(found))


async def sign_again(core: PublishingCore, trusted: Mapping[str, bytes], artifact: Artifact, now: float, actor: str) -> Artifact:
    """The same artifact under the signing key in force: its manifest in another envelope, which has another digest.

    Args:
        trusted: raw Ed25519 public keys by key id.

    Raises Untrusted, Conflict where that key has signed it already.
    """
    manifest = Manifest.open(await asyncio.to_thread(core.blobs.read, artifact.manifest_digest), trusted)
    digest = core.blobs.put(await asyncio.to_thread(manifest.seal, core.trust.signing_key))
    if digest == artifact.manifest_digest:
        raise Conflict(f"artifact {artifact.name}: the signing key in force has signed it already")
    again = replace(artifact, manifest_digest=digest, created_at=now)
    line = Audit("artifact.signed", digest, actor, {"model": again.model, "name": again.name, "was": artifact.manifest_digest})
    await core.ledger.commit(Change((Write("artifact", digest, dump(again), 0),), (line,)))
    return again


def _signed_by_alone(blobs: BlobStore, digest: str, key_id: str) -> bool:
    try:
        return signers_of(blobs.read(digest)) == {key_id}
    except (FleetError, OSError):
        return False
