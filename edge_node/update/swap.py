"""Step 5: the new model answers requests; the old one, loaded a second time, stands by to go back to at once.

On the disk the old one stays the active model until `watch` has seen enough. A model that was kept here before goes in for
good: going back must not wait, nor be judged by the model it replaces.
"""

from __future__ import annotations

from edge_node.runtimes import Model
from edge_node.serving.slots import Served
from edge_node.update.job import Job, in_thread
from edge_node.update.journal import Kept
from edge_node.update.load import load_checked
from edge_node.update.state import Event, Swapped
from edge_node.update.state import Kept as WasKept
from littoral.errors import NotFound


async def run(job: Job) -> Event:
    update, kit = job.update, job.kit
    manifest, _ = await kit.artifacts.open(update.manifest_digest)
    if job.candidate is None:
        raise NotFound(f"update of {update.model}: nothing is loaded")
    if update.replaces and not update.proved:
        old, folder = await kit.artifacts.open(update.replaces)
        standby = await in_thread(lambda: load_checked(old, folder, kit.threads), undo=Model.close)
        job.standby = Served(old, update.replaces, standby)
    job.counted = kit.counters.counters(update.model)
    kit.slots.swap(update.model, Served(manifest, update.manifest_digest, job.candidate))
    job.swapped = True
    if update.proved:
        job.journal.keep(Kept(active=update.manifest_digest, previous=update.replaces))
        return WasKept(update.generation)
    return Swapped(update.generation)


def restore(job: Job) -> None:
    """Undoes `run`: the model before answers requests again; without one the name is taken out. Nothing waits here."""
    if not job.swapped:
        return
    if job.standby is not None:
        job.kit.slots.swap(job.update.model, job.standby)
        job.standby = None  # the slots have it now
    else:
        job.kit.slots.remove(job.update.model)
    job.candidate = None  # the slots close it when its last request ends
