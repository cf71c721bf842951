"""The last way to serve a model that is given up, where there is no previous artifact: from an isolated process, which starts
again whenever it ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from littoral_node.isolated.model import IsolatedModel
from littoral_node.serving.slots import Served
from littoral_node.supervision.failures import CRASHES
from littoral_node.update.job import Kit
from littoral_node.update.load import load_isolated

Pause = Callable[[int], Awaitable[None]]
"""Waits, longer the more pauses there were before."""


def isolated_problem(model: str, digest: str) -> str:
    return (
        f"{model}: artifact {digest[:19]} crashed the agent {CRASHES} times in a row, and there is no previous one: "
        f"it is served from an isolated process"
    )


async def serve_isolated(kit: Kit, model: str, digest: str) -> Served:
    """Raises what `load_isolated` raises."""
    served = await load_isolated(kit, digest)
    kit.slots.swap(model, served)
    kit.log("serving", model=model, manifest=digest, student=served.manifest.name, isolated=True)
    return served


async def restart_isolated(kit: Kit, model: str, served: Served, ended: Callable[[str], None], pause: Pause) -> None:
    """Returns when another artifact serves. Raises what `load_isolated` raises where the process cannot start again.

    Args:
        ended: called with how the process ended.
    """
    pauses = 0
    while isinstance(served.model, IsolatedModel):
        why = str(await served.model.gone())
        kit.log("model-crashed", model=model, manifest=served.manifest_digest, detail=why)
        kit.slots.back(model, served)
        ended(why)
        await pause(pauses)
        pauses += 1
        if kit.slots.get(model) is not None:
            return
        served = await serve_isolated(kit, model, served.manifest_digest)
        ended(why)
