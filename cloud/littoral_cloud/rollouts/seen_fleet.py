"""The view of the fleet as rollouts see it: nodes joined from their documents, and rollouts that go on with their assignments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from littoral.budget import Budget
from littoral.quota import within_quotas
from littoral_cloud.fleet.handed import KIND as HANDED
from littoral_cloud.fleet.handed import Handed
from littoral_cloud.fleet.measurements import MeasurementIndex, MeasurementRecord
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, Profile, with_profile
from littoral_cloud.fleet.quarantine import KIND as TROUBLE
from littoral_cloud.fleet.quarantine import NodeTrouble
from littoral_cloud.fleet.records import Artifact, Desired, Node, Presence, Release, Reported, models_on
from littoral_cloud.fleet.view import FleetView, Held
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState, assignment_id, ids_of
from littoral_cloud.rollouts.book import AssignmentBook
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.seen import NODE_KINDS, PREVIEW, RolloutView, Snapshot, book_of
from littoral_cloud.rollouts.state import ENDED, Rollout

_NOTHING = Desired()
SHARED_BUDGETS = 4096
"""That are remembered, of different profiles and models."""

RECORDS: Mapping[str, type] = {
    "node": Node,
    PRESENCE: Presence,
    PROFILE: Profile,
    "desired": Desired,
    "reported": Reported,
    HANDED: Handed,
    TROUBLE: NodeTrouble,
    "artifact": Artifact,
    "release": Release,
    "measurement": MeasurementRecord,
    "rollout": Rollout,
    ASSIGNMENT: Assignment,
}
"""What a FleetView has to follow for a SeenFleet."""


class SeenFleet:
    """The view as rollouts see it: each node joined from its documents, again whenever one of them changed.

    Args:
        view: follows RECORDS; it does not run yet.
    approval_above: of rollouts that could reach more of the fleet, approval is asked; 1: of none.
    """

    def __init__(self, view: FleetView, approval_above: float = 1.0) -> None:
        self.view = view
        self._approval_above = approval_above
        self.nodes: dict[str, FleetNode] = {}
        self.measurements = MeasurementIndex()
        self._books: dict[str, AssignmentBook] = {}  # of rollouts that go on
        self._early: dict[str, dict[str, Held[Any]]] = {}  # assignments of rollouts that are not known yet, by rollout and node
        self._shared_budgets: dict[tuple[int, frozenset[str]], tuple[Profile, Mapping[str, Budget]]] = {}
        view.follow(NODE_KINDS, self._join)
        view.follow(("measurement",), self._index)
        view.follow(("rollout",), self._open_book)
        view.follow((ASSIGNMENT,), self._enter)

    def live_rollouts(self) -> dict[str, tuple[int, Rollout]]:
        """Those that have not ended: generation and record, by id, the oldest first."""
        live = [(id, held) for id, held in self.view.of("rollout").items() if held.record.state not in ENDED]
        live.sort(key=lambda each: (each[1].record.created_at, each[0]))
        return {id: (held.generation, held.record) for id, held in live}

    def of(self, rollout_id: str) -> RolloutView:
        """What one rollout sees now. Its nodes and measurements are the view's own, and change with it.

        Raises NotFound where the rollout's release is not there."""
        return self._seen_by(rollout_id, self.live_rollouts())

    def before(self, rollout: Rollout) -> RolloutView:
        """What one would see that is not written, under the id PREVIEW."""
        return self._seen_by(PREVIEW, {**self.live_rollouts(), PREVIEW: (0, rollout)})

    def _seen_by(self, rollout_id: str, rollouts: Mapping[str, tuple[int, Rollout]]) -> RolloutView:
        of = self.view.of
        snapshot = Snapshot(
            rollouts,
            {id: held.record for id, held in of("release").items()},
            {id: held.record for id, held in of("artifact").items()},
            self.nodes,
            self.measurements,
            self._books,
        )
        return replace(snapshot.of(rollout_id), behind_s=self.view.behind_s, approval_above=self._approval_above)

    def assignment(self, rollout_id: str, node_id: str) -> Assignment | None:
        """Of a rollout that goes on, or ended."""
        held = self.view.of(ASSIGNMENT).get(assignment_id(rollout_id, node_id))
        return held.record if held is not None else None

    def assigned(self, rollout_id: str, state: AssignmentState) -> int:
        """How many assignments of a rollout that goes on are in this state."""
        book = self._books.get(rollout_id)
        return len(book.in_state(state)) if book is not None else 0

    def _open_book(self, kind: str, id: str, held: Held[Any] | None) -> None:
        early = self._early.pop(id, {})
        if held is None or held.record.state in ENDED:
            self._books.pop(id, None)
        elif id not in self._books:
            self._books[id] = book_of(held.record, self.nodes)
            for node_id, each in early.items():
                self._books[id].put(node_id, each.generation, each.record)

    def _enter(self, kind: str, id: str, held: Held[Any] | None) -> None:
        rollout_id, node_id = ids_of(id)
        if (book := self._books.get(rollout_id)) is not None:
            book.put(node_id, held.generation if held else 0, held.record if held else None)
        elif rollout_id not in self.view.of("rollout") and held is not None:
            self._early.setdefault(rollout_id, {})[node_id] = held

    def _index(self, kind: str, id: str, held: Held[Any] | None) -> None:
        if held is None:
            self.measurements.remove(id)
        else:
            self.measurements.put(held.record)

    def _join(self, kind: str, id: str, held: Held[Any] | None) -> None:
        of = self.view.of
        if (node := of("node").get(id)) is None:
            self.nodes.pop(id, None)
            self._tell_books(id)
            return
        held_presence, held_profile = of(PRESENCE).get(id), of(PROFILE).get(id)
        held_desired, held_reported = of("desired").get(id), of("reported").get(id)
        desired: Desired = held_desired.record if held_desired else _NOTHING
        reported: Reported | None = held_reported.record if held_reported else None
        presence: Presence | None = held_presence.record if held_presence else None
        if held_profile is None:  # earlier coordinators stored both in one
            presence = with_profile(presence, None)
            presence = presence.sharing(models_on(desired, reported)) if presence else None
        else:
            profile: Profile = held_profile.record
            presence = with_profile(presence, profile, self._budgets(profile, models_on(desired, reported)))
        handed, trouble = of(HANDED).get(id), of(TROUBLE).get(id)
        self.nodes[id] = FleetNode(
            node.record,
            presence,
            desired,
            held_desired.generation if held_desired else 0,
            reported,
            handed.record if handed else None,
            trouble.record.quarantine if trouble else None,
        )
        self._tell_books(id)

    def _tell_books(self, node_id: str) -> None:
        for book in self._books.values():
            book.node_changed(node_id)

    def _budgets(self, profile: Profile, models: frozenset[str]) -> Mapping[str, Budget]:
        """As Presence.sharing: worked out once for all nodes that are alike, whose profile is one object."""
        key = (id(profile), models)
        if (known := self._shared_budgets.get(key)) is None or known[0] is not profile:
            if len(self._shared_budgets) >= SHARED_BUDGETS:
                self._shared_budgets.clear()
            known = self._shared_budgets[key] = (profile, within_quotas(profile.limits, profile.budgets, models))
        return known[1]
