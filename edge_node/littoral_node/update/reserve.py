"""Step 1: the manifest is fetched, its signature and its fields are checked, and there is room for what it names."""

from __future__ import annotations

from littoral_node.artifacts.fitness import check_fitness
from littoral_node.update.events import Reserved, UpdateEvent
from littoral_node.update.job import Job


async def run(job: Job) -> UpdateEvent:
    manifest = await job.manifest()
    check_fitness(manifest, job.update.model, job.kit.hardware().runtime_names, job.kit.budget_for(job.update.model))
    job.kit.usage.check_disk(job.update.model, job.update.manifest_digest, manifest)
    job.kit.artifacts.check_room(job.update.manifest_digest, manifest)
    return Reserved(job.update.generation)
