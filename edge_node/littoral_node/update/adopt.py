"""Step 7: the model has passed. It is loaded in the agent itself, where a request costs less time and memory than in a process of
its own, and becomes the active one on the disk. Until it is there, the process of its own answers.
"""

from __future__ import annotations

from littoral_node.update.job import Job
from littoral_node.update.journal import CommittedSlots
from littoral_node.update.load import load_here
from littoral_node.update.state import Committed, UpdateEvent


async def run(job: Job) -> UpdateEvent:
    update, kit = job.update, job.kit
    served = await load_here(kit, update.model, update.manifest_digest)
    try:
        job.journal.keep(CommittedSlots(active=update.manifest_digest, previous=update.replaces))
    except BaseException:
        served.model.close()
        raise
    kit.slots.swap(update.model, served)
    return Committed(update.generation, update.findings)
