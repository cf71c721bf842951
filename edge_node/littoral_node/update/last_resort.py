"""The last way to serve a model that is given up, where there is no previous artifact: from an isolated process, which starts
again whenever it ends.
"""

from __future__ import annotations

from collections.abc import Callable

from littoral_node.isolated.model import IsolatedModel
from littoral_node.serving.slots import Served
from littoral_node.update.job import Kit
from littoral_node.update.load import load_isolated


async def serve_isolated(kit: Kit, model: str, digest: str) -> Served:
    """Raises what `load_isolated` raises."""
    served = await load_isolated(kit, digest)
    kit.slots.swap(model, served)
    kit.log("serving", model=model, manifest=digest, student=served.manifest.name, isolated=True)
    return served


async def restart_isolated(kit: Kit, model: str, served: Served, ended: Callable[[str], None]) -> None:
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
        await kit.pause(pauses)
        pauses += 1
        if kit.slots.get(model) is not None:
            return
        served = await serve_isolated(kit, model, served.manifest_digest)
        ended(why)
