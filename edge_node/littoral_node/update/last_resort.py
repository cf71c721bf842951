"""The last way to serve a model that takes the agent down, where there is none before it: from a process of its own, which is
begun again whenever it ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from littoral_node.isolated.model import IsolatedModel
from littoral_node.serving.slots import Served
from littoral_node.supervision.crashes import LIMIT
from littoral_node.update.job import Kit
from littoral_node.update.load import load_apart

Pause = Callable[[int], Awaitable[None]]
"""Waits after so many pauses before."""


def words_of(model: str, digest: str) -> str:
    return (
        f"{model}: artifact {digest[:19]} took the agent down {LIMIT} times in a row, and there is none to go back to: "
        f"it is served from a process of its own"
    )


async def serve_apart(kit: Kit, model: str, digest: str) -> Served:
    """Raises what `load_apart` raises."""
    served = await load_apart(kit, digest)
    kit.slots.swap(model, served)
    kit.log("serving", model=model, manifest=digest, student=served.manifest.name, apart=True)
    return served


async def tend(kit: Kit, model: str, served: Served, told: Callable[[str], None], pause: Pause) -> None:
    """Until something else is served, or it cannot be begun again. Raises what `load_apart` raises.

    Args:
        told: called with how the process ended.
    """
    pauses = 0
    while isinstance(served.model, IsolatedModel):
        why = str(await served.model.gone())
        kit.log("model-crashed", model=model, manifest=served.manifest_digest, detail=why)
        kit.slots.back(model, served)
        told(why)
        await pause(pauses)
        pauses += 1
        if kit.slots.get(model) is not None:
            return
        served = await serve_apart(kit, model, served.manifest_digest)
        told(why)
