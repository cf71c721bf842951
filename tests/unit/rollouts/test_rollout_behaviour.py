"""What a rollout does, in virtual time, over documents as the ledger holds them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from littoral.budget import Budget
from littoral.errors import Conflict
from littoral.tensor_spec import FREE, TensorSpec
from littoral_cloud.fleet.interface import Interface
from littoral_cloud.fleet.measurements import MeasurementRecord
from littoral_cloud.fleet.records import (
    DesiredModel,
    Enrolment,
    FederatedTask,
    Node,
    Probation,
    ProbationResult,
    UpdateState,
    dump,
)
from littoral_cloud.rollouts.intents import UNJUDGED
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from tests.kit.rollout_world import MODEL, Fate, World, artifact, manifest, refused

OLD, GOOD, SMALL, BAD = (
    artifact("old"),
    artifact("good", accuracy=0.99),
    artifact("small", size=500),
    artifact("bad", accuracy=0.99),
)
NCNN = artifact("good-ncnn", runtime="ncnn", accuracy=0.985)
FIRST = f"{MODEL}-1-r1"
RUINED = Fate(outcome={BAD.manifest_digest: UpdateState.ROLLED_BACK})


def run(world: World, rollout_id: str, *, seconds: float = 2_000.0, step: float = 1.0) -> Rollout:
    """Until it has ended."""
    until = world.now + seconds
    while True:
        world.control()
        if (rollout := world.rollout(rollout_id)).state in ("SUCCEEDED", "ROLLED_BACK", "FAILED"):
            return rollout
        assert world.now < until, f"still {rollout.state}"
        world.tick(step)


def four(fate: Fate | None = None, *, serving: str = OLD.manifest_digest) -> World:
    world = World([OLD, GOOD, SMALL, BAD, NCNN])
    for node_id in ("a", "b", "c", "d"):
        world.add_node(node_id, fate or Fate(), serving=serving)
    return world


def actions(world: World) -> list[str]:
    return [line.action for line in world.trail]


def test_a_release_goes_to_one_node_first_and_to_the_others_when_that_one_kept_it() -> None:
    world = four()
    ended = run(world, world.start(world.release(1, GOOD)))
    assert ended.state is RolloutState.SUCCEEDED
    assert [wave.told for wave in ended.waves] == [1, 3]
    first, second = ended.waves
    assert first.ended_at is not None
    assert second.started_at is not None
    assert first.ended_at <= second.started_at
    assert {actor.serving for actor in world.actors.values()} == {GOOD.manifest_digest}
    assert actions(world) == ["rollout.wave-started", "rollout.wave-started", "rollout.promoted"]


def test_each_node_gets_the_most_accurate_candidate_inside_its_budget() -> None:
    world = World([GOOD, SMALL, NCNN])
    world.add_node("a")
    world.add_node("b", budget=Budget(artifact_bytes=1_000))
    world.add_node("c", budget=Budget(runtimes=("ncnn",)))
    run(world, world.start(world.release(1, SMALL, NCNN, GOOD)))
    assert {a.node_id: a.name for a in world.assignments(FIRST).values()} == {"a": "good", "b": "small", "c": "good-ncnn"}


def test_a_node_that_no_candidate_fits_is_left_alone_and_told_of() -> None:
    world = four()
    world.add_node("tiny", budget=Budget(artifact_bytes=10), serving=OLD.manifest_digest)
    ended = run(world, world.start(world.release(1, GOOD)))
    assert ended.state is RolloutState.SUCCEEDED
    [no] = refused(ended)
    assert (no.node_id, no.rule) == ("tiny", "fits-budget")
    assert "artifact_bytes" in no.reason
    assert MODEL not in world.desired("tiny")[1].models


def test_a_bad_release_is_stopped_at_the_canary_and_the_canary_goes_back() -> None:
    world = four(RUINED)
    ended = run(world, world.start(world.release(1, BAD)))
    assert ended.state is RolloutState.ROLLED_BACK
    assert ended.reason == "name-a: ROLLED_BACK: accuracy-drop: 0.98 -> 0.10"
    assert world.waves(FIRST) == [("a",)]
    assert [a.node_id for a in world.assignments(FIRST).values() if a.touched] == ["a"]
    wanted = world.desired("a")[1].models[MODEL]
    assert (wanted.manifest_digest, wanted.probation) == (OLD.manifest_digest, UNJUDGED)
    assert all(MODEL not in world.desired(id)[1].models for id in "bcd")
    assert actions(world) == ["rollout.wave-started", "rollout.stopped", "rollout.rolled-back"]


def test_a_failure_in_a_later_wave_takes_every_node_of_the_rollout_back() -> None:
    world = four()
    world.actors["d"].fate = RUINED
    ended = run(world, world.start(world.release(1, BAD)))
    assert ended.state is RolloutState.ROLLED_BACK
    assert {actor.serving for actor in world.actors.values()} == {OLD.manifest_digest}


def test_a_node_that_was_told_and_then_went_silent_stops_the_rollout_when_the_wave_is_over() -> None:
    world = four()
    world.actors["a"].fate = Fate(takes_s=5.0, away=((1_002.0, 9_000.0),))
    ended = run(world, world.start(world.release(1, GOOD)))
    assert ended.state is RolloutState.ROLLED_BACK
    assert "name-a" in ended.reason
    assert ended.remarks == ("name-a to go back: not heard of yet, it will when it is back",)
    assert world.desired("a")[1].models[MODEL].manifest_digest == OLD.manifest_digest


def test_a_node_that_is_offline_before_its_turn_is_left_out_and_nothing_is_asked_of_it() -> None:
    world = four()
    world.actors["b"].fate = Fate(away=((1_002.0, 9_000.0),))
    ended = run(world, world.start(world.release(1, GOOD)))
    assert ended.state is RolloutState.SUCCEEDED
    assert world.assignments(FIRST)["b"].why == "was offline when its turn came"
    assert MODEL not in world.desired("b")[1].models


def test_when_the_canary_is_gone_before_its_turn_another_single_node_goes_first() -> None:
    world = four()
    world.start(world.release(1, GOOD))
    world.control(commits=1)  # MEASURING, canary would be a
    world.actors["a"].fate = Fate(away=((0.0, 9_000.0),))
    world.tick(1.0)
    ended = run(world, f"{MODEL}-1-r1")
    assert [wave.told for wave in ended.waves] == [1, 2]
    assert world.waves(FIRST)[0] == ("b",)


def test_the_canary_is_whom_the_operator_named_else_one_that_can_judge() -> None:
    world = four()
    world.add_node("x", serving=OLD.manifest_digest, labelled=50)
    release = world.release(1, GOOD)
    run(world, world.start(release))
    assert world.waves(FIRST)[0] == ("x",)
    world = four()
    run(world, world.start(world.release(1, GOOD), RolloutPolicy(canary="c")))
    assert world.waves(FIRST)[0] == ("c",)


def test_waves_have_the_sizes_that_were_asked_for() -> None:
    world = World([GOOD])
    for number in range(9):
        world.add_node(f"n{number}")
    ended = run(world, world.start(world.release(1, GOOD), RolloutPolicy(wave_sizes=(1, 2, 3))))
    assert [wave.told for wave in ended.waves] == [1, 2, 3, 3]


def test_only_the_named_nodes_take_part() -> None:
    world = four()
    ended = run(world, world.start(world.release(1, GOOD), RolloutPolicy(nodes=("b", "c"))))
    assert world.waves(FIRST) == [("b",), ("c",)]
    assert {no.rule for no in refused(ended)} == {"named"}


def test_no_node_gets_a_model_that_is_much_worse_than_what_it_serves() -> None:
    worse = artifact("worse", accuracy=OLD.accuracy - 0.03)
    world = four()
    ended = run(world, world.start(world.release(1, worse)))
    assert ended.state is RolloutState.FAILED
    assert "worse" in ended.reason
    served = f"the served model's {OLD.accuracy:.4f} less 0.02 (--max-drop-vs-served)"
    assert f"is under {OLD.accuracy - 0.02:.4f}, {served}" in ended.reason
    world = four()
    ended = run(world, world.start(world.release(1, worse), RolloutPolicy(max_accuracy_loss=0.05)))
    assert ended.state is RolloutState.SUCCEEDED


def test_nodes_that_serve_their_candidate_already_are_passed_over() -> None:
    world = four(serving=GOOD.manifest_digest)
    ended = run(world, world.start(world.release(1, GOOD)))
    assert ended.state is RolloutState.SUCCEEDED
    assert world.assignments(FIRST) == {}
    assert ended.reason == "every node that it fits serves it already"


def test_every_node_measures_every_candidate_that_it_can_run_before_anything_is_chosen() -> None:
    world = World([GOOD, NCNN])
    world.add_node("a")
    world.add_node("b", runtimes=("ncnn",))
    world.start(world.release(1, GOOD, NCNN))
    world.control()
    assert set(world.desired("a")[1].benchmarks) == {GOOD.manifest_digest, NCNN.manifest_digest}
    assert world.desired("b")[1].benchmarks == (NCNN.manifest_digest,)
    ended = run(world, f"{MODEL}-1-r1")
    assert ended.state is RolloutState.SUCCEEDED
    assert all(world.desired(id)[1].benchmarks == () for id in "ab")


def test_a_candidate_that_cannot_run_on_a_node_is_not_given_to_it() -> None:
    world = World([GOOD, SMALL])
    world.add_node("a", Fate(measures={GOOD.manifest_digest: "runtime-failure"}))
    run(world, world.start(world.release(1, GOOD, SMALL)))
    assert [a.name for a in world.assignments(FIRST).values()] == ["small"]


def test_what_is_coded_with_a_dictionary_goes_only_where_that_is() -> None:
    coded = replace(GOOD, needs=("graphs-1",))
    world = World([coded, NCNN])
    world.add_node("new", features=("measure", "graphs-1"))
    world.add_node("old", features=("measure",))
    world.add_node("other", runtimes=("ncnn",))
    ended = run(world, world.start(world.release(1, coded, NCNN)))
    assert {a.node_id for a in world.assignments(FIRST).values()} == {"new", "other"}
    [no] = refused(ended)
    assert (no.node_id, no.rule) == ("old", "reads-what-travels")
    assert "lacks graphs-1" in no.reason


def test_a_node_that_never_measures_is_left_out_at_the_deadline_and_the_others_go_on() -> None:
    world = four()
    world.actors["a"].fate = Fate(measures={GOOD.manifest_digest: "never"})
    ended = run(world, world.start(world.release(1, GOOD), RolloutPolicy(measure_s=60.0)))
    assert ended.state is RolloutState.SUCCEEDED
    [no] = refused(ended)
    assert no.node_id == "a"
    assert "measured" in no.reason
    assert world.desired("a")[1].benchmarks == ()


def test_a_node_that_is_away_is_not_waited_for_while_measuring() -> None:
    world = four()
    world.actors["a"].fate = Fate(measures={GOOD.manifest_digest: "never"}, away=((1_001.0, 9_000.0),))
    world.start(world.release(1, GOOD))
    ended = run(world, f"{MODEL}-1-r1")
    assert ended.state is RolloutState.SUCCEEDED
    assert world.now < 1_100.0
    assert [(no.node_id, no.rule) for no in refused(ended)] == [("a", "connected")]


def test_rollouts_of_one_model_wait_for_each_other_in_order() -> None:
    world = four()
    first = world.start(world.release(1, GOOD))
    world.tick(1.0)
    second = world.start(world.release(2, SMALL))
    world.control()
    assert world.rollout(second).state is RolloutState.PENDING
    assert run(world, first).state is RolloutState.SUCCEEDED
    assert run(world, second).state is RolloutState.SUCCEEDED
    assert {actor.serving for actor in world.actors.values()} == {SMALL.manifest_digest}


def test_a_rollout_that_waits_too_long_for_another_fails() -> None:
    world = four(Fate(takes_s=1e6))
    world.start(world.release(1, GOOD), RolloutPolicy(wave_s=1e5))
    world.tick(1.0)
    second = world.start(world.release(2, SMALL), RolloutPolicy(pending_s=50.0))
    ended = run(world, second)
    assert (ended.state, ended.reason) == (RolloutState.FAILED, f"rollout {MODEL}-1-r1 did not end within 50 s")


@pytest.mark.parametrize("when", [0, 1, 2])
def test_an_operator_may_stop_it_at_any_time(when: int) -> None:
    world = four()
    id = world.start(world.release(1, GOOD))
    if when:
        world.control(commits=1)
    if when > 1:
        world.tick(1.0)
        world.control()
        assert world.rollout(id).state is RolloutState.WAVE
    world.edit("rollout", id, Rollout, aborted_by="ann")
    ended = run(world, id)
    assert (ended.state, ended.reason) == (RolloutState.ROLLED_BACK, "aborted by ann")
    assert {actor.serving for actor in world.actors.values()} == {OLD.manifest_digest}
    assert all(world.desired(node)[1].benchmarks == () for node in "abcd")


def test_a_node_that_had_nothing_is_told_nothing_any_more() -> None:
    world = four(RUINED, serving="")
    ended = run(world, world.start(world.release(1, BAD)))
    assert ended.state is RolloutState.ROLLED_BACK
    assert MODEL not in world.desired("a")[1].models


def test_generations_grow_even_after_an_intent_was_withdrawn() -> None:
    world = four(replace(RUINED), serving="")
    run(world, world.start(world.release(1, BAD)))
    withdrawn = world.actors["a"].done
    ended = run(world, world.start(world.release(2, GOOD)))
    assert ended.state is RolloutState.SUCCEEDED
    assert world.desired("a")[1].models[MODEL].generation > withdrawn


def test_a_node_that_leaves_the_fleet_in_its_wave_is_no_failure() -> None:
    world = four(Fate(takes_s=20.0))
    id = world.start(world.release(1, GOOD))
    world.control()
    world.tick(1.0)
    world.control()
    assert world.waves(id)[0] == ("a",)
    world.edit("node", "a", Node, enrolment=Enrolment.DECOMMISSIONED)
    ended = run(world, id)
    assert ended.state is RolloutState.SUCCEEDED
    assert world.assignments(FIRST)["a"].why == "is not part of the fleet any more"
    assert [wave.told for wave in ended.waves] == [1, 1, 2]  # the first proved nothing: one more goes alone


def test_a_federated_task_on_a_node_outlives_a_rollout() -> None:
    world = four()
    task = FederatedTask(run_id="r", message_id="m", message_digest=manifest("m"), message_bytes=1, round=1)
    for id in "abcd":
        _, desired = world.desired(id)
        world.put("desired", id, dump(replace(desired, federated=task)))
    run(world, world.start(world.release(1, GOOD)))
    assert all(world.desired(id)[1].federated == task for id in "abcd")


def test_a_decision_on_an_old_reading_is_refused_whole() -> None:
    world = four()
    id = world.start(world.release(1, GOOD))
    stale = world.snapshot()
    _, desired = world.desired("a")
    other = DesiredModel(manifest_digest=manifest("other"), rollout_id="x", generation=1, probation=Probation())
    world.put("desired", "a", dump(desired.with_model("other", other)))
    from littoral_cloud.rollouts.decide import Decision, next_actions

    decision = next_actions(stale.of(id), world.now)
    assert isinstance(decision, Decision)
    with pytest.raises(Conflict):
        world.commit(next(decision.changes(stale.of(id))))
    assert world.rollout(id).state is RolloutState.PENDING
    assert run(world, id).state is RolloutState.SUCCEEDED
    assert world.desired("a")[1].models["other"] == other


def measured_by(world: World) -> list[tuple[str, str]]:
    """(candidate, node) of every measurement there is."""
    names = {a.manifest_digest: a.name for a in (OLD, GOOD, SMALL)}
    return sorted((names[m.manifest_digest], m.node_id) for m in world.of(MeasurementRecord, "measurement").values())


def test_the_next_device_of_a_class_needs_no_trial() -> None:
    world = World([OLD, GOOD, SMALL])
    world.add_node("a", kind="board")
    assert run(world, world.start(world.release(1, GOOD, SMALL))).state is RolloutState.SUCCEEDED
    assert measured_by(world) == [("good", "a"), ("small", "a")]
    world.add_node("b", kind="board", budget=Budget(artifact_bytes=600))
    world.add_node("c", kind="another")
    assert run(world, world.start(world.release(2, GOOD, SMALL))).state is RolloutState.SUCCEEDED
    assert measured_by(world) == [("good", "a"), ("good", "c"), ("small", "a"), ("small", "c")]
    assert world.actors["b"].serving == SMALL.manifest_digest
    assert world.actors["c"].serving == GOOD.manifest_digest


def test_what_could_not_be_run_on_one_device_is_tried_on_the_next_of_its_class() -> None:
    world = World([OLD, GOOD, SMALL])
    world.add_node("a", Fate(measures={GOOD.manifest_digest: "runtime-crash"}), kind="board")
    assert run(world, world.start(world.release(1, GOOD, SMALL))).state is RolloutState.SUCCEEDED
    assert world.actors["a"].serving == SMALL.manifest_digest
    world.add_node("b", kind="board")
    assert run(world, world.start(world.release(2, GOOD, SMALL))).state is RolloutState.SUCCEEDED
    assert ("good", "b") in measured_by(world)
    assert world.actors["b"].serving == GOOD.manifest_digest
    assert world.actors["a"].serving == SMALL.manifest_digest  # its own failure stands, whatever b could do


def test_a_promotion_says_which_nodes_kept_what_no_request_has_tried() -> None:
    world = four()
    for node_id, seen in (("a", ProbationResult()), ("b", ProbationResult(requests=3)), ("c", ProbationResult(examples=9))):
        world.actors[node_id].probation = seen
    ended = run(world, world.start(world.release(1, GOOD)))
    assert ended.state is RolloutState.SUCCEEDED
    assert ended.remarks == ("name-a: saw no request in probation, so its probe alone speaks for it",)
    assert world.trail[-1].details["unproved"] == ["a"]


def interface(*labels: str) -> Interface:
    given = TensorSpec("x", "FP32", (FREE, 4)), TensorSpec("y", "FP32", (FREE, len(labels)))
    return Interface(given[:1], given[1:], labels)


SAID_AB, SAID_BA = (
    artifact("ab", interface=interface("a", "b")),
    artifact("ba", accuracy=0.99, interface=interface("b", "a")),
)


def test_a_candidate_that_clients_of_the_served_one_do_not_understand_is_refused() -> None:
    world = World([SAID_AB, SAID_BA])
    for node_id in ("a", "b"):
        world.add_node(node_id, serving=SAID_AB.manifest_digest)
    ended = run(world, world.start(world.release(1, SAID_BA)))
    assert ended.state is RolloutState.FAILED
    assert {no.rule for no in refused(ended)} == {"keeps-interface"}
    assert "labels [a, b] become [b, a]" in ended.reason
    assert "--allow-interface-change" in ended.reason
    assert {actor.serving for actor in world.actors.values()} == {SAID_AB.manifest_digest}


def test_the_policy_may_allow_another_interface_and_the_plan_shows_it() -> None:
    world = World([SAID_AB, SAID_BA])
    world.add_node("a", serving=SAID_AB.manifest_digest)
    world.add_node("new")
    ended = run(world, world.start(world.release(1, SAID_BA), RolloutPolicy(allow_interface_change=True)))
    assert ended.state is RolloutState.SUCCEEDED
    assert {a.node_id: a.interface for a in world.assignments(FIRST).values()} == {
        "a": ("labels [a, b] become [b, a]",),
        "new": (),
    }


def test_of_a_release_of_two_interfaces_a_node_gets_the_one_that_its_clients_know() -> None:
    world = World([SAID_AB, SAID_BA])
    better = artifact("better-ab", accuracy=0.985, interface=interface("a", "b"))
    world.add_node("a", serving=SAID_AB.manifest_digest)
    world.add_node("new")
    run(world, world.start(world.release(1, SAID_BA, better)))
    assert {a.node_id: a.name for a in world.assignments(FIRST).values()} == {"a": "better-ab", "new": "ba"}
