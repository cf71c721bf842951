"""Step 0: the node has time for the update. Where it has not, the update is put off, for as long as the cloud allows at most.

The limit counts from the first time, by the node's clock, over restarts too. What the node has proved before, and what comes
from a cloud that allows no delay, is never put off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

from littoral_node.update.events import Deferral, Deferred, Ready, UpdateEvent
from littoral_node.update.job import Job

LOOK_S = 1.0
"""Time between two looks at what hinders an update."""
BUSY_SHARE = 0.75
"""Of the requests that the node takes at one time: with more in flight it is busy."""
BUSY, TRAINING = "busy", "training"


async def run(job: Job) -> UpdateEvent:
    update, kit = job.update, job.kit
    if update.proved or update.defer_s <= 0:
        return Ready(update.generation)
    before = update.deferral
    until = before.until if before is not None else kit.clock() + update.defer_s
    ends = kit.monotonic() + min(until - kit.clock(), update.defer_s)  # a clock that was set back makes no longer delay
    while (reason := kit.hindrance()) and (left := ends - kit.monotonic()) > 0:
        if before is None or before.over or before.reason != reason:
            return Deferred(update.generation, Deferral(reason, until))
        await asyncio.sleep(min(left, LOOK_S))
    return Ready(update.generation)


class Machine(Protocol):
    @property
    def holds(self) -> Collection[str]:
        """Conditions of littoral_node.machine.conditions that hold now."""
        ...


class Requests(Protocol):
    max_in_flight: int

    @property
    def in_flight(self) -> int: ...


class Rounds(Protocol):
    @property
    def trains(self) -> bool:
        """Whether the node works on a task of a federated round now."""
        ...


class Hindrances:
    """What keeps this node from an update now: a function for `Kit.hindrance`.

    Args:
        names: conditions, BUSY and TRAINING, as far as they count; the first that holds is the answer.
    """

    def __init__(self, names: Sequence[str], machine: Machine, requests: Requests, rounds: Rounds) -> None:
        self._names = names
        self._machine = machine
        self._requests = requests
        self._rounds = rounds

    def __call__(self) -> str:
        """Its name; "": nothing."""
        return next((name for name in self._names if self._holds(name)), "")

    def _holds(self, name: str) -> bool:
        if name == TRAINING:
            return self._rounds.trains
        if name == BUSY:
            return self._requests.in_flight >= BUSY_SHARE * self._requests.max_in_flight
        return name in self._machine.holds
