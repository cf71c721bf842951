"""Which blobs a node may read, and which it may put: what its desired state names, and nothing else.

It may read the manifests that are wanted of it, or were, the candidates that it is to run, the files that these manifests name,
and the message of its federated task: never what another node handed up. It may put a reply to its task, and a few more of them,
for one that trains again after a crash does not give the same bytes.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from littoral.errors import FleetError, NotAccepted, NotFound, TooLarge
from littoral_cloud.fleet.blobs import BlobStore
from littoral_cloud.fleet.edit import edit
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.records import Desired, FederatedTask, load

UPLOADS = "uploads"
"""Kind: what a node put for the task that it had last, by its id."""
REPLIES = 4
"""Different blobs that a node may put for one task."""
_ROOM_BYTES, _ROOM_TIMES = 16 * 1024 * 1024, 16
_REMEMBERED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    message_id: str
    sizes: Mapping[str, int] = field(default_factory=dict)  # bytes, by digest
    schema: int = 1


class Readers:
    """Who may read what. What a manifest names never changes, so it is remembered of the last ones."""

    def __init__(self, ledger: Ledger, blobs: BlobStore) -> None:
        self._ledger = ledger
        self._files = lru_cache(_REMEMBERED)(lambda manifest: files_of(blobs.read(manifest)))

    async def check(self, node_id: str, digest: str) -> None:
        """Raises NotAccepted where nothing that is wanted of the node names this blob."""
        doc = await self._ledger.get("desired", node_id)
        desired = load(Desired, doc) if doc else Desired()
        if desired.federated is not None and desired.federated.message_digest == digest:
            return
        manifests = manifests_of(desired)
        if digest in manifests:
            return
        for manifest in manifests:
            if digest in await self._named_by(manifest):
                return
        raise NotAccepted(
            f"blob {digest[:19]}: is not wanted of node {node_id}", hint="only what its desired state names is read"
        )

    async def _named_by(self, manifest: str) -> frozenset[str]:
        try:
            return await asyncio.to_thread(self._files, manifest)
        except NotFound:
            return frozenset()


def manifests_of(desired: Desired) -> tuple[str, ...]:
    """Of artifacts that a node may have, the ones that shall be first."""
    return tuple(
        dict.fromkeys((*(model.manifest_digest for model in desired.models.values()), *desired.benchmarks, *desired.former))
    )


def files_of(envelope: bytes) -> frozenset[str]:
    """Digests of the blobs that make up the artifact of a signed manifest, as they lie and as they travel. The reader checks the
    signature: here the manifest only tells what belongs together.

    Raises FleetError where it is no manifest.
    """
    try:
        files = json.loads(base64.b64decode(json.loads(envelope)["payload"]))["files"]
        return frozenset(part["digest"] for file in files for part in (file, file.get("transfer")) if part)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FleetError(f"manifest: what it names cannot be read: {error}") from error


def reply_bytes(task: FederatedTask) -> int:
    """Of one reply to a task, at most."""
    return task.reply_bytes or _ROOM_BYTES + _ROOM_TIMES * task.message_bytes


async def task_of(ledger: Ledger, node_id: str) -> FederatedTask:
    """Raises NotAccepted where no federated run waits for the node: then it has nothing to hand up."""
    doc = await ledger.get("desired", node_id)
    task = load(Desired, doc).federated if doc else None
    if task is None:
        raise NotAccepted(f"node {node_id}: no federated run waits for it", hint="only an answer to a task may be put")
    return task


async def note_upload(ledger: Ledger, node_id: str, task: FederatedTask, digest: str, total: int) -> None:
    """Writes down that the node puts a blob for its task, before it does.

    Raises TooLarge where it is larger than a reply may be, or one more than a task wants.
    """
    if total > (most := reply_bytes(task)):
        raise TooLarge(f"blob {digest[:19]}: {total} bytes, a reply to {task.message_id} may have {most}")

    def change(put: Uploads | None) -> Uploads:
        if put is None or put.message_id != task.message_id:
            put = Uploads(message_id=task.message_id)
        if digest not in put.sizes and len(put.sizes) >= REPLIES:
            raise TooLarge(f"blob {digest[:19]}: {REPLIES} others were put for {task.message_id}", hint="a task wants one reply")
        return replace(put, sizes={**put.sizes, digest: total})

    await edit(ledger, Uploads, UPLOADS, node_id, change)
