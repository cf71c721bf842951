"""What is served, by model name. A swap is one assignment: requests that began on the old model finish on it.

For one event loop: nothing here may be called from another thread.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from littoral.errors import NotFound
from littoral.manifest import Manifest
from littoral.preparation import Preparation
from littoral_node.runtimes import Model


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """`isolated`: the model answers from another process; waiting for it must not hold up the loop."""

    manifest: Manifest
    manifest_digest: str
    model: Model
    isolated: bool = False
    prepare: Preparation = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prepare", Preparation(self.manifest.input))


@dataclass(slots=True, eq=False)
class _Slot:
    """A context in which one request uses what is served."""

    served: Served
    in_flight: int = 0
    retired: bool = False
    standby: _Slot | None = None  # what answered before, while `served` is on trial

    def __enter__(self) -> Served:
        self.in_flight += 1
        return self.served

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1
        if self.retired:
            self.close_if_done()

    def close_if_done(self) -> None:
        """Of one that is retired."""
        if self.in_flight == 0:
            self.served.model.close()


def only_lent(served: Served) -> AbstractContextManager[Served]:
    """For one question to a model that its owner keeps open until it has been answered."""
    return nullcontext(served)


class Beside(Protocol):
    """Gets every request that was answered under a name."""

    def offer(self, served: Served, asked: Any, answered: Any) -> None:
        """Returns at once. Args: as of littoral_node.serving.comparing.Comparison.offer."""
        ...


class Slots:
    """Owns the models that it holds: each is closed when it has been taken out and its last request has ended."""

    def __init__(self) -> None:
        self.beside: dict[str, Beside] = {}  # by name; comparing.py
        self._slots: dict[str, _Slot] = {}
        self._names: tuple[str, ...] | None = None  # None: something came or went

    def swap(self, name: str, served: Served) -> Served | None:
        """New requests go to `served` from now on. Gives what was there before; it closes itself."""
        before = self._slots.get(name)
        self._put(name, _Slot(served))
        return self._retire(before)

    def remove(self, name: str) -> Served | None:
        """No request is taken for this name any more."""
        self._names = None
        return self._retire(self._slots.pop(name, None))

    def try_out(self, name: str, served: Served) -> None:
        """As `swap`, but what was there before stays loaded and stands by, until `swap`, `back` or `remove`."""
        self._put(name, _Slot(served, standby=self._slots.get(name)))

    def standby(self, name: str) -> Served | None:
        """What stands by for the model on trial."""
        slot = self._slots.get(name)
        return slot.standby.served if slot is not None and slot.standby is not None else None

    def back(self, name: str, tried: Served) -> None:
        """Ends the trial of `tried`: what stood by answers requests from now on; without one the name is taken out. Where
        something else answers, another caller has done it. Nothing waits here."""
        slot = self._slots.get(name)
        if slot is None or slot.served is not tried:
            return
        before, slot.standby = slot.standby, None
        if before is not None:
            self._put(name, before)
            self._retire(slot)
        else:
            self.remove(name)

    def get(self, name: str) -> Served | None:
        slot = self._slots.get(name)
        return slot.served if slot else None

    def served_name(self, name: str) -> str:
        """What the artifact under a name is called; "" where none is served."""
        slot = self._slots.get(name)
        return slot.served.manifest.name if slot else ""

    def in_flight(self, name: str) -> int:
        """Requests that use what answers under a name at this moment."""
        slot = self._slots.get(name)
        return slot.in_flight if slot else 0

    def names(self) -> tuple[str, ...]:
        """In order; the same tuple as long as none comes or goes."""
        if self._names is None:
            self._names = tuple(sorted(self._slots))
        return self._names

    def lease(self, name: str) -> AbstractContextManager[Served]:
        """The model for one request: it is not closed before the request ends. Raises NotFound."""
        slot = self._slots.get(name)
        if slot is None:
            raise NotFound(f"model: {name[:80]!r} is not served here", hint=f"served are {', '.join(self.names()) or 'none'}")
        return slot

    def lease_standby(self, name: str) -> AbstractContextManager[Served] | None:
        """What stands by for the model on trial, for one look; None where nothing does."""
        slot = self._slots.get(name)
        return slot.standby if slot is not None else None

    def close(self) -> None:
        for name in self.names():
            self.remove(name)

    def _put(self, name: str, slot: _Slot) -> None:
        self._slots[name] = slot
        self._names = None

    @staticmethod
    def _retire(slot: _Slot | None) -> Served | None:
        if slot is None:
            return None
        standby, slot.standby = slot.standby, None
        Slots._retire(standby)
        slot.retired = True
        slot.close_if_done()
        return slot.served
