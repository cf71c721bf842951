"""Nodes by state, and their models by the state of the update: counted when something changes, so that a scrape does not walk
over the fleet.

Two states pass with time alone: a node that is away becomes offline, one that ran twice does so no more. Nodes in such a state
are looked at in each scrape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

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
    view: follows nodes, presences, troubles and reports; it does not run yet.
    clock: seconds since 1970-01-01 UTC.
    """

    def __init__(self, view: FleetView, clock: Callable[[], float]) -> None:
        self._view = view
        self._clock = clock
        self._states: dict[str, str] = {}  # by node
        self._passing: set[str] = set()  # whose state passes with time
        self._models: dict[str, _Models] = {}  # by node
        self._alike: dict[_Models, _Models] = {}
        self._by_state: Counter[str] = Counter()
        self._by_update: Counter[tuple[str, str]] = Counter()
        self._quarantined: set[str] = set()
        view.follow(("node", PRESENCE), lambda _kind, id, _held: self._count(id))
        view.follow((TROUBLE,), self._note_trouble)
        view.follow(("reported",), self._note_report)

    def by_state(self) -> Mapping[str, int]:
        """How many nodes; a state that none is in is left out, but for those of an accepted node."""
        for id in tuple(self._passing):
            self._count(id)
        return {**dict.fromkeys((*There, CLONED), 0), **{state: count for state, count in self._by_state.items() if count}}

    def by_update(self) -> Mapping[tuple[str, str], int]:
        """How many nodes report this state of this model's update; by model and state."""
        return {key: count for key, count in self._by_update.items() if count}

    @property
    def quarantined(self) -> int:
        return len(self._quarantined)

    def _count(self, id: str) -> None:
        if (before := self._states.pop(id, None)) is not None:
            self._by_state[before] -= 1
        self._passing.discard(id)
        if (node := self._view.of("node").get(id)) is None:
            return
        held = self._view.of(PRESENCE).get(id)
        presence: Presence | None = held.record if held else None
        state = self._states[id] = state_of(node.record, presence, self._clock())
        self._by_state[state] += 1
        if state in (There.AWAY, CLONED):
            self._passing.add(id)

    def _note_trouble(self, _kind: str, id: str, held: Held[Any] | None) -> None:
        if held is not None and held.record.quarantine is not None:
            self._quarantined.add(id)
        else:
            self._quarantined.discard(id)

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
