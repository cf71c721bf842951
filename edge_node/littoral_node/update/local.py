"""The repository that clients of this node see: its models, taken out of memory and back into it.

The desired state stays as it is. A model that was taken out is reported with its problem, and comes back with `load`, with a
restart, or when the cloud desires another artifact of it (docs/decisions/0016).
"""

from __future__ import annotations

from collections.abc import Sequence

from littoral.errors import NotFound
from littoral_node.serving.service import READY, UNAVAILABLE, RepositoryEntry
from littoral_node.update.desired import Updates
from littoral_node.update.updater import ModelUpdater


class LocalRepository:
    """See serving.service.Repository."""

    def __init__(self, updates: Updates) -> None:
        self._updates = updates

    def entries(self) -> Sequence[RepositoryEntry]:
        return [self._entry(updater) for _, updater in sorted(self._updates.updaters.items())]

    async def load(self, name: str) -> None:
        await self._updater(name).load()

    async def unload(self, name: str) -> None:
        self._updater(name).unload()

    def _updater(self, name: str) -> ModelUpdater:
        if (updater := self._updates.updaters.get(name)) is None:
            known = ", ".join(sorted(self._updates.updaters)) or "none"
            raise NotFound(f"model: {name[:80]!r} is not on this node", hint=f"on it are {known}")
        return updater

    @staticmethod
    def _entry(updater: ModelUpdater) -> RepositoryEntry:
        service = updater.in_service
        if service.digest:
            return RepositoryEntry(updater.model, service.digest, READY)
        reason = service.problem or ("an update is under way" if updater.busy else "nothing was rolled out to it")
        return RepositoryEntry(updater.model, service.active, UNAVAILABLE, reason)
