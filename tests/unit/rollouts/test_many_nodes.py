"""Decisions about 5,000 nodes: their cost grows with the number of nodes and no faster, and their words stay short."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import FrameType
from typing import Any

from littoral.budget import Budget
from littoral.tensor_spec import FREE, TensorSpec
from littoral_cloud.fleet.handed import Handed, after_handing
from littoral_cloud.fleet.interface import Interface
from littoral_cloud.fleet.ledger import Doc, Write
from littoral_cloud.fleet.measurements import MeasurementIndex, MeasurementRecord
from littoral_cloud.fleet.records import (
    Desired,
    DesiredModel,
    Enrolment,
    Node,
    Presence,
    Release,
    Reported,
    ReportedModel,
    UpdateState,
    dump,
    load,
)
from littoral_cloud.rollouts.answers import NodeAnswer
from littoral_cloud.rollouts.assignments import BATCH_NODES, Assignment
from littoral_cloud.rollouts.book import AssignmentBook
from littoral_cloud.rollouts.decide import Decision, next_actions
from littoral_cloud.rollouts.events import RolloutStopped, Waits
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.measuring import MEASURERS
from littoral_cloud.rollouts.plan import make_plan
from littoral_cloud.rollouts.rechoice import Fleet, rechoice
from littoral_cloud.rollouts.seen import RolloutView
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState, limit_s
from tests.kit.rollout_world import MODEL, artifact

FEW, MANY, TEN_TIMES_FEW = 100, 5_000, 1_000
CLASSES, NOW = 8, 2_000.0
MOST_CPU_S = 1.0
MOST_GROWTH = 11.0
"""Of the work, where there are ten times as many nodes."""

SAYS = Interface((TensorSpec("x", "FP32", (FREE, 4)),), (TensorSpec("y", "FP32", (FREE, 2)),), ("cat", "dog"))
OLD = artifact("old", accuracy=0.97, interface=SAYS)
CANDIDATES = [artifact(f"new-{n}", accuracy=0.98 + n / 1_000, size=1_000 * (n + 1), interface=SAYS) for n in range(4)]
HARDWARE = {"runtimes": [{"name": "onnxruntime", "version": "1.20.0", "highest_ir": 10, "highest_opset": 21}], "isa": ["avx2"]}


class CountingIndex(MeasurementIndex):
    """The index, which also counts how often it is asked."""

    asked = 0

    def of_node(self, manifest_digest: str, node_id: str) -> MeasurementRecord | None:
        self.asked += 1
        return super().of_node(manifest_digest, node_id)

    def of_class(self, manifest_digest: str, hardware_class: str) -> MeasurementRecord | None:
        self.asked += 1
        return super().of_class(manifest_digest, hardware_class)


def fleet_node(number: int) -> FleetNode:
    """Serves the old artifact, like all others; every third has a budget that excludes the largest candidate."""
    id = f"node-{number:05}"
    node = Node(
        node_id=id,
        name=f"name-{number:05}",
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=1e12,
        enrolled_at=0.0,
    )
    presence = Presence(
        connected=True,
        since=1_000.0,
        boot_id="0" * 32,
        agent_version="1",
        protocol_version=1,
        features=("measure",),
        hardware=HARDWARE,
        hardware_class=f"class-{number % CLASSES}",
        runtimes=("onnxruntime", "ncnn"),
        budgets={MODEL: Budget(artifact_bytes=3_000) if number % 3 == 0 else Budget()},
        labelled_examples={MODEL: number % 2},
    )
    wanted = DesiredModel(manifest_digest=OLD.manifest_digest, rollout_id="before", generation=1)
    serves = ReportedModel(
        state=UpdateState.SUCCEEDED, desired_generation=1, target=OLD.manifest_digest, serving=OLD.manifest_digest
    )
    reported = Reported(generation=1, observed_generation=1, models={MODEL: serves})
    return FleetNode(node, presence, Desired(models={MODEL: wanted}), 1, reported)


def measured(count: int) -> CountingIndex:
    """Three nodes of each class have measured each candidate."""
    return CountingIndex(
        MeasurementRecord(
            manifest_digest=candidate.manifest_digest,
            node_id=f"node-{number:05}",
            hardware_class=f"class-{number % CLASSES}",
            p95_ms=1.0,
            peak_rss_bytes=1_000,
            samples=10,
            measured_at=1_500.0,
        )
        for candidate in CANDIDATES
        for number in range(min(count, MEASURERS * CLASSES))
    )


def measuring(count: int, measurements: MeasurementIndex, **policy: Any) -> RolloutView:
    """A rollout to so many nodes that is in MEASURING."""
    nodes = {node.id: node for node in map(fleet_node, range(count))}
    rollout = Rollout(
        release_id=f"{MODEL}-2",
        model=MODEL,
        kind="manual",
        policy=RolloutPolicy(**policy),
        state=RolloutState.MEASURING,
        created_at=1_400.0,
        entered_at=1_400.0,
        deadline=NOW + 100.0,
    )
    artifacts = {each.manifest_digest: each for each in (OLD, *CANDIDATES)}
    return RolloutView("r", 1, rollout, CANDIDATES, artifacts, nodes, measurements, {}, AssignmentBook(MODEL, nodes))


def promoted(count: int) -> tuple[list[FleetNode], Fleet]:
    """A fleet that was offline when a release was promoted, while a rollout runs that reaches none of it."""
    nodes = [fleet_node(number) for number in range(count)]
    begun = replace(measuring(1, MeasurementIndex()).rollout, state=RolloutState.WAVE)
    rollout = replace(begun, state=RolloutState.SUCCEEDED, ended_at=1_900.0)
    release = Release(
        release_id=rollout.release_id,
        model=MODEL,
        kind="manual",
        artifacts=tuple(candidate.manifest_digest for candidate in CANDIDATES),
        created_at=1_300.0,
    )
    artifacts = {each.manifest_digest: each for each in (OLD, *CANDIDATES)}
    rollouts = {"r": rollout, "s": begun}
    return nodes, Fleet(rollouts, {release.release_id: release}, artifacts, measured(count), lambda rollout_id, node_id: None)


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called, Python's own among them."""
    count = 0

    def note(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def grows_with_the_nodes_alone(work: Callable[[int], Callable[[], object]]) -> bool:
    """Whether ten times as many nodes are ten times the work, counted in calls. `work`: for so many nodes."""
    return calls_of(work(TEN_TIMES_FEW)) <= MOST_GROWTH * calls_of(work(FEW))


def is_cheap(work: Callable[[], object]) -> bool:
    """Whether it takes less than MOST_CPU_S, at the third try at the latest: what else the machine does takes its caches away."""
    return any(cpu_s_of(work) < MOST_CPU_S for _ in range(3))


def cpu_s_of(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def planned(seen: RolloutView) -> Decision:
    decision = next_actions(seen, NOW)
    assert isinstance(decision, Decision)
    return decision


def looked_up(seen: RolloutView) -> int:
    """How often a whole decision asks the index."""
    index = seen.measurements
    assert isinstance(index, CountingIndex)
    index.asked = 0
    planned(seen)
    return index.asked


def test_a_plan_costs_less_than_a_second_and_grows_with_the_number_of_nodes_alone() -> None:
    many = measuring(MANY, measured(MANY))
    plan = make_plan(many, NOW)
    assert [len(plan.assignments), len({a.name for a in plan.assignments})] == [MANY, 2]
    assert is_cheap(lambda: make_plan(many, NOW))
    assert MANY <= looked_up(many) <= MOST_GROWTH * looked_up(measuring(MANY // 10, measured(MANY)))

    def plan_of(count: int) -> Callable[[], object]:
        seen = measuring(count, measured(count))
        return lambda: planned(seen)

    assert grows_with_the_nodes_alone(plan_of)


def test_a_look_at_nodes_that_measure_grows_with_their_number_alone() -> None:
    def look_of(count: int) -> Callable[[], object]:
        seen = measuring(count, MeasurementIndex(), measure_s=100.0)
        return lambda: planned(seen)

    many = measuring(MANY, MeasurementIndex(), measure_s=100.0)  # they were just asked
    assert len(planned(many).desired) == MEASURERS * CLASSES
    assert is_cheap(lambda: planned(many))
    assert grows_with_the_nodes_alone(look_of)


def in_wave(count: int, index: MeasurementIndex) -> RolloutView:
    """A rollout whose second wave is every node but the canary; none of them has said anything of it."""
    seen = measuring(count, index, wave_sizes=(1,), most_nodes=count)
    return decided(after_wave(decided(seen)))


def decided(seen: RolloutView) -> RolloutView:
    """After everything was committed that can be decided now."""
    while isinstance(decision := next_actions(seen, NOW), Decision):
        seen = told(seen, decision)
    return seen


def told(seen: RolloutView, decided: Decision) -> RolloutView:
    """After the decision was committed."""
    nodes = dict(seen.nodes)
    for id, desired in decided.desired.items():
        handed = after_handing(Handed(), desired, NOW)
        nodes[id] = replace(nodes[id], desired=desired, desired_generation=nodes[id].desired_generation + 1, handed=handed)
    given = {id: a for id, (_, a) in seen.assignments.held.items()} | dict(decided.assignments)
    return replace(seen, rollout=decided.rollout, nodes=nodes, assignments=book_of(decided.rollout, nodes, given))


def book_of(rollout: Rollout, nodes: Mapping[str, FleetNode], given: Mapping[str, Assignment | None]) -> AssignmentBook:
    book = AssignmentBook(MODEL, nodes, limit_s(rollout.policy, RolloutState.WAVE))
    for id, a in given.items():
        book.put(id, 1, a)
    return book


def after_wave(seen: RolloutView) -> RolloutView:
    """After each node of the running wave has kept its candidate."""
    wave = seen.rollout.running_wave
    assert wave is not None
    nodes = {**seen.nodes, **{id: passed(seen.nodes[id]) for id in seen.assignments.of_wave(wave.number)}}
    given = {id: a for id, (_, a) in seen.assignments.held.items()}
    return replace(seen, nodes=nodes, assignments=book_of(seen.rollout, nodes, given))


def passed(node: FleetNode) -> FleetNode:
    wanted = node.desired.models[MODEL]
    report = ReportedModel(
        state=UpdateState.SUCCEEDED,
        desired_generation=wanted.generation,
        target=wanted.manifest_digest,
        serving=wanted.manifest_digest,
        previous=OLD.manifest_digest,
    )
    return replace(node, reported=Reported(generation=2, observed_generation=2, models={MODEL: report}))


def test_a_look_at_a_wave_costs_the_same_however_many_nodes_it_has_and_its_words_stay_short() -> None:
    def look_of(count: int) -> Callable[[], object]:
        seen = in_wave(count, measured(count))
        assert isinstance(observe(seen, NOW), Waits)  # what was put in order once is in order
        return lambda: observe(seen, NOW)

    assert calls_of(look_of(TEN_TIMES_FEW)) <= 1.1 * calls_of(look_of(FEW))
    many = in_wave(MANY, measured(MANY))
    assert is_cheap(lambda: observe(many, NOW))
    waits = observe(many, NOW)
    assert isinstance(waits, Waits)
    assert waits.waits_for[-1] == f"and {MANY - 6} more"
    late = observe(many, waits.until)
    assert isinstance(late, RolloutStopped)
    assert late.reason.endswith(f"no answer, and {MANY - 6} more, after 900 s")
    assert len(late.reason) < 300


def test_a_look_after_a_batch_has_answered_costs_the_same_however_many_nodes_are_in_the_wave() -> None:
    def look_of(count: int) -> Callable[[], object]:
        seen = in_wave(count, measured(count))
        nodes = dict(seen.nodes)
        book = book_of(seen.rollout, nodes, {id: a for id, (_, a) in seen.assignments.held.items()})
        for id in list(book.answered(NodeAnswer.AWAITED))[: FEW // 2]:
            nodes[id] = passed(nodes[id])
            book.node_changed(id)
        answered = replace(seen, nodes=nodes, assignments=book)
        decision = planned(answered)
        assert len(decision.assignments) == FEW // 2
        return lambda: list(planned(answered).changes(answered))

    assert calls_of(look_of(TEN_TIMES_FEW)) <= 1.1 * calls_of(look_of(FEW))


def test_no_document_grows_with_the_fleet_and_no_change_has_more_than_a_batch() -> None:
    seen = measuring(MANY, measured(MANY), wave_sizes=(1,), most_nodes=MANY)
    sizes, writes = [], []
    for number in range(60):
        decision = next_actions(seen, NOW)
        if isinstance(decision, Waits):
            if number > 50 or seen.rollout.waves_started == 2:
                break
            seen = after_wave(seen)
            continue
        writes += [len(change.writes) for change in decision.changes(seen)]
        seen = told(seen, decision)
        sizes.append(len(json.dumps(dump(seen.rollout))))
    assert seen.rollout.waves[-1].told == MANY - 1
    assert max(sizes) < 2_000
    assert max(writes) <= 2 * BATCH_NODES + 1
    assert max(len(json.dumps(dump(a))) for _, a in seen.assignments.held.values()) < 700


def test_the_audit_line_of_a_large_wave_holds_a_count_and_a_digest() -> None:
    seen = measuring(MANY, measured(MANY), wave_sizes=(20, 21))

    def line_of(seen: RolloutView) -> tuple[Mapping[str, Any], list[str]]:
        """Of the next wave, and the ids of its nodes."""
        while not (decision := planned(seen)).audit:
            seen = told(seen, decision)
        return decision.audit[0].details, list(decision.desired)

    details, ids = line_of(seen)
    assert details["nodes"] == ids
    assert "nodes_count" not in details
    details, ids = line_of(after_wave(decided(seen)))
    assert (details["nodes"], details["nodes_count"]) == (ids[:5], 21)
    text = "".join(f"{id}\n" for id in sorted(ids))
    assert details["nodes_sha256"] == hashlib.sha256(text.encode()).hexdigest()


def choose(nodes: list[FleetNode], fleet: Fleet) -> int:
    return sum(rechoice(node, fleet, NOW).change is not None for node in nodes)


def test_choosing_for_a_fleet_that_joins_costs_less_than_a_second_and_grows_with_its_number_alone() -> None:
    def choice_of(count: int) -> Callable[[], object]:
        nodes, fleet = promoted(count)
        return lambda: choose(nodes, fleet)

    nodes, fleet = promoted(MANY)
    assert all(rechoice(node, fleet, NOW).again_at is None for node in nodes[::100]), "their classes were measured"
    written: list[int] = []
    assert is_cheap(lambda: written.append(choose(nodes, fleet)))
    assert written[-1] == MANY
    assert grows_with_the_nodes_alone(choice_of)


def test_a_fleet_of_which_nothing_is_due_costs_less_still() -> None:
    nodes, fleet = promoted(MANY)
    chosen = [settled(node, fleet) for node in nodes]
    written: list[int] = []
    assert is_cheap(lambda: written.append(choose(chosen, fleet)))
    assert written[-1] == 0


def settled(node: FleetNode, fleet: Fleet) -> FleetNode:
    """The node with what was chosen for it."""
    change = rechoice(node, fleet, NOW).change
    assert change is not None
    [write] = change.writes
    assert isinstance(write, Write)
    assert write.body is not None
    return replace(node, desired=load(Desired, Doc("desired", node.id, 2, write.body)), desired_generation=2)
