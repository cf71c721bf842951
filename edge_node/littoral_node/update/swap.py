"""Step 6: the new model answers requests; the old one stands by, loaded, to go back to at once.

On the disk the old one stays the active model until `adopt`. A model that this node has proved before becomes active at once:
going back must not wait, and the model that it replaces must not judge it.
"""

from __future__ import annotations

from littoral.errors import NotFound
from littoral_node.update.events import Committed, Swapped, UpdateEvent
from littoral_node.update.job import Job
from littoral_node.update.journal import CommittedSlots


async def run(job: Job) -> UpdateEvent:
    update, kit = job.update, job.kit
    if job.candidate is None:
        raise NotFound(f"update of {update.model}: nothing is loaded")
    job.counted = kit.counters.counts(update.model)
    job.swapped = True
    job.trial.answers_since = kit.monotonic()
    if update.proved:
        kit.slots.swap(update.model, job.candidate)
        job.trial.adopted(kit.counters)
        job.journal.commit(CommittedSlots(active=update.manifest_digest, previous=update.replaces))
        return Committed(update.generation)
    kit.slots.try_out(update.model, job.candidate)
    return Swapped(update.generation)


def restore(job: Job) -> None:
    """Undoes `run`: the model before answers requests again; without one the name is taken out. Nothing waits here."""
    if job.swapped and job.candidate is not None:
        job.kit.slots.back(job.update.model, job.candidate)
        job.candidate = None  # the slots close it when its last request ends
