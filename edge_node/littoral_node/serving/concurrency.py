"""Limits how many requests of each model wait or are answered at one time.

The models that are served divide the node's number of requests. So a model with many callers, or a slow one, never takes the
requests of another model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from littoral.errors import FleetError
from littoral_node.serving.slots import Slots


class TooManyRequests(FleetError):
    """More requests are in flight than this node takes, or than the quota of one model."""

    code = "busy"
    retryable = True


Split = Callable[[tuple[str, ...]], Mapping[str, int]]
"""The number of requests for each of these models."""


@dataclass(slots=True, eq=False)
class ModelConcurrency:
    """Of one model; a context for one request. Raises TooManyRequests where `limit` requests are in flight."""

    model: str
    limit: int
    taken: int = 0

    def __enter__(self) -> None:
        if self.taken >= self.limit:
            raise TooManyRequests(
                f"{self.taken} requests of {self.model} are in flight, as many as its quota", hint="try again in a second"
            )
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


class ConcurrencyLimiter:
    """For one event loop."""

    def __init__(self, slots: Slots, split: Split) -> None:
        self._slots = slots
        self._split = split
        self._models: tuple[str, ...] = ()
        self._limits: dict[str, ModelConcurrency] = {}

    def of(self, model: str) -> ModelConcurrency:
        if (models := self._slots.names()) is not self._models:  # a model was loaded or unloaded
            self._models = models
            self._divide(self._split(models))
        return self._limits.get(model) or ModelConcurrency(model, 1)

    def _divide(self, limits: Mapping[str, int]) -> None:
        in_use = {model: limit for model, limit in self._limits.items() if limit.taken}
        for limit in in_use.values():
            limit.limit = limits.get(limit.model, 1)
        self._limits = {model: ModelConcurrency(model, count) for model, count in limits.items()} | in_use


def evenly(requests: int) -> Split:
    """Each model has an even part of the requests, at least one."""
    return lambda models: dict.fromkeys(models, max(1, requests // max(1, len(models))))
