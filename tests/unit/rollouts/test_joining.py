"""A release that was promoted holds for whoever joins later, comes back, or can take it only since."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from littoral.budget import Budget
from littoral.quota import NodeLimits
from littoral_cloud.fleet import sessions
from littoral_cloud.fleet.hello import note_hello
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.records import DesiredModel, Enrolment, Node, Presence, UpdateState, dump
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from tests.kit.patience import PATIENCE_S
from tests.kit.rollout_world import MODEL, Fate, World, artifact, refused
from tests.unit.rollouts.test_rechoice import (
    BEST,
    CHEAP,
    LATER,
    MIDDLE,
    NARROW,
    WIDE,
    explained_of,
    rechoose,
    released,
    run,
    settle,
    wanted,
)
from tests.unit.rollouts.test_rechooser import called, choosing, copied, until_wanted

pytest_plugins = ("tests.kit.redis",)


@pytest.mark.parametrize("kind", ["class-of-a", "another"])
def test_a_node_that_joins_after_a_rollout_gets_what_was_promoted(kind: str) -> None:
    world = released(("a", WIDE))
    world.add_node("late", budget=NARROW, kind=kind)
    settle(world)
    assert world.actors["late"].serving == CHEAP.manifest_digest
    given = wanted(world, "late")
    assert (given.rollout_id, given.chosen_for) == (f"{MODEL}-1-r1", NARROW)
    assert world.desired("late")[1].benchmarks == ()
    line = world.trail[-1]
    assert (line.action, line.subject, line.details["release"]) == ("choice.changed", "late", f"{MODEL}-1")
    assert line.details["why"] == f"{MODEL}-1 was promoted without this node"
    measured = [m for m in world.of(MeasurementRecord, "measurement").values() if m.node_id == "late"]
    assert len(measured) == (0 if kind == "class-of-a" else 3)


def test_a_node_of_other_hardware_is_given_nothing_before_it_has_run_each_candidate() -> None:
    world = released(("a", WIDE))
    world.add_node("late", Fate(measures={MIDDLE.manifest_digest: "never"}))
    for _ in range(20):
        rechoose(world)
        world.tick(1.0)
    assert set(world.desired("late")[1].benchmarks) == {MIDDLE.manifest_digest}
    assert MODEL not in world.desired("late")[1].models
    world.tick(RolloutPolicy().measure_s)
    settle(world)
    assert world.actors["late"].serving == BEST.manifest_digest
    assert world.desired("late")[1].benchmarks == ()


def test_one_that_has_run_nothing_yet_is_still_asked_to_however_late() -> None:
    world = released(("a", WIDE))
    world.add_node("late", Fate(measures=dict.fromkeys((a.manifest_digest for a in (BEST, MIDDLE, CHEAP)), "never")))
    rechoose(world)
    world.tick(10 * RolloutPolicy().measure_s)
    rechoose(world)
    assert len(world.desired("late")[1].benchmarks) == 3
    world.actors["late"].fate = Fate()
    settle(world)
    assert world.actors["late"].serving == BEST.manifest_digest


def test_what_could_not_be_run_there_is_not_given() -> None:
    world = released(("a", WIDE))
    world.add_node("late", Fate(measures={BEST.manifest_digest: "out-of-memory"}))
    settle(world)
    assert world.actors["late"].serving == MIDDLE.manifest_digest


@pytest.mark.parametrize("outcome", [RolloutState.ROLLED_BACK, RolloutState.FAILED])
def test_what_was_not_promoted_is_nobodys(outcome: RolloutState) -> None:
    world = released(("a", WIDE))
    world.edit("rollout", f"{MODEL}-1-r1", Rollout, state=outcome)
    world.add_node("late")
    settle(world)
    assert MODEL not in world.desired("late")[1].models


def test_the_newest_that_was_promoted_counts_and_one_that_was_taken_back_does_not() -> None:
    world = released(("a", WIDE))
    assert run(world, world.start(world.release(2, LATER, CHEAP))).state is RolloutState.SUCCEEDED
    bad = artifact("bad", accuracy=0.999)
    world.actors["a"].fate = Fate(outcome={bad.manifest_digest: UpdateState.ROLLED_BACK})
    assert run(world, world.start(world.release(3, bad))).state is RolloutState.ROLLED_BACK
    world.add_node("late")
    settle(world)
    assert world.actors["late"].serving == LATER.manifest_digest


def test_where_the_newest_does_not_fit_an_older_one_that_was_measured_on_its_like_does() -> None:
    world = released(("a", WIDE))
    assert run(world, world.start(world.release(2, LATER))).state is RolloutState.SUCCEEDED
    world.add_node("late", budget=NARROW, kind="class-of-a")
    settle(world)
    assert world.actors["late"].serving == CHEAP.manifest_digest
    world.add_node("other", budget=NARROW)  # nothing older was measured on its like, nor is it now
    settle(world)
    assert MODEL not in world.desired("other")[1].models
    assert world.desired("other")[1].benchmarks == ()


def test_a_rollout_to_named_nodes_is_not_meant_for_who_joins() -> None:
    world = World([BEST])
    world.add_node("a")
    assert run(world, world.start(world.release(1, BEST), RolloutPolicy(nodes=("a",)))).state is RolloutState.SUCCEEDED
    world.add_node("late", kind="class-of-a")
    settle(world)
    assert MODEL not in world.desired("late")[1].models


def test_a_rollout_to_a_cohort_is_meant_for_who_joins_it_and_is_followed_by_who_has_it() -> None:
    world = World([BEST, CHEAP])
    for node_id in ("cam-1", "gate-1"):
        world.add_node(node_id, kind="one", budget=WIDE)
    ended = run(world, world.start(world.release(1, BEST, CHEAP), RolloutPolicy(where="name=name-cam-*")))
    assert [(no.node_id, no.rule) for no in refused(ended)] == [("gate-1", "in-cohort")]
    for node_id in ("cam-2", "gate-2"):
        world.add_node(node_id, kind="one", budget=WIDE)
    settle(world)
    assert [MODEL in world.desired(id)[1].models for id in ("cam-1", "cam-2", "gate-1", "gate-2")] == [True, True, False, False]
    world.edit("node", "cam-2", Node, name="gate-9")
    world.edit("presence", "cam-2", Presence, budgets={MODEL: NARROW})
    settle(world)
    assert world.actors["cam-2"].serving == CHEAP.manifest_digest, "it left the cohort, and still follows what it has"


def test_a_node_that_was_away_all_through_gets_it_when_it_is_back() -> None:
    world = released(("a", WIDE), ("b", WIDE))
    world.actors["b"].fate = Fate(away=((world.now, world.now + 1_000),))
    world.tick(1.0)
    later = world.release(2, LATER)
    assert run(world, world.start(later)).state is RolloutState.SUCCEEDED
    assert world.actors["b"].serving == BEST.manifest_digest
    settle(world)
    assert world.actors["b"].serving == BEST.manifest_digest
    world.tick(1_000)
    settle(world)
    assert world.actors["b"].serving == LATER.manifest_digest
    assert wanted(world, "b").probation.max_accuracy_drop == RolloutPolicy().probation.max_accuracy_drop


def test_one_that_came_back_is_not_given_what_its_rollout_would_have_refused() -> None:
    world = released(("a", WIDE), ("b", WIDE))
    world.edit("presence", "b", Presence, connected=False)
    world.actors["b"].fate = Fate(away=((0.0, world.now + 500),))
    poor = artifact("poor", accuracy=0.5)
    assert run(world, world.start(world.release(2, poor), RolloutPolicy(max_accuracy_loss=0.9))).state is RolloutState.SUCCEEDED
    world.edit("rollout", f"{MODEL}-2-r1", Rollout, policy=RolloutPolicy(max_accuracy_loss=0.02))
    world.tick(500)
    settle(world)
    assert world.actors["b"].serving == BEST.manifest_digest


def test_a_runtime_that_came_later_is_reason_enough() -> None:
    world = released(("a", WIDE))
    world.add_node("b", runtimes=("ncnn",))
    assert run(world, world.start(world.release(2, LATER))).state is RolloutState.SUCCEEDED
    settle(world)
    assert MODEL not in world.desired("b")[1].models
    world.edit("presence", "b", Presence, runtimes=("onnxruntime",))
    settle(world)
    assert world.actors["b"].serving == LATER.manifest_digest


def test_a_rollout_that_has_a_turn_for_the_node_is_waited_for() -> None:
    world = released(("a", WIDE))
    world.add_node("late", kind="class-of-a")
    slow = world.start(world.release(2, LATER))
    world.control()
    assert world.rollout(slow).state is RolloutState.MEASURING
    rechoose(world)
    assert MODEL not in world.desired("late")[1].models
    assert run(world, slow).state is RolloutState.SUCCEEDED
    assert {given for _, who, given in world.served if who == "late"} == {LATER.manifest_digest}


def test_one_that_joins_in_the_middle_of_a_rollout_gets_that_release_once_it_is_promoted() -> None:
    world = released(("a", WIDE), ("b", WIDE))
    slow = world.start(world.release(2, LATER))
    run(world, slow, until=RolloutState.WAVE)
    world.add_node("late", kind="class-of-a")
    settle(world)
    assert world.actors["late"].serving == BEST.manifest_digest
    assert run(world, slow).state is RolloutState.SUCCEEDED
    settle(world)
    assert world.actors["late"].serving == LATER.manifest_digest


def test_one_that_fails_it_is_left_with_what_it_said() -> None:
    world = released(("a", WIDE))
    world.add_node("late", Fate(outcome={BEST.manifest_digest: UpdateState.FAILED}), kind="class-of-a")
    settle(world)
    assert world.actors["late"].serving == ""
    generation = wanted(world, "late").generation
    settle(world)
    assert wanted(world, "late").generation == generation
    assert [line.action for line in world.trail].count("choice.changed") == 1


def test_a_node_that_was_taken_out_of_the_fleet_gets_nothing() -> None:
    world = released(("a", WIDE))
    world.add_node("late", kind="class-of-a")
    world.edit("node", "late", Node, enrolment=Enrolment.DECOMMISSIONED)
    settle(world)
    assert ("desired", "late") not in world.docs


def test_beside_another_model_it_is_chosen_for_its_share() -> None:
    world = released(("a", WIDE))
    world.add_node("late", kind="class-of-a")
    world.edit("presence", "late", Presence, limits=NodeLimits(disk_bytes=66_000), budgets={"": Budget()})
    other = DesiredModel(manifest_digest=CHEAP.manifest_digest, rollout_id="r", generation=1)
    world.put("desired", "late", dump(replace(world.desired("late")[1], models={"faces": other})))
    settle(world)
    assert world.actors["late"].serving == MIDDLE.manifest_digest  # 33,000 bytes for three artifacts


def test_what_is_explained_of_a_newcomer_is_of_the_release_that_it_will_follow() -> None:
    world = released(("a", WIDE))
    assert run(world, world.start(world.release(2, LATER))).state is RolloutState.SUCCEEDED
    world.add_node("late")
    assert explained_of(world, "late").release == f"{MODEL}-2"


async def test_the_coordinator_gives_it_as_soon_as_the_node_says_hello(ledger: Ledger) -> None:
    world = released(("a", WIDE))
    presence = world.of(Presence, "presence")["a"]
    world.add_node("late")
    world.put("presence", "late", None)
    await copied(world, ledger)
    async with choosing(ledger):
        await note_hello(ledger, "late", replace(presence, budgets={}))
        await until_wanted(ledger, "late", BEST.manifest_digest)


async def test_what_the_newcomer_measured_wakes_the_coordinator(ledger: Ledger) -> None:
    world = released(("a", WIDE))
    world.add_node("late")
    await copied(world, ledger)
    async with choosing(ledger), asyncio.timeout(PATIENCE_S):
        async with ledger.watch("desired") as news:
            while not (trials := (await sessions.desired_of(ledger, "late"))[1].benchmarks):
                await anext(news)
        for digest in trials:
            done = world.of(MeasurementRecord, "measurement")[measurement_id(digest, "a")]
            mine = replace(done, node_id="late", hardware_class="class-of-late")
            assert await sessions.note_measurement(ledger, mine)
        desired = await until_wanted(ledger, "late", BEST.manifest_digest)
    assert desired.benchmarks == ()


async def test_one_that_was_away_is_looked_at_again_with_the_same_budget(ledger: Ledger) -> None:
    world = released(("a", WIDE), ("b", WIDE))
    await copied(world, ledger)
    only = frozenset({"b"})
    async with called(ledger, lambda: world.now) as rechooser:
        assert await rechooser.choose_for(None) == 0
        world.actors["b"].fate = Fate(away=((world.now, world.now + 1_000),))
        world.tick(1.0)
        await copied(world, ledger)
        assert await rechooser.choose_for(only) == 0
        assert run(world, world.start(world.release(2, LATER))).state is RolloutState.SUCCEEDED
        world.tick(1_000)
        world.edit("presence", "b", Presence, hardware_class="class-of-a")
        await copied(world, ledger)
        assert await rechooser.choose_for(only) == 1
        await until_wanted(ledger, "b", LATER.manifest_digest)
