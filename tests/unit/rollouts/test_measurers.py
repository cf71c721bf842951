"""A few nodes of each hardware class measure a candidate; others only in their place."""

from __future__ import annotations

import pytest

from littoral_cloud.fleet.records import Enrolment, Node, Presence
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.measuring import MEASURERS, UNABLE_AFTER
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState, Waits
from tests.kit.rollout_world import Fate, World, artifact

GOOD, SMALL, NCNN = artifact("good", accuracy=0.99), artifact("small", size=500), artifact("good-ncnn", runtime="ncnn")
BOTH = {GOOD.manifest_digest, SMALL.manifest_digest}
SLOW = Fate(measures=dict.fromkeys((GOOD.manifest_digest, SMALL.manifest_digest, NCNN.manifest_digest), "never"))
FOR_EVER = 1e9


def boards(count: int, fate: Fate = SLOW) -> World:
    """A fleet of one class: a, b, c and so on."""
    world = World([GOOD, SMALL, NCNN])
    for node_id in "abcdefghij"[:count]:
        world.add_node(node_id, fate, kind="board")
    return world


def asked(world: World) -> dict[str, set[str]]:
    """Manifest digests to measure, of the nodes that are to measure any."""
    wanted = {node_id: set(world.desired(node_id)[1].benchmarks) for node_id in world.actors}
    return {node_id: digests for node_id, digests in wanted.items() if digests}


def waits_of(world: World, id: str) -> Waits:
    event = observe(world.snapshot().of(id), world.now)
    assert isinstance(event, Waits)
    return event


def run(world: World, id: str) -> Rollout:
    for _ in range(1_000):
        world.control()
        if (rollout := world.rollout(id)).ended_at is not None:
            return rollout
        world.tick(1.0)
    raise AssertionError(f"still {rollout.state}")


def test_three_of_a_class_measure_for_all_of_it() -> None:
    world = boards(10, Fate())
    id = world.start(world.release(1, GOOD, SMALL))
    world.control()
    assert asked(world) == dict.fromkeys("abc", BOTH)
    assert waits_of(world, id).waits_for == ("name-a, name-b, name-c to measure 2 of 2 candidates for board",)
    assert waits_of(world, id).nodes == {"a", "b", "c"}
    ended = run(world, id)
    assert ended.state is RolloutState.SUCCEEDED
    assert {actor.serving for actor in world.actors.values()} == {GOOD.manifest_digest}
    assert {doc.body["node_id"] for (kind, _), doc in world.docs.items() if kind == "measurement"} == {"a", "b", "c"}
    assert asked(world) == {}


def test_one_that_ran_it_is_enough_and_what_the_others_were_asked_is_withdrawn() -> None:
    world = boards(5)
    world.actors["b"].fate = Fate()
    id = world.start(world.release(1, GOOD))
    world.control()
    world.tick(1.0)
    world.control()
    assert world.rollout(id).state is RolloutState.WAVE
    assert asked(world) == {}


def test_connected_nodes_are_asked_before_those_that_are_away() -> None:
    world = boards(5)
    world.actors["a"].fate = world.actors["c"].fate = Fate(away=((0.0, FOR_EVER),))
    world.tick(1.0)
    world.start(world.release(1, GOOD))
    world.control()
    assert set(asked(world)) == {"b", "d", "e"}


def test_each_class_has_its_own_and_a_node_measures_only_what_it_can_run() -> None:
    world = boards(4)
    world.add_node("p", SLOW, kind="phone", runtimes=("ncnn",))
    world.start(world.release(1, GOOD, NCNN))
    world.control()
    every = {GOOD.manifest_digest, NCNN.manifest_digest}
    assert asked(world) == {**dict.fromkeys("abc", every), "p": {NCNN.manifest_digest}}


def test_nodes_of_a_class_that_have_other_runtimes_measure_what_the_others_cannot() -> None:
    world = World([GOOD, NCNN])
    for node_id in "abcd":
        world.add_node(node_id, SLOW, kind="board", runtimes=("onnxruntime",))
    world.add_node("z", SLOW, kind="board", runtimes=("ncnn",))
    world.start(world.release(1, GOOD, NCNN))
    world.control()
    assert asked(world) == {**{id: {GOOD.manifest_digest} for id in "abc"}, "z": {NCNN.manifest_digest}}


def test_a_node_of_unknown_class_measures_for_itself() -> None:
    world = boards(5)
    for node_id in "abcde":
        world.edit("presence", node_id, Presence, hardware_class="")
    id = world.start(world.release(1, GOOD))
    world.control()
    assert set(asked(world)) == set("abcde")
    world.actors["a"].fate = Fate()
    world.tick(1.0)
    assert waits_of(world, id).waits_for == tuple(f"name-{node_id} to measure 1 of 1 candidates" for node_id in "bcde")


@pytest.mark.parametrize("how", ["failed", "offline", "decommissioned"])
def test_another_is_asked_in_place_of_one_that_is_lost_and_the_deadline_stands(how: str) -> None:
    world = boards(5)
    id = world.start(world.release(1, GOOD))
    world.control()
    before = world.rollout(id)
    world.tick(1.0)
    if how == "failed":
        world.actors["b"].fate = Fate(measures={GOOD.manifest_digest: "runtime-crash"})
        world.tick(1.0)
    elif how == "offline":
        world.edit("presence", "b", Presence, connected=False, since=world.now - 1_000.0)
    else:
        world.edit("node", "b", Node, enrolment=Enrolment.DECOMMISSIONED)
    assert world.control() == 1
    assert set(asked(world)) == {"a", "b", "c", "d"}
    after = world.rollout(id)
    assert (after.state, after.deadline, after.entered_at) == (RolloutState.MEASURING, before.deadline, before.entered_at)
    assert waits_of(world, id).nodes == {"a", "c", "d"}


def test_one_that_is_away_for_a_moment_keeps_its_place() -> None:
    world = boards(5)
    id = world.start(world.release(1, GOOD), RolloutPolicy(measure_s=600.0))
    world.control()
    world.edit("presence", "b", Presence, connected=False, since=world.now)
    assert world.control() == 0
    gone_at = world.of(Presence, "presence")["b"].gone_at
    assert waits_of(world, id).until == gone_at
    world.now = gone_at
    assert world.control() == 1
    assert set(asked(world)) == {"a", "b", "c", "d"}


def test_where_each_fails_six_are_tried_three_at_a_time_and_then_it_is_known_that_none_can() -> None:
    world = boards(8, Fate(measures={GOOD.manifest_digest: "runtime-crash"}))
    id = world.start(world.release(1, GOOD))
    most = 0
    while world.rollout(id).ended_at is None:
        world.control()
        failed = {doc.body["node_id"] for (kind, _), doc in world.docs.items() if kind == "measurement"}
        most = max(most, len(asked(world).keys() - failed))
        world.tick(1.0)
    assert most == MEASURERS
    assert len(failed) == UNABLE_AFTER
    assert world.rollout(id).state is RolloutState.FAILED


def test_a_controller_that_dies_between_two_commits_asks_no_more_than_three() -> None:
    world = boards(10)
    world.start(world.release(1, GOOD, SMALL))
    while world.control(commits=1):
        assert len(asked(world)) <= MEASURERS
    assert len(asked(world)) == MEASURERS


def test_what_is_waited_for_stays_short_for_many_classes() -> None:
    world = World([GOOD])
    for number in range(40):
        world.add_node(f"n{number:02}", SLOW)
    id = world.start(world.release(1, GOOD))
    world.control()
    waits = waits_of(world, id)
    assert len(waits.waits_for) == 6
    assert waits.waits_for[0] == "name-n00 to measure 1 of 1 candidates for class-of-n00"
    assert waits.waits_for[-1] == "and 35 more"
    assert len(waits.nodes) == 40


def test_three_more_are_asked_where_none_has_answered_after_a_third_of_the_time() -> None:
    world = boards(10)
    id = world.start(world.release(1, GOOD), RolloutPolicy(measure_s=90.0))
    world.control()
    began = world.now
    assert set(asked(world)) == set("abc")
    assert waits_of(world, id).until == began + 30.0
    world.tick(29.0)
    world.control()
    assert set(asked(world)) == set("abc")
    world.tick(1.0)
    world.control()
    assert set(asked(world)) == set("abcdef")
    assert waits_of(world, id).until == began + 90.0
    world.actors["f"].fate = Fate()
    assert run(world, id).state is RolloutState.SUCCEEDED


def test_a_class_of_which_six_failed_a_candidate_cannot_run_it_and_no_other_is_asked() -> None:
    fails = Fate(measures={GOOD.manifest_digest: "runtime-failure"})
    world = boards(10, fails)
    ended = run(world, world.start(world.release(1, GOOD, SMALL)))
    assert ended.state is RolloutState.SUCCEEDED
    assert world.now < ended.created_at + RolloutPolicy().measure_s, "it does not wait for its time to end"
    tried = {doc.body["node_id"] for (kind, _), doc in world.docs.items() if kind == "measurement" and doc.body["failure"]}
    assert tried == set("abcdef")
    assert {actor.serving for actor in world.actors.values()} == {SMALL.manifest_digest}
