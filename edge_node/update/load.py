"""Step 4: the model is loaded and tried on its manifest's probe; first in a process of its own, then here, beside the old one."""

from __future__ import annotations

from pathlib import Path

from edge_node.runtimes import Model, load
from edge_node.update.job import Job, in_thread
from edge_node.update.probe import check_probe
from edge_node.update.rehearsal import rehearse
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


async def run(job: Job) -> Event:
    manifest, folder = await job.kit.artifacts.open(job.update.manifest_digest)
    if not job.update.proved:
        await rehearse(folder, job.kit.threads)
    job.candidate = await in_thread(lambda: load_checked(manifest, folder, job.kit.threads), undo=Model.close)
    return Loaded(job.update.generation)
