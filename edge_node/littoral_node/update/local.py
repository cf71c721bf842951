"""The repository that clients of this node see: its models, taken out of memory and back into it.

What the cloud wants is not touched. A model that was taken out stays enrolled, is reported with its problem, and comes back with
`load`, with a restart, or when the cloud wants something new of it (docs/decisions/0016).
"""

from __future__ import annotations

from collections.abc import Sequence

from littoral.errors import NotFound
from littoral_node.serving.service import READY, UNAVAILABLE, Entry
from littoral_node.update.desired import Updates
from littoral_node.update.updater import ModelUpdater


class LocalRepository:
    """See serving.service.Repository."""

    def __init__(self, updates: Updates) -> None:
        self._updates = updates

    def entries(self) -> Sequence[Entry]:
        return [self._entry(machine) for _, machine in sorted(self._updates.machines.items())]

    async def load(self, name: str) -> None:
        await self._machine(name).load()

    async def unload(self, name: str) -> None:
        self._machine(name).unload()

    def _machine(self, name: str) -> ModelUpdater:
        if (machine := self._updates.machines.get(name)) is None:
            known = ", ".join(sorted(self._updates.machines)) or "none"
            raise NotFound(f"model: {name[:80]!r} is not on this node", hint=f"on it are {known}")
        return machine

    @staticmethod
    def _entry(machine: ModelUpdater) -> Entry:
        held = machine.in_service
        if held.digest:
            return Entry(machine.model, held.digest, READY)
        reason = held.problem or ("an update is under way" if machine.busy else "nothing was rolled out to it")
        return Entry(machine.model, held.active, UNAVAILABLE, reason)
