"""Step 2: the files that are missing are fetched, from the byte where an earlier try stopped."""

from __future__ import annotations

from littoral_node.update.events import Fetched, UpdateEvent
from littoral_node.update.job import Job


async def run(job: Job) -> UpdateEvent:
    manifest = await job.manifest()
    await job.kit.artifacts.fetch(job.update.manifest_digest, manifest)
    return Fetched(job.update.generation)
