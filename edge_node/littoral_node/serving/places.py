"""How many requests of one model may wait or be answered at one time: what is served shares the places, so that a model that
everybody asks, or that is slow, never takes those of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from littoral.errors import FleetError
from littoral_node.serving.slots import Slots


class Busy(FleetError):
    """More requests are in flight than this node takes, or than one model's share of them."""

    code = "busy"
    retryable = True


Split = Callable[[tuple[str, ...]], Mapping[str, int]]
"""How many places each of these models has."""


@dataclass(slots=True, eq=False)
class Share:
    """The places of one model; a context in which one request has one of them. Raises Busy where all of them are taken."""

    model: str
    most: int
    taken: int = 0

    def __enter__(self) -> None:
        if self.taken >= self.most:
            raise Busy(f"{self.taken} requests of {self.model} are in flight, as many as its share", hint="try again in a second")
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


class Places:
    """For one event loop."""

    def __init__(self, slots: Slots, split: Split) -> None:
        self._slots = slots
        self._split = split
        self._models: tuple[str, ...] = ()
        self._shares: dict[str, Share] = {}

    def of(self, model: str) -> Share:
        """One of the model's places, until its answer is there."""
        if (models := self._slots.names()) is not self._models:  # something was loaded or taken out
            self._models = models
            self._share_out(self._split(models))
        return self._shares.get(model) or Share(model, 1)

    def _share_out(self, most: Mapping[str, int]) -> None:
        taken = {model: share for model, share in self._shares.items() if share.taken}
        for share in taken.values():
            share.most = most.get(share.model, 1)
        self._shares = {model: Share(model, places) for model, places in most.items()} | taken


def evenly(whole: int) -> Split:
    """Each model has an even part of the places, one at least."""
    return lambda models: dict.fromkeys(models, max(1, whole // max(1, len(models))))
