"""Step 4: the model is loaded in a process of its own and tried on its manifest's probe there: a runtime that crashes on it takes
nothing else along. A model that was kept here before is loaded in the agent itself.
"""

from __future__ import annotations

from pathlib import Path

from edge_node.apart.model import open_apart
from edge_node.memory import available_bytes
from edge_node.runtimes import Model, load
from edge_node.serving.slots import Served
from edge_node.update.job import Job, Kit, in_thread
from edge_node.update.probe import check_probe
from edge_node.update.state import Event, Loaded
from littoral.manifest import Manifest


def load_checked(manifest: Manifest, folder: Path, threads: int) -> Model:
    """A model that is right on its probe. Blocking. Raises RuntimeFailure, ProbeMismatch."""
    model = load(manifest, folder, threads)
    try:
        check_probe(model, manifest)
    except BaseException:
        model.close()
        raise
    return model


async def load_here(kit: Kit, digest: str) -> Served:
    """An artifact that is held, loaded in this process. Raises what Artifacts.open and `load_checked` raise."""
    manifest, folder = await kit.artifacts.open(digest)
    model = await in_thread(lambda: load_checked(manifest, folder, kit.threads), undo=Model.close)
    return Served(manifest, digest, model)


async def load_apart(kit: Kit, digest: str) -> Served:
    """An artifact that is held, loaded in a process of its own. Raises what Artifacts.open and `open_apart` raise."""
    manifest, folder = await kit.artifacts.open(digest)
    memory = kit.budget.peak_rss_bytes or available_bytes()
    model = await open_apart(folder, kit.threads, memory=memory, limit_s=kit.limit_s)
    return Served(manifest, digest, model, apart=True)


async def run(job: Job) -> Event:
    loaded = load_here if job.update.proved else load_apart
    job.candidate = await loaded(job.kit, job.update.manifest_digest)
    return Loaded(job.update.generation)
