"""What touches many nodes is done a batch at a time, by controllers that die between any two commits; in virtual time."""

from __future__ import annotations

import random

import pytest

from littoral_cloud.fleet.records import AWAY_S, DesiredModel, Enrolment, Node, Presence, UpdateState, dump
from littoral_cloud.rollouts.assignments import BATCH_NODES, AssignmentState
from littoral_cloud.rollouts.events import NodesNotReached
from littoral_cloud.rollouts.state import ENDED, Rollout, RolloutPolicy, RolloutState
from tests.kit.rollout_world import MODEL, Fate, World, artifact, manifest
from tests.unit.rollouts.test_rollout_behaviour import run

OLD, GOOD = artifact("old"), artifact("good", accuracy=0.99)
NODES = 2 * BATCH_NODES + 50
ALL_AT_ONCE = RolloutPolicy(wave_sizes=(1,), most_nodes=NODES, restore_s=60.0)
BAD_END = Fate(outcome={GOOD.manifest_digest: UpdateState.ROLLED_BACK}, takes_s=3.0)


def fleet(nodes: int = NODES, **fates: Fate) -> World:
    world = World([OLD, GOOD])
    for number in range(nodes):
        id = f"n{number:03}"
        world.add_node(id, fates.get(id, Fate(takes_s=1.0)), serving=OLD.manifest_digest, kind="one")
    return world


def by_controllers_that_die(world: World, id: str, rng: random.Random | None = None) -> Rollout:
    """Each makes a commit, or a few, and is gone; some decide on what they read a while ago."""
    for _ in range(400):
        if (rollout := world.rollout(id)).state in ENDED:
            return rollout
        early = world.snapshot() if rng is not None and rng.random() < 0.2 else None
        if early is not None:
            world.tick(1.0)
        if not world.control(commits=1 if rng is None else rng.choice((1, 2, 3)), stale=early):
            world.tick(1.0)
    raise AssertionError(f"still {rollout.state}")


def states(world: World, id: str) -> set[AssignmentState]:
    return {a.state for a in world.assignments(id).values()}


@pytest.mark.parametrize("rng", [None, random.Random(7), random.Random(8)], ids=["each-commit", "some-early", "others-early"])
def test_a_wave_of_several_batches_reaches_each_node_once_whoever_dies(rng: random.Random | None) -> None:
    world = fleet()
    id = world.start(world.release(1, GOOD), ALL_AT_ONCE)
    assert by_controllers_that_die(world, id, rng).state is RolloutState.SUCCEEDED
    assert [wave.told for wave in world.rollout(id).waves] == [1, NODES - 1]
    assert states(world, id) == {AssignmentState.COMMITTED}
    asked = {node_id: a.generation for node_id, a in world.assignments(id).items()}
    assert {node_id: world.desired(node_id)[1].models[MODEL].generation for node_id in asked} == asked, "none was asked twice"
    assert len(world.served) == 2 * NODES
    lines = [line for line in world.trail if line.action == "rollout.wave-started"]
    assert [line.details.get("nodes_count", 1) for line in lines] == [1, NODES - 1]


def test_a_bad_end_stops_the_wave_before_its_last_batch_and_all_go_back_in_batches_whoever_dies() -> None:
    world = fleet(n001=BAD_END)
    id = world.start(world.release(1, GOOD), ALL_AT_ONCE)
    while len(world.waves(id)) < 2 or not world.waves(id)[1]:
        world.tick(1.0)
        world.control(commits=1)
    told = len(world.waves(id)[1])
    assert told == BATCH_NODES
    world.tick(1.0)
    world.tick(3.0)
    ended = by_controllers_that_die(world, id)
    assert ended.reason == "name-n001: ROLLED_BACK: accuracy-drop: 0.98 -> 0.10"
    assert len(world.waves(id)[1]) == told, "who had not been asked is not asked any more"
    given = world.assignments(id)
    assert {a.state for a in given.values() if a.touched} == {AssignmentState.RESTORED}
    assert given["n001"].why == "ROLLED_BACK: accuracy-drop: 0.98 -> 0.10", "what happened stays known"
    assert {actor.serving for actor in world.actors.values()} == {OLD.manifest_digest}
    [line] = [line for line in world.trail if line.action == "rollout.rolled-back"]
    assert line.details["nodes_count"] == told + 1
    started = [line for line in world.trail if line.action == "rollout.wave-started"]
    assert started[-1].details["nodes_count"] == told, "a wave that was stopped midway says whom it reached"


def test_a_plan_that_was_half_written_is_made_again_for_the_fleet_as_it_is_then() -> None:
    world = fleet()
    id = world.start(world.release(1, GOOD), ALL_AT_ONCE)
    while world.rollout(id).state is not RolloutState.MEASURING:
        world.control(commits=1)
    world.tick(1.0)
    world.control(commits=1)
    assert len(world.assignments(id)) == BATCH_NODES
    assert world.rollout(id).state is RolloutState.MEASURING
    world.edit("node", "n000", Node, enrolment=Enrolment.DECOMMISSIONED)
    ended = run(world, id)
    assert (ended.state, ended.planned) == (RolloutState.SUCCEEDED, NODES - 1)
    assert "n000" not in world.assignments(id)


def test_an_abort_between_two_batches_tells_nobody_more() -> None:
    world = fleet()
    id = world.start(world.release(1, GOOD), ALL_AT_ONCE)
    while len(world.waves(id)) < 2 or not world.waves(id)[1]:
        world.tick(1.0)
        world.control(commits=1)
    world.edit("rollout", id, Rollout, aborted_by="ada")
    ended = run(world, id)
    assert (ended.state, ended.reason) == (RolloutState.ROLLED_BACK, "aborted by ada")
    assert len(world.waves(id)[1]) == BATCH_NODES
    assert {actor.serving for actor in world.actors.values()} == {OLD.manifest_digest}


def test_silence_counts_from_the_handing_over_and_not_from_the_decision() -> None:
    world = fleet(1, n000=Fate(outcome={GOOD.manifest_digest: UpdateState.PENDING}))
    id = world.start(world.release(1, GOOD), RolloutPolicy(wave_s=100.0))
    world.control()
    world.tick(1.0)
    world.sessions_open = False  # it is connected, and its coordinator is slow
    while not world.waves(id):
        world.control()
        world.tick(1.0)
    decided_at = world.assignments(id)["n000"].told_at
    world.now += 60.0
    world.sessions_open = True
    world.hand("n000")
    handed_at = world.now
    limit = 100.0 + world.rollout(id).policy.probation.duration_s
    while world.rollout(id).state is RolloutState.WAVE:
        world.control()
        world.tick(1.0)
    assert handed_at + limit <= world.now < handed_at + limit + 3.0
    assert handed_at >= decided_at + 60.0


def test_a_node_that_no_session_was_handed_it_is_left_out_and_has_its_old_desired_state() -> None:
    world = fleet(4)
    wanted = DesiredModel(manifest_digest=OLD.manifest_digest, rollout_id="before", generation=1)
    for node_id in world.actors:
        world.put("desired", node_id, dump(world.desired(node_id)[1].with_model(MODEL, wanted)))
        world.hand(node_id)
    world.tick(1.0)
    id = world.start(world.release(1, GOOD), RolloutPolicy(wave_s=100.0))
    while world.rollout(id).state is not RolloutState.WAVE:
        world.control(commits=1)
        world.tick(1.0)
    world.actors["n000"].fate = Fate(away=((world.now, 1e9),))  # gone, though its presence does not say so yet
    world.control()
    assert world.waves(id) == [("n000",)]
    given_up_by = world.now + AWAY_S + 5.0
    while world.assignments(id)["n000"].state is AssignmentState.TOLD:
        assert world.now < given_up_by, "not for as long as a wave may last"
        world.control()
        world.tick(1.0)
    assert run(world, id).state is RolloutState.SUCCEEDED
    left_out = world.assignments(id)["n000"]
    assert (left_out.state, left_out.why) == (AssignmentState.DROPPED, NodesNotReached(()).why)
    assert world.desired("n000")[1].models[MODEL].manifest_digest == OLD.manifest_digest
    assert {world.actors[other].serving for other in ("n001", "n002", "n003")} == {GOOD.manifest_digest}


def test_what_became_of_a_node_stays_known_after_it_is_asked_for_something_else() -> None:
    world = fleet(3)
    id = world.start(world.release(1, GOOD))
    while AssignmentState.COMMITTED not in states(world, id):
        world.control()
        world.tick(1.0)
    other = DesiredModel(manifest_digest=manifest("other"), rollout_id="r", generation=9)
    world.put("desired", "n000", dump(world.desired("n000")[1].with_model(MODEL, other)))
    assert run(world, id).state is RolloutState.SUCCEEDED
    assert world.assignments(id)["n000"].state is AssignmentState.COMMITTED


def test_a_node_that_reported_its_update_was_handed_it_though_that_was_not_written() -> None:
    world = fleet(1, n000=Fate(takes_s=1e6))
    id = world.start(world.release(1, GOOD), RolloutPolicy(wave_s=100.0))
    while not world.waves(id):
        world.control()
        world.tick(1.0)
    world.put("handed", "n000", None)  # its coordinator was killed before it wrote
    world.edit("presence", "n000", Presence, since=0.0)
    ended = run(world, id)
    assert ended.state is RolloutState.ROLLED_BACK
    assert ended.reason.startswith("name-n000: DOWNLOADING, after ")
    assert world.assignments(id)["n000"].why.startswith("DOWNLOADING, after ")
