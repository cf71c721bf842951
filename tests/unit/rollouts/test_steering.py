"""Pause, resume and promote, and a coordinator that is behind its own queue; in virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from littoral_cloud.fleet.ledger import Announcement
from littoral_cloud.fleet.records import UpdateState
from littoral_cloud.rollouts.answers import NodeAnswer
from littoral_cloud.rollouts.attention import Attention
from littoral_cloud.rollouts.events import RolloutStopped, Waits
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.seen import snapshot_of
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from littoral_cloud.rollouts.steering import why_not_promoted
from littoral_cloud.rollouts.wave_judge import MOST_BEHIND_S
from tests.kit.rollout_world import Fate, World, artifact
from tests.unit.rollouts.test_rollout_behaviour import run

OLD, GOOD = artifact("old"), artifact("good", accuracy=0.99)
BAD_END = Fate(outcome={GOOD.manifest_digest: UpdateState.ROLLED_BACK})
HANGS = Fate(outcome={GOOD.manifest_digest: UpdateState.PENDING})


def in_second_wave(**fates: Fate) -> tuple[World, str]:
    """Six nodes of one class: a has passed, b and c are the wave that runs, d to f wait."""
    world = World([OLD, GOOD])
    for node_id in "abcdef":
        world.add_node(node_id, fates.get(node_id, Fate()), serving=OLD.manifest_digest, kind="one")
    id = world.start(world.release(1, GOOD), RolloutPolicy(wave_sizes=(1, 2)))
    while (wave := world.rollout(id).running_wave) is None or wave.number == 1:
        world.control()
        world.tick(1.0)
    assert world.waves(id) == [("a",), ("b", "c")]
    return world, id


def pause(world: World, id: str) -> None:
    world.edit("rollout", id, Rollout, paused_by="ada", paused_at=world.now)


def resume(world: World, id: str) -> None:
    rollout = world.rollout(id)
    lasted = world.now - rollout.paused_at
    moved = {"deadline": rollout.deadline + lasted, "paused_s": rollout.paused_s + lasted}
    world.edit("rollout", id, Rollout, paused_by="", paused_at=0.0, **moved)


def go(world: World, seconds: float) -> None:
    until = world.now + seconds
    while world.now < until:
        world.control()
        world.tick(1.0)


def waits(world: World, id: str) -> Waits:
    event = observe(world.snapshot().of(id), world.now)
    assert isinstance(event, Waits)
    return event


def test_a_paused_rollout_starts_no_wave_judges_no_silence_and_goes_on_where_it_was() -> None:
    world, id = in_second_wave(c=HANGS)
    deadline = world.rollout(id).deadline
    pause(world, id)
    paused_at = world.now
    go(world, 2_000.0)
    assert world.now > deadline
    assert [wave.told for wave in world.rollout(id).waves] == [1, 2]
    assert waits(world, id).waits_for[0] == "somebody to resume it: ada paused it"
    assert waits(world, id).until == float("inf")
    resume(world, id)
    assert world.rollout(id).deadline == deadline + world.now - paused_at
    go(world, 5.0)
    assert world.rollout(id).state is RolloutState.WAVE, "the time of its pause does not count"
    world.actors["c"].fate = Fate()
    assert run(world, id).state is RolloutState.SUCCEEDED


@pytest.mark.parametrize("state", [RolloutState.PENDING, RolloutState.MEASURING])
def test_a_rollout_that_is_paused_before_its_first_wave_touches_nobody_and_may_be_aborted(state: RolloutState) -> None:
    world = World([OLD, GOOD])
    for node_id in "ab":
        world.add_node(node_id, Fate(measures={GOOD.manifest_digest: "never"}), serving=OLD.manifest_digest)
    id = world.start(world.release(1, GOOD))
    if state is RolloutState.MEASURING:
        world.control(commits=1)
    assert world.rollout(id).state is state
    pause(world, id)
    go(world, 5_000.0)
    assert world.rollout(id).state is state
    seen = world.snapshot().of(id)
    attention = Attention.after(seen, waits(world, id))
    assert not attention.is_due([Announcement("presence", "a", 9), Announcement("node", "b", 9)], world.now)
    assert attention.is_due([Announcement("rollout", id, 9)], world.now)
    world.edit("rollout", id, Rollout, aborted_by="ada")
    ended = run(world, id)
    assert (ended.state, ended.reason, ended.paused_by) == (RolloutState.ROLLED_BACK, "aborted by ada", "")


@pytest.mark.parametrize("which", ["a", "b"])
def test_a_bad_end_stops_a_paused_rollout_and_its_controller_looks_at_once(which: str) -> None:
    world, id = in_second_wave()
    pause(world, id)
    attention = Attention.after(world.snapshot().of(id), waits(world, id))
    actor = world.actors[which]
    assert actor.report is not None
    generation = world.assignments(id)[which].generation
    actor.report = replace(actor.report, state=UpdateState.ROLLED_BACK, desired_generation=generation, reason="crashed")
    world.say(actor)
    attention.seen = world.snapshot().of(id)
    assert not attention.is_due([Announcement("reported", "d", 9), Announcement("desired", "e", 9)], world.now)
    assert attention.is_due([Announcement("reported", which, 9)], world.now)
    event = observe(attention.seen, world.now)
    assert isinstance(event, RolloutStopped)
    assert "crashed" in event.reason


def test_a_pause_ends_with_the_rollout() -> None:
    world, id = in_second_wave(b=BAD_END)
    pause(world, id)
    ended = run(world, id)
    assert (ended.state, ended.paused_by, ended.paused_at) == (RolloutState.ROLLED_BACK, "", 0.0)
    assert world.actors["a"].serving == OLD.manifest_digest


def awaited(world: World, id: str) -> set[str]:
    return set(world.snapshot().of(id).assignments.answered(NodeAnswer.AWAITED))


def promote(world: World, id: str) -> None:
    rollout = world.rollout(id)
    assert why_not_promoted(world.snapshot().of(id), world.now) is None
    world.edit("rollout", id, Rollout, waves=(*rollout.waves[:-1], replace(rollout.waves[-1], promoted_by="ada")))


def until_b_has_passed(world: World, id: str) -> None:
    while world.actors["b"].serving != GOOD.manifest_digest:
        world.control()
        world.tick(1.0)


def test_promote_starts_the_next_wave_and_waits_for_the_silent_ones_with_it() -> None:
    world, id = in_second_wave(c=replace(HANGS))
    until_b_has_passed(world, id)
    promote(world, id)
    world.control()
    rollout = world.rollout(id)
    assert rollout.running_wave is not None
    assert world.waves(id)[-1] == ("d", "e", "f")
    go(world, 20.0)
    assert {world.actors[node_id].serving for node_id in "def"} == {GOOD.manifest_digest}
    assert awaited(world, id) == {"c"}
    world.actors["c"].fate = Fate()
    assert run(world, id).state is RolloutState.SUCCEEDED


@pytest.mark.parametrize("fate", [HANGS, replace(BAD_END, takes_s=30.0)], ids=["silent", "failed"])
def test_a_node_that_was_not_waited_for_may_still_stop_the_rollout(fate: Fate) -> None:
    world, id = in_second_wave(c=fate)
    until_b_has_passed(world, id)
    promote(world, id)
    ended = run(world, id)
    assert ended.state is RolloutState.ROLLED_BACK
    assert ended.reason.startswith("name-c: ")
    assert world.actors["f"].serving == OLD.manifest_digest


def test_what_cannot_be_promoted_says_why() -> None:
    world, id = in_second_wave(b=Fate(takes_s=20.0), c=replace(BAD_END, takes_s=60.0))

    def why() -> str | None:
        return why_not_promoted(snapshot_of(world.docs.values(), also=id).of(id), world.now)

    assert why() == "none of 2 nodes of the running wave has passed its probation yet"
    until_b_has_passed(world, id)
    assert why() is None
    pause(world, id)
    assert why() == "ada has paused it: resume it first"
    resume(world, id)
    world.tick(120.0)
    assert (said := why()) is not None
    assert said.startswith("a node failed: name-c: ROLLED_BACK")
    run(world, id)
    assert why() == "is ROLLED_BACK: no wave runs that could be promoted"


def test_nobody_is_promoted_past_the_last_wave() -> None:
    world, id = in_second_wave(f=HANGS)
    while "f" not in world.waves(id)[-1]:
        world.control()
        world.tick(1.0)
    go(world, 20.0)
    assert why_not_promoted(world.snapshot().of(id), world.now) == "no wave follows the running one"


def test_a_coordinator_that_is_behind_its_queue_judges_no_silence() -> None:
    world, id = in_second_wave(c=HANGS)
    go(world, 20.0)
    late = world.rollout(id).deadline
    seen = world.snapshot().of(id)
    assert isinstance(observe(seen, late), RolloutStopped)
    assert isinstance(observe(replace(seen, behind_s=MOST_BEHIND_S), late), RolloutStopped)
    event = observe(replace(seen, behind_s=MOST_BEHIND_S + 1), late)
    assert isinstance(event, Waits)
    assert event.waits_for[0] == "this coordinator, which is 6 s behind"
    assert (awaited(world, id), event.until) == ({"c"}, late + MOST_BEHIND_S)
    failed = in_second_wave(c=BAD_END)[0]
    failed.tick(10.0)
    behind = replace(failed.snapshot().of(id), behind_s=1e6)
    assert isinstance(observe(behind, failed.now), RolloutStopped), "a bad end is no silence"
