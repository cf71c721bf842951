"""Step 8: the model has passed. The agent loads it in its own process, where a request costs less time and memory, and makes it
the active one on the disk. Until then the isolated process answers.
"""

from __future__ import annotations

from littoral_node.update.events import Committed, UpdateEvent
from littoral_node.update.job import Job
from littoral_node.update.journal import CommittedSlots
from littoral_node.update.load import load_here


async def run(job: Job) -> UpdateEvent:
    update, kit = job.update, job.kit
    served = await load_here(kit, update.model, update.manifest_digest)
    try:
        job.journal.commit(CommittedSlots(active=update.manifest_digest, previous=update.replaces))
    except BaseException:
        served.model.close()
        raise
    kit.slots.swap(update.model, served)
    job.trial.adopted(kit.counters)
    return Committed(update.generation, update.findings)
