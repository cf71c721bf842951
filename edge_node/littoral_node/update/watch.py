"""Step 7, probation: the new model answers requests from its isolated process. Failed requests are counted, and both models are
judged on this node's own labelled examples. Where the process ends, the probation fails. The rules: littoral_node.update.verdict.

Judging runs in a thread, a few examples at a time, so that it delays no request.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littoral.answers import fault_of
from littoral.errors import BadData, NotFound, RuntimeFailure
from littoral.manifest import Manifest
from littoral_node.federation.labelled import read_labelled, split
from littoral_node.isolated.model import IsolatedModel
from littoral_node.runtimes import Model
from littoral_node.serving.comparing import compared_beside
from littoral_node.serving.slots import Served
from littoral_node.update.events import Findings, ProbationFailed, ProbationPassed, UpdateEvent
from littoral_node.update.evidence import LabelledPairs
from littoral_node.update.job import Job, in_thread
from littoral_node.update.verdict import Before, too_often, worse_on_examples

BATCH = 16
LOOK_S = 0.25


async def run(job: Job) -> UpdateEvent:
    """The verdict, or the end of the model's process, whichever comes first."""
    if job.candidate is None:
        raise NotFound(f"update of {job.update.model}: no candidate serves")
    assert isinstance(job.candidate.model, IsolatedModel)  # a proved model has no probation
    kit, name, counts, most = job.kit, job.update.model, job.trial.compared, job.update.policy.compare
    before = partial(kit.slots.lease_standby, name)
    async with compared_beside(kit.slots, name, before, counts, most=most, failures=False, clock=kit.monotonic):
        return await _first(job, job.candidate, job.candidate.model)


async def _first(job: Job, candidate: Served, model: IsolatedModel) -> UpdateEvent:
    verdict = asyncio.ensure_future(_probation(job, candidate))
    gone = asyncio.ensure_future(model.gone())
    try:
        await asyncio.wait({verdict, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            why = gone.result()
            return ProbationFailed(job.update.generation, why.code, str(why), _with_requests(Findings(), job))
        return await verdict
    finally:
        for task in (verdict, gone):
            task.cancel()
        await asyncio.gather(verdict, gone, return_exceptions=True)


async def _probation(job: Job, served: Served) -> UpdateEvent:
    update, kit = job.update, job.kit
    began = kit.monotonic()
    try:
        findings = await _judge(job, served)
    except RuntimeFailure as error:
        return ProbationFailed(update.generation, error.code, str(error), _with_requests(Findings(), job))
    if (worse := worse_on_examples(findings, update.policy)) is not None:
        return ProbationFailed(update.generation, *worse, _with_requests(findings, job))
    before = Before(job.counted.requests, job.counted.failed)
    while True:
        findings = _with_requests(findings, job)
        left = update.policy.duration_s - (kit.monotonic() - began)
        if (wrong := too_often(findings, update.policy, before, final=left <= 0)) is not None:
            return ProbationFailed(update.generation, *wrong, findings)
        if left <= 0:
            break
        await asyncio.sleep(min(left, LOOK_S))
    if not findings.requests and findings.accuracy is None:
        kit.log("probation-unseen", model=update.model, detail="no request came: it was judged by its probe alone")
    return ProbationPassed(update.generation, findings)


def _with_requests(findings: Findings, job: Job) -> Findings:
    now, before = job.kit.counters.counts(job.update.model), job.counted
    return replace(
        findings,
        requests=now.requests - before.requests,
        failed_requests=now.failed - before.failed,
        turned_away=now.turned_away - before.turned_away,
    )


async def _judge(job: Job, served: Served) -> Findings:
    """Both models on the same examples. Without examples, or with ones that cannot be read, nothing is found."""
    manifest = served.manifest
    if (labelled := job.kit.settings.labelled) is None:
        return Findings()
    if manifest.signature is not None:
        job.kit.log("labelled-unused", detail=f"{manifest.name} was imported: it is judged by its probe and by failed requests")
        return Findings()
    try:
        x, y = await in_thread(lambda: _held_out(labelled, manifest))
    except BadData as error:
        job.kit.log("labelled-unreadable", detail=str(error))
        return Findings()
    if not len(y):
        return Findings()
    right = await _right(served.model, manifest, x, y)
    previous = None
    standby = job.kit.slots.standby(job.update.model)
    if standby is not None and standby.manifest.signature is None:
        try:
            before = await _right(standby.model, standby.manifest, x, y)
            previous = float(before.mean())
            job.trial.labelled = LabelledPairs.of(y, right, before)
        except RuntimeFailure as error:  # no fault of the candidate
            job.kit.log("standby-not-judged", detail=str(error))
    return Findings(accuracy=float(right.mean()), previous_accuracy=previous, examples=len(y))


def _held_out(folder: Path, manifest: Manifest) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    if not folder.is_dir():
        raise BadData(f"labelled data: {folder} is no folder")
    _, held = split(*read_labelled(folder, manifest.input.shape))
    return held


async def _right(model: Model, manifest: Manifest, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """(n,) whether its class is that of the label."""
    right = []
    for start in range(0, len(y), BATCH):
        batch, wanted = x[start : start + BATCH], y[start : start + BATCH]
        logits = await in_thread(lambda batch=batch: model.infer(manifest.input.prepare(batch)))  # type: ignore[misc]
        if fault := fault_of(manifest, {manifest.output.name: logits}):
            raise RuntimeFailure(f"{manifest.name}: {fault}, on examples of this node")
        right.append(logits.argmax(axis=1) == wanted)
    return np.concatenate(right)
