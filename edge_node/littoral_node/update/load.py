"""Step 4: an isolated process loads the model and tries it on its manifest's probe, so that a runtime which crashes on it does
not end the agent. The agent itself loads a model that this node has proved before.
"""

from __future__ import annotations

from littoral_node.artifacts.probe import load_checked
from littoral_node.isolated.model import IsolatedModel, open_isolated
from littoral_node.machine.memory import available_bytes
from littoral_node.runtimes import Model, ran_on
from littoral_node.serving.slots import Served
from littoral_node.update.events import Loaded, UpdateEvent
from littoral_node.update.job import Job, Kit, in_thread


async def load_here(kit: Kit, name: str, digest: str) -> Served:
    """Loads an artifact of this node in this process. The crash record names it first: the process may not survive.

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


async def load_isolated(kit: Kit, digest: str) -> Served:
    """Loads an artifact of this node in an isolated process. Raises what Artifacts.open and `open_isolated` raise."""
    manifest, folder = await kit.artifacts.open(digest)
    own, quota = kit.budget_for(manifest.model).peak_rss_bytes, kit.usage.quota(manifest.model).memory_bytes
    memory = min((most for most in (own, quota) if most), default=0) or available_bytes()
    model = await open_isolated(folder, kit.threads, memory=memory, limit_s=kit.settings.inference_limit)
    return Served(manifest, digest, model, isolated=True)


async def run(job: Job) -> UpdateEvent:
    model, digest, usage = job.update.model, job.update.manifest_digest, job.kit.usage
    if job.update.proved:
        usage.check_memory(model, digest)
        job.candidate = await load_here(job.kit, model, digest)
    else:
        job.candidate = await load_isolated(job.kit, digest)
        assert isinstance(job.candidate.model, IsolatedModel)
        usage.note_memory(model, digest, job.candidate.model.memory_bytes)
        usage.check_memory(model, digest)
    return Loaded(job.update.generation)
