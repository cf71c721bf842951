"""Nodes by state, and their models by the state of the update: counted when something changes, so that a scrape does not walk
over the fleet.

Two states pass with time alone: a node that is away becomes offline, one that ran twice does so no more. Such a node is looked at
again in the first scrape after that time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Any

from littoral_cloud.fleet.clones import REMEMBERED_S
from littoral_cloud.fleet.drift import node_and_model
from littoral_cloud.fleet.drift_seen import KIND as INPUTS
from littoral_cloud.fleet.presence import There, there
from littoral_cloud.fleet.profile import PRESENCE
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.records import Enrolment, Node, Presence, Reported
from littoral_cloud.fleet.view import FleetView, Held

CLONED = "cloned"
_Models = tuple[tuple[str, str], ...]
"""Model and state of its update, sorted."""


def state_of(node: Node, presence: Presence | None, now: float) -> str:
    """As `node list` has it: what keeps the node from the fleet, or whether it is there."""
    if node.enrolment is not Enrolment.ACCEPTED:
        return node.enrolment.value
    is_there = there(presence, now)
    return CLONED if presence is not None and presence.runs_twice(now) and is_there is not There.OFFLINE else is_there.value


class FleetCounts:
    """Args:
    view: follows nodes, presences, troubles, reports and inputs; it does not run yet.
    clock: seconds since 1970-01-01 UTC.
    """

    def __init__(self, view: FleetView, clock: Callable[[], float]) -> None:
        self._view = view
        self._clock = clock
        self._states: dict[str, str] = {}  # by node
        self._passing: list[tuple[float, str]] = []  # a heap: when the state of a node may pass with time
        self._models: dict[str, _Models] = {}  # by node
        self._alike: dict[_Models, _Models] = {}
        self._by_state: Counter[str] = Counter()
        self._by_update: Counter[tuple[str, str]] = Counter()
        self._quarantined: set[str] = set()
        self._drifted: set[str] = set()  # ids of documents
        view.follow(("node", PRESENCE), lambda _kind, id, _held: self._count(id))
        view.follow((TROUBLE,), self._note_trouble)
        view.follow(("reported",), self._note_report)
        view.follow((INPUTS,), self._note_inputs)

    def by_state(self) -> Mapping[str, int]:
        """How many nodes; a state that none is in is left out, but for those of an accepted node."""
        now = self._clock()
        while self._passing and self._passing[0][0] <= now:
            self._count(heappop(self._passing)[1])
        return {**dict.fromkeys((*There, CLONED), 0), **{state: count for state, count in self._by_state.items() if count}}

    def by_update(self) -> Mapping[tuple[str, str], int]:
        """How many nodes report this state of this model's update; by model and state."""
        return {key: count for key, count in self._by_update.items() if count}

    @property
    def quarantined(self) -> int:
        return len(self._quarantined)

    def drifted(self) -> Mapping[str, int]:
        """By model: nodes whose inputs are not what they were, where that was not acknowledged."""
        return Counter(node_and_model(id)[1] for id in self._drifted)

    def _count(self, id: str) -> None:
        if (before := self._states.pop(id, None)) is not None:
            self._by_state[before] -= 1
        if (node := self._view.of("node").get(id)) is None:
            return
        held = self._view.of(PRESENCE).get(id)
        presence: Presence | None = held.record if held else None
        state = self._states[id] = state_of(node.record, presence, self._clock())
        self._by_state[state] += 1
        if presence is not None and state == CLONED:
            heappush(self._passing, (presence.twins_at + REMEMBERED_S, id))
        elif presence is not None and state == There.AWAY:
            heappush(self._passing, (presence.gone_at, id))

    def _note_trouble(self, _kind: str, id: str, held: Held[Any] | None) -> None:
        if held is not None and held.record.quarantine is not None:
            self._quarantined.add(id)
        else:
            self._quarantined.discard(id)

    def _note_inputs(self, _kind: str, id: str, held: Held[Any] | None) -> None:
        if held is not None and held.record.drifted and held.record.acknowledged_at is None:
            self._drifted.add(id)
        else:
            self._drifted.discard(id)

    def _note_report(self, _kind: str, id: str, held: Held[Any] | None) -> None:
        reported: Reported | None = held.record if held else None
        after = tuple(sorted((name, str(model.state)) for name, model in reported.models.items())) if reported else ()
        before = self._models.get(id, ())
        if after == before:
            return
        self._by_update.subtract(before)
        self._by_update.update(after)
        if after:
            self._models[id] = self._alike.setdefault(after, after)
        else:
            self._models.pop(id, None)
