"""Step 4: the model is loaded in a process of its own and tried on its manifest's probe there: a runtime that crashes on it takes
nothing else along. A model that was kept here before is loaded in the agent itself.
"""

from __future__ import annotations

from littoral_node.artifacts.probe import load_checked
from littoral_node.isolated.model import IsolatedModel, open_isolated
from littoral_node.machine.memory import available_bytes
from littoral_node.runtimes import Model, ran_on
from littoral_node.serving.slots import Served
from littoral_node.update.job import Job, Kit, in_thread
from littoral_node.update.state import Loaded, UpdateEvent


async def load_here(kit: Kit, name: str, digest: str) -> Served:
    """An artifact that is held, loaded in this process, which may not survive it: that is written down before.

    Raises what Artifacts.open and `load_checked` raise.
    """
    manifest, folder = await kit.artifacts.open(digest)
    kit.crashes.loading(name, digest)
    try:
        model = await in_thread(lambda: load_checked(manifest, folder, kit.threads), undo=Model.close)
    except BaseException:
        kit.crashes.not_loaded()
        raise
    kit.crashes.loaded(name, digest)
    kit.log("loaded", model=manifest.model, student=manifest.name, runtime=manifest.runtime, on=",".join(ran_on(model)))
    return Served(manifest, digest, kit.watchdog.guard(name, digest, model))


async def load_apart(kit: Kit, digest: str) -> Served:
    """An artifact that is held, loaded in a process of its own. Raises what Artifacts.open and `open_isolated` raise."""
    manifest, folder = await kit.artifacts.open(digest)
    own, quota = kit.budget_for(manifest.model).peak_rss_bytes, kit.usage.quota(manifest.model).memory_bytes
    memory = min((most for most in (own, quota) if most), default=0) or available_bytes()
    model = await open_isolated(folder, kit.threads, memory=memory, limit_s=kit.limit_s)
    return Served(manifest, digest, model, apart=True)


async def run(job: Job) -> UpdateEvent:
    model, digest, usage = job.update.model, job.update.manifest_digest, job.kit.usage
    if job.update.proved:
        usage.check_memory(model, digest)
        job.candidate = await load_here(job.kit, model, digest)
    else:
        job.candidate = await load_apart(job.kit, digest)
        assert isinstance(job.candidate.model, IsolatedModel)
        usage.note_memory(model, digest, job.candidate.model.memory_bytes)
        usage.check_memory(model, digest)
    return Loaded(job.update.generation)
