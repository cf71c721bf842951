"""What one report of one node costs in a wave: the same in a wave of 100 nodes and of 3,000, from the view to the look."""

from __future__ import annotations

from collections.abc import Callable

from littoral_cloud.fleet.handed import Handed, HandedModel
from littoral_cloud.fleet.ledger import Announcement, Change, CommittedChange, Ledger, Write
from littoral_cloud.fleet.records import (
    Desired,
    DesiredModel,
    Node,
    Presence,
    Release,
    Reported,
    ReportedModel,
    UpdateState,
    dump,
)
from littoral_cloud.fleet.view import FleetView
from littoral_cloud.rollouts.answers import NodeAnswer
from littoral_cloud.rollouts.assignments import KIND as ASSIGNMENT
from littoral_cloud.rollouts.assignments import Assignment, AssignmentState, assignment_id
from littoral_cloud.rollouts.attention import RECORD_S, Attention
from littoral_cloud.rollouts.decide import Decision, next_actions
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.seen_fleet import RECORDS, SeenFleet
from littoral_cloud.rollouts.state import KIND, Rollout, RolloutPolicy, RolloutState, Wave
from tests.kit.rollout_world import MODEL, artifact
from tests.unit.rollouts.test_many_nodes import calls_of, fleet_node

pytest_plugins = ("tests.kit.redis",)

FEW, MANY, MOST_GROWTH = 100, 3_000, 1.1
ID, NOW = f"{MODEL}-1-r1", 2_000.0
GOOD = artifact("good")
RELEASE = Release(release_id=f"{MODEL}-1", model=MODEL, kind="manual", artifacts=(GOOD.manifest_digest,), created_at=1_000.0)


class Fleet:
    """A view of a rollout whose one wave is all nodes; each was handed its desired state, and none has answered."""

    def __init__(self, ledger: Ledger, nodes: int) -> None:
        self.view = FleetView(ledger, RECORDS)
        self.seen = SeenFleet(self.view)
        self.ids = [f"node-{number:05}" for number in range(nodes)]
        wave = Wave(number=1, size=nodes, told=nodes, started_at=NOW, told_at=NOW)
        rollout = Rollout(
            release_id=RELEASE.release_id,
            model=MODEL,
            kind="manual",
            policy=RolloutPolicy(),
            state=RolloutState.WAVE,
            created_at=NOW,
            entered_at=NOW,
            deadline=NOW + 900.0,
            planned=nodes,
            waves=(wave,),
        )
        for kind, id, record in (("artifact", GOOD.manifest_digest, GOOD), ("release", RELEASE.release_id, RELEASE)):
            self.write(kind, id, record, 1)
        self.write(KIND, ID, rollout, 1)
        for number, id in enumerate(self.ids):
            self.tell(number, id)

    def write(self, kind: str, id: str, record: object, generation: int) -> None:
        self.view.wrote(Change((Write(kind, id, dump(record), None),)), CommittedChange({(kind, id): generation}))

    def tell(self, number: int, id: str) -> None:
        node = fleet_node(number)
        wanted = DesiredModel(manifest_digest=GOOD.manifest_digest, rollout_id=ID, generation=2)
        told = Assignment(
            rollout_id=ID,
            node_id=id,
            state=AssignmentState.TOLD,
            manifest_digest=GOOD.manifest_digest,
            name="good",
            previous="",
            order=number,
            wave=1,
            generation=2,
            told_at=NOW,
        )
        assert isinstance(node.node, Node)
        assert isinstance(node.presence, Presence)
        self.write("node", id, node.node, 1)
        self.write("presence", id, node.presence, 1)
        self.write("desired", id, Desired(models={MODEL: wanted}), 1)
        self.write("handed", id, Handed(models={MODEL: HandedModel(generation=2, at=NOW)}), 1)
        self.write(ASSIGNMENT, assignment_id(ID, id), told, 1)

    def report(self, id: str, state: UpdateState, number: int) -> None:
        model = ReportedModel(state=state, desired_generation=2, target=GOOD.manifest_digest, serving=GOOD.manifest_digest)
        self.write("reported", id, Reported(generation=number, observed_generation=1, models={MODEL: model}), number)

    def look(self) -> Decision | Waits:
        return next_actions(self.seen.of(ID), NOW + 1.0)


async def test_a_report_and_the_look_after_it_cost_the_same_however_many_nodes_are_in_the_wave(ledger: Ledger) -> None:
    def event_of(nodes: int) -> Callable[[], object]:
        fleet = Fleet(ledger, nodes)
        waits = fleet.look()
        assert isinstance(waits, Waits)
        assert len(fleet.seen.of(ID).assignments.answered(NodeAnswer.AWAITED)) == nodes
        attention = Attention.after(fleet.seen.of(ID), waits)
        some = iter(fleet.ids)

        def event() -> None:
            id = next(some)
            fleet.report(id, UpdateState.DOWNLOADING, 1)
            assert not attention.is_due([Announcement("reported", id, 1)], NOW + 1.0)
            fleet.report(id, UpdateState.SUCCEEDED, 2)
            assert not attention.is_due([Announcement("reported", id, 2)], NOW + 1.0)
            assert attention.until == NOW + 1.0 + RECORD_S
            decision = fleet.look()
            assert isinstance(decision, Decision)
            assert list(decision.assignments) == [id]
            for change in decision.changes(fleet.seen.of(ID)):
                fleet.view.wrote(change, CommittedChange({(write.kind, write.id): 2 for write in change.writes}))
            assert isinstance(fleet.look(), Waits)

        event()
        return event

    assert calls_of(event_of(MANY)) <= MOST_GROWTH * calls_of(event_of(FEW))


async def test_a_bad_answer_makes_a_look_due_at_once_and_the_last_good_one_too(ledger: Ledger) -> None:
    fleet = Fleet(ledger, 3)
    waits = fleet.look()
    assert isinstance(waits, Waits)
    attention = Attention.after(fleet.seen.of(ID), waits)
    for id in fleet.ids[:2]:
        fleet.report(id, UpdateState.SUCCEEDED, 1)
        assert not attention.is_due([Announcement("reported", id, 1)], NOW + 1.0)
    fleet.report(fleet.ids[2], UpdateState.SUCCEEDED, 1)
    assert attention.is_due([Announcement("reported", fleet.ids[2], 1)], NOW + 1.0)
    fleet.report(fleet.ids[2], UpdateState.ROLLED_BACK, 2)
    assert attention.is_due([Announcement("reported", fleet.ids[2], 2)], NOW + 1.0)


async def test_an_assignment_that_comes_before_its_rollout_is_known_once_that_comes(ledger: Ledger) -> None:
    fleet = Fleet(ledger, 2)
    late = SeenFleet(view := FleetView(ledger, RECORDS))
    for kind in (ASSIGNMENT, "node", "desired", "release", "artifact", KIND):
        for id, held in fleet.view.of(kind).items():
            view.wrote(Change((Write(kind, id, dump(held.record), None),)), CommittedChange({(kind, id): 1}))
    assert set(late.of(ID).assignments.held) == set(fleet.ids)
