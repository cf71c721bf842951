"""Step 5: the new model answers requests; the old one stands by, loaded, to go back to at once.

On the disk the old one stays the active model until `adopt`. A model that was kept here before goes in for good: going back must
not wait, nor be judged by the model it replaces.
"""

from __future__ import annotations

from littoral.errors import NotFound
from littoral_node.update.job import Job, RequestCounts
from littoral_node.update.journal import CommittedSlots
from littoral_node.update.state import Committed, Swapped, UpdateEvent


async def run(job: Job) -> UpdateEvent:
    update, kit = job.update, job.kit
    if job.candidate is None:
        raise NotFound(f"update of {update.model}: nothing is loaded")
    job.counted = RequestCounts.of(kit.counters, update.model)
    job.swapped = True
    if update.proved:
        kit.slots.swap(update.model, job.candidate)
        job.journal.keep(CommittedSlots(active=update.manifest_digest, previous=update.replaces))
        return Committed(update.generation)
    kit.slots.try_out(update.model, job.candidate)
    return Swapped(update.generation)


def restore(job: Job) -> None:
    """Undoes `run`: the model before answers requests again; without one the name is taken out. Nothing waits here."""
    if job.swapped and job.candidate is not None:
        job.kit.slots.back(job.update.model, job.candidate)
        job.candidate = None  # the slots close it when its last request ends
