"""Step 3: signature, fields and every digest once more, on what lies on the disk; then the artifact's folder appears."""

from __future__ import annotations

from littoral.errors import DigestMismatch
from littoral_node.update.events import UpdateEvent, Verified
from littoral_node.update.job import Job


async def run(job: Job) -> UpdateEvent:
    try:
        await job.kit.artifacts.obtain(job.update.manifest_digest)
    except DigestMismatch:  # the disk changed it after it was fetched; the copy is gone
        await job.kit.artifacts.obtain(job.update.manifest_digest)
    return Verified(job.update.generation)
