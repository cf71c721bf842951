"""How many requests of one model may wait or be answered at one time: what is served shares the places, so that a model that
everybody asks, or that is slow, never takes those of another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from edge_node.serving.slots import Slots
from littoral.errors import FleetError


class Busy(FleetError):
    """More requests are in flight than this node takes, or than one model's share of them."""

    code = "busy"
    retryable = True


Split = Callable[[tuple[str, ...]], Mapping[str, int]]
"""How many places each of these models has."""


class Places:
    """For one event loop."""

    def __init__(self, slots: Slots, split: Split) -> None:
        self._slots = slots
        self._split = split
        self._models: tuple[str, ...] | None = None
        self._most: Mapping[str, int] = {}
        self._taken: dict[str, int] = {}

    @contextmanager
    def of(self, model: str) -> Iterator[None]:
        """One of the model's places, until its answer is there. Raises Busy where all of them are taken."""
        if (models := self._slots.names()) != self._models:  # something was loaded or taken out
            self._models, self._most = models, self._split(models)
        taken = self._taken.get(model, 0)
        if taken >= self._most.get(model, 1):
            raise Busy(f"{taken} requests of {model} are in flight, as many as its share", hint="try again in a second")
        self._taken[model] = taken + 1
        try:
            yield
        finally:
            self._taken[model] -= 1
            if not self._taken[model]:
                del self._taken[model]


def evenly(whole: int) -> Split:
    """Each model has an even part of the places, one at least."""
    return lambda models: dict.fromkeys(models, max(1, whole // max(1, len(models))))
