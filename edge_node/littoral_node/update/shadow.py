"""Step 5, the shadow: the candidate runs in its isolated process beside the served model, and only its answers are compared.
No client gets one. Without a served model, or where the cloud asks for none, nothing happens here.

The memory is there: the process was loaded inside the model's budget. Of the processor it takes a small share (comparing.py).
"""

from __future__ import annotations

import asyncio
from functools import partial

from littoral.errors import NotFound
from littoral_node.isolated.model import IsolatedModel
from littoral_node.serving.comparing import compared_beside
from littoral_node.serving.slots import only_lent
from littoral_node.update.events import ProbationFailed, Shadowed, UpdateEvent
from littoral_node.update.job import Job


async def run(job: Job) -> UpdateEvent:
    update, kit, candidate = job.update, job.kit, job.candidate
    if candidate is None:
        raise NotFound(f"update of {update.model}: nothing is loaded")
    policy = update.policy
    if update.proved or not policy.shadow_s or kit.slots.get(update.model) is None:
        return Shadowed(update.generation)
    assert isinstance(candidate.model, IsolatedModel)  # a proved model has no probation
    counts, beside, most = job.trial.shadowed, partial(only_lent, candidate), policy.compare
    async with compared_beside(kit.slots, update.model, beside, counts, most=most, failures=True, clock=kit.monotonic):
        try:
            async with asyncio.timeout(policy.shadow_s):
                why = await candidate.model.gone()
        except TimeoutError:
            return Shadowed(update.generation)
    return ProbationFailed(update.generation, why.code, f"beside the served model: {why}")
