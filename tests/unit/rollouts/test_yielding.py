"""A rollout whose nodes wait for their windows delays no other of its model, and no node is in two: in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from littoral_cloud.fleet.ledger import Announcement
from littoral_cloud.fleet.records import Probation, UpdateState
from littoral_cloud.rollouts.assignments import AssignmentState
from littoral_cloud.rollouts.attention import Attention
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.gating import with_gates
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.state import ENDED, Rollout, RolloutPolicy, RolloutState, Unsure
from tests.kit.rollout_world import MODEL, Fate, World, artifact
from tests.unit.rollouts.test_rechoice import rechoose
from tests.unit.rollouts.test_windows import GOOD, OLD, at, go, noon, waits

NEWER = artifact("newer", accuracy=0.995)
NIGHT = "01:00-02:00"
PLAIN = RolloutPolicy(probation=Probation(duration_s=0.0))


def start(world: World, number: int, policy: RolloutPolicy = PLAIN) -> str:
    return world.start(world.release(number, (GOOD, NEWER)[number - 1]), policy)


def two(world: World, policy: RolloutPolicy = PLAIN) -> tuple[str, str]:
    """One to all has done what it can; then another starts."""
    older = start(world, 1)
    go(world, "2026-01-07T12:30+00:00")
    newer = start(world, 2, policy)
    go(world, "2026-01-07T13:00+00:00")
    return older, newer


def served(world: World, node_id: str) -> list[str]:
    names = {a.manifest_digest: a.name for a in (OLD, GOOD, NEWER)}
    return [names[digest] for _, id, digest in world.served if id == node_id]


def test_the_newer_rollout_takes_over_what_waits_for_a_window_and_no_node_gets_two() -> None:
    world = noon("", NIGHT, NIGHT)
    older, newer = two(world)
    first = world.rollout(older)
    assert first.state is RolloutState.SUCCEEDED
    assert first.remarks[0] == f"rollout {newer} took over 2 of its nodes, whose maintenance windows were closed"
    assert world.assignments(older)["b"].why == f"rollout {newer} takes it over: its maintenance window was closed"
    assert world.rollout(newer).state is RolloutState.WAVE, "it waits for the same windows"
    assert served(world, "a") == ["old", "good", "newer"]
    go(world, "2026-01-08T03:00+00:00")
    assert world.rollout(newer).state is RolloutState.SUCCEEDED
    assert served(world, "b") == served(world, "c") == ["old", "newer"]
    assert [line.action for line in world.trail].count("rollout.yielded") == 1


def test_nodes_that_the_newer_one_was_not_started_for_stay_with_the_older_one() -> None:
    world = noon("", NIGHT, NIGHT)
    older, newer = two(world, RolloutPolicy(where="name=name-b", probation=PLAIN.probation))
    assert world.rollout(older).state is RolloutState.WAVE
    assert waits(world, older) == ("the maintenance window of name-c, from 2026-01-08 01:00 UTC on",)
    assert world.rollout(newer).state is RolloutState.MEASURING, "it has begun, and its node's window is closed, too"
    go(world, "2026-01-08T03:00+00:00")
    assert {world.rollout(id).state for id in (older, newer)} == {RolloutState.SUCCEEDED}
    assert [served(world, id) for id in "abc"] == [["old", "good"], ["old", "newer"], ["old", "good"]]
    rechoose(world)
    assert world.desired("b")[1].models[MODEL].manifest_digest == NEWER.manifest_digest, "the one that began later is followed"


def test_one_of_which_nothing_was_told_yet_ends_and_says_why() -> None:
    world = noon(NIGHT, NIGHT)
    older, newer = two(world)
    assert world.rollout(older).state is RolloutState.FAILED
    assert (
        world.rollout(older).reason == f"no node is left: rollout {newer} took over those whose maintenance windows were closed"
    )
    go(world, "2026-01-08T03:00+00:00")
    assert [served(world, id) for id in "ab"] == [["old", "newer"]] * 2


def test_a_canary_whose_window_is_closed_holds_back_no_other_rollout() -> None:
    world = noon(NIGHT, "")
    older = start(world, 1, RolloutPolicy(canary="a"))
    go(world, "2026-01-07T12:30+00:00")
    start(world, 2)
    go(world, "2026-01-07T13:00+00:00")
    assert world.rollout(older).state is RolloutState.FAILED
    assert served(world, "b") == ["old", "newer"]


def test_a_node_that_is_away_and_whose_window_is_closed_delays_nothing() -> None:
    world = noon("", NIGHT, b=Fate(away=((at("2026-01-07T12:05+00:00"), at("2026-01-07T12:31+00:00")),)))
    older = start(world, 1)
    go(world, "2026-01-07T12:30+00:00")
    start(world, 2)
    go(world, "2026-01-07T12:31+00:00")
    assert world.rollout(older).state is RolloutState.SUCCEEDED


@pytest.mark.parametrize("policy", [RolloutPolicy(approval=True), RolloutPolicy(not_before=at("2026-01-09T00:00+00:00"))])
def test_one_that_may_not_begin_takes_nothing_over(policy: RolloutPolicy) -> None:
    world = noon("", NIGHT)
    older, _ = two(world, policy)
    assert world.rollout(older).state is RolloutState.WAVE
    go(world, "2026-01-08T01:30+00:00")
    assert served(world, "b") == ["old", "good"]


def test_one_that_is_paused_takes_nothing_over_until_it_is_resumed() -> None:
    world = noon("", NIGHT)
    older = start(world, 1)
    go(world, "2026-01-07T12:30+00:00")
    newer = start(world, 2)
    world.edit("rollout", newer, Rollout, paused_by="ada", paused_at=world.now)
    go(world, "2026-01-07T12:40+00:00")
    assert world.rollout(older).state is RolloutState.WAVE
    world.edit("rollout", newer, Rollout, paused_by="", paused_at=0.0)
    go(world, "2026-01-07T12:50+00:00")
    assert world.rollout(older).state is RolloutState.SUCCEEDED


def test_a_rollout_in_the_middle_of_its_waves_is_waited_for() -> None:
    world = noon("", NIGHT, a=Fate(takes_s=120.0))
    older = start(world, 1)
    go(world, "2026-01-07T12:01+00:00")
    newer = start(world, 2)
    go(world, "2026-01-07T12:01:30+00:00")
    assert waits(world, newer) == (f"rollout {older} to end",)
    assert world.assignments(older)["b"].state is AssignmentState.PLANNED


def test_a_gate_that_needs_more_is_waited_for_first() -> None:
    policy = with_gates(PLAIN, ["labelled"], None, Unsure.CONTINUE)
    world = noon("", NIGHT)
    older = start(world, 1, policy)
    go(world, "2026-01-07T12:02+00:00")
    start(world, 2)
    go(world, "2026-01-07T12:04+00:00")
    assert world.rollout(older).state is RolloutState.WAVE
    assert world.rollout(older).yielded_to == ()
    go(world, "2026-01-07T12:30+00:00")
    assert world.rollout(older).state is RolloutState.SUCCEEDED, "the wave's time is over"


def test_a_release_that_few_nodes_had_is_not_joined_by_those_that_the_newer_one_took_over_and_lost() -> None:
    world = noon("", *[NIGHT] * 5, **dict.fromkeys("abcdef", Fate(outcome={NEWER.manifest_digest: UpdateState.ROLLED_BACK})))
    older, newer = two(world)
    assert (world.rollout(older).state, world.rollout(older).proved) == (RolloutState.SUCCEEDED, False)
    assert world.rollout(newer).state is RolloutState.ROLLED_BACK
    world.now = at("2026-01-08T01:30+00:00")
    rechoose(world)
    assert MODEL not in world.desired("b")[1].models, "one node of six has proved little"
    assert served(world, "a") == ["old", "good"], "it keeps what it has"


def test_one_whose_turns_are_waited_for_looks_again_when_another_asks_and_not_at_each_of_its_waves() -> None:
    world = noon("", NIGHT, NIGHT)
    older = start(world, 1)
    go(world, "2026-01-07T12:30+00:00")
    newer = start(world, 2, RolloutPolicy(where="name=name-b", probation=PLAIN.probation))
    looked = attention(world, older)
    assert looked.is_due([Announcement("rollout", newer, 2)], world.now)
    assert looked.is_due([Announcement("rollout", "digits-9-r1", 1)], world.now), "a new one"
    go(world, "2026-01-07T13:00+00:00")
    assert not attention(world, older).is_due([Announcement("rollout", newer, 99)], world.now)


def attention(world: World, rollout_id: str) -> Attention:
    seen = world.snapshot().of(rollout_id)
    found = observe(seen, world.now)
    assert isinstance(found, Waits)
    return Attention.after(seen, found)


@st.composite
def plans(draw: st.DrawFn) -> tuple[World, list[tuple[float, RolloutPolicy]]]:
    """A fleet, and when each of three rollouts starts, seconds from noon."""
    windows = ("", "12:00-12:01", "12:05-12:10", "12:20-12:50", "12:40-12:41; 14:00-14:01", "always")
    world = noon(*draw(st.lists(st.sampled_from(windows), min_size=1, max_size=6)))
    for actor in world.actors.values():
        actor.fate = Fate(takes_s=draw(st.sampled_from((0.0, 5.0, 90.0))))
    starts = sorted(draw(st.lists(st.sampled_from((0.0, 30.0, 400.0, 3_700.0)), min_size=3, max_size=3)))
    where = [draw(st.sampled_from(("", "", "name=name-[abc]", "name=name-b"))) for _ in starts]
    return world, [
        (s, RolloutPolicy(where=w, wave_sizes=(1, 2), probation=PLAIN.probation)) for s, w in zip(starts, where, strict=True)
    ]


@settings(max_examples=8, deadline=None)
@given(plan=plans(), dies=st.integers(1, 4))
def test_whatever_starts_when_all_end_and_no_node_is_told_by_an_older_one_after_a_newer_one(
    plan: tuple[World, list[tuple[float, RolloutPolicy]]], dies: int
) -> None:
    world, starts = plan
    noon_at = world.now
    ids: list[str] = []
    releases = [world.release(n, artifact(f"r{n}", accuracy=0.98 + n / 1_000)) for n in (1, 2, 3)]
    told: dict[str, float] = {}
    written = -1
    while len(ids) < 3 or any(world.rollout(id).state not in ENDED for id in ids):
        assert world.now < noon_at + 4 * 86_400.0, [world.rollout(id) for id in ids]
        while len(ids) < 3 and world.now - noon_at >= starts[len(ids)][0]:
            ids.append(world.start(releases[len(ids)], starts[len(ids)][1]))
        while world.control(commits=dies):  # each time by another coordinator
            pass
        live = {id: world.assignments(id) for id in ids if world.rollout(id).state not in ENDED}
        for node_id in world.actors:
            turns = [id for id, held in live.items() if (a := held.get(node_id)) and a.state is AssignmentState.PLANNED]
            assert len(turns) <= 1, (node_id, turns)
            if (wanted := world.desired(node_id)[1].models.get(MODEL)) is not None:
                began = world.rollout(wanted.rollout_id).began
                assert began >= told.get(node_id, 0.0), node_id
                told[node_id] = began
        due = [noon_at + starts[len(ids)][0]] if len(ids) < 3 else []
        looks = [observe(world.snapshot().of(id), world.now) for id in live]
        due += [event.until for event in looks if isinstance(event, Waits)]
        works = any(actor.working is not None for actor in world.actors.values())
        before, written = written, sum(doc.generation for doc in world.docs.values())
        idle = not works and written == before
        world.tick(max(1.0, min(due, default=world.now) - world.now) if idle else 5.0)
    assert all(world.rollout(id).state in (RolloutState.SUCCEEDED, RolloutState.FAILED) for id in ids)
