"""What is served, by model name. A swap is one assignment: requests that began on the old model finish on it.

For one event loop: nothing here may be called from another thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edge_node.runtimes import Model
from littoral.errors import NotFound
from littoral.manifest import Manifest


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    manifest: Manifest
    manifest_digest: str
    model: Model


@dataclass(slots=True, eq=False)
class _Slot:
    served: Served
    in_flight: int = 0
    retired: bool = False

    def close_if_done(self) -> None:
        if self.retired and self.in_flight == 0:
            self.served.model.close()


class Slots:
    """Owns the models that it holds: each is closed when it has been taken out and its last request has ended."""

    def __init__(self) -> None:
        self._slots: dict[str, _Slot] = {}

    def swap(self, name: str, served: Served) -> Served | None:
        """New requests go to `served` from now on. Gives what was there before; it closes itself."""
        before = self._slots.get(name)
        self._slots[name] = _Slot(served)
        return self._retire(before)

    def remove(self, name: str) -> Served | None:
        """No request is taken for this name any more."""
        return self._retire(self._slots.pop(name, None))

    def get(self, name: str) -> Served | None:
        slot = self._slots.get(name)
        return slot.served if slot else None

    def served_name(self, name: str) -> str:
        """What the artifact under a name is called; "" where none is served."""
        slot = self._slots.get(name)
        return slot.served.manifest.name if slot else ""

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._slots))

    @contextmanager
    def lease(self, name: str) -> Iterator[Served]:
        """The model for one request: it is not closed before the request ends. Raises NotFound."""
        slot = self._slots.get(name)
        if slot is None:
            raise NotFound(f"model: {name!r} is not served here", hint=f"served are {', '.join(self.names()) or 'none'}")
        slot.in_flight += 1
        try:
            yield slot.served
        finally:
            slot.in_flight -= 1
            slot.close_if_done()

    def close(self) -> None:
        for name in self.names():
            self.remove(name)

    @staticmethod
    def _retire(slot: _Slot | None) -> Served | None:
        if slot is None:
            return None
        slot.retired = True
        slot.close_if_done()
        return slot.served
