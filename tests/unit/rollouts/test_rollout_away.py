"""A node that is away for a moment is waited for; a rollout that nobody can take now waits for whoever comes first."""

from __future__ import annotations

import pytest

from littoral_cloud.fleet.presence import There, patience_s, there
from littoral_cloud.fleet.records import AWAY_S, Enrolment, Node, Presence, dump, load
from littoral_cloud.rollouts.assignments import AssignmentState
from littoral_cloud.rollouts.events import Waits
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from tests.kit.rollout_world import MODEL, Fate, World, artifact

OLD, GOOD = artifact("old"), artifact("good", accuracy=0.99)
FOR_EVER = 1e9


def world_of(*nodes: str, away: tuple[tuple[float, float], ...] = (), **fate: object) -> World:
    world = World([OLD, GOOD])
    for node_id in nodes:
        world.add_node(node_id, Fate(away=away, **fate), serving=OLD.manifest_digest, kind="board")  # type: ignore[arg-type]
    return world


def go_on(world: World, id: str, seconds: float) -> Rollout:
    """For so long, or until it has ended."""
    until = world.now + seconds
    while world.now < until and world.rollout(id).ended_at is None:
        world.control()
        world.tick(1.0)
    return world.rollout(id)


def waits_of(world: World, id: str) -> tuple[str, ...]:
    event = observe(world.snapshot().of(id), world.now)
    assert isinstance(event, Waits)
    return event.waits_for


def test_online_away_offline() -> None:
    world = world_of("a")
    presence = load(Presence, world.docs["presence", "a"])
    assert presence.patience_s == AWAY_S == patience_s(10.0)
    assert there(presence, 9e9) is There.ONLINE
    world.edit("presence", "a", Presence, connected=False, since=2_000.0, patience_s=40.0)
    gone = load(Presence, world.docs["presence", "a"])
    assert [there(gone, now) for now in (2_000.0, 2_039.0, 2_040.0)] == [There.AWAY, There.AWAY, There.OFFLINE]
    assert there(None, 0.0) is There.OFFLINE
    assert patience_s(1.0) == 33.0
    assert patience_s(10.0, spread_s=100.0) == 130.0


@pytest.mark.parametrize("gone_s", [1.0, 500.0])
def test_a_rollout_whose_nodes_are_all_gone_waits_for_them_and_says_so(gone_s: float) -> None:
    world = world_of("a", "b", away=((1_001.0, 1_001.0 + gone_s + 200.0),))
    world.tick(1.0)
    world.tick(gone_s)
    id = world.start(world.release(1, GOOD))
    waiting = go_on(world, id, 100.0)
    word = "away" if gone_s < AWAY_S - 1 else "offline"
    assert waiting.state is RolloutState.PENDING
    assert waiting.reason == f"no node is there that can take it: name-a is {word}; name-b is {word}"
    assert waits_of(world, id) == ("name-a is offline", "name-b is offline")
    assert [line.action for line in world.trail] == ["rollout.waiting"]
    ended = go_on(world, id, 500.0)
    assert (ended.state, ended.reason) == (RolloutState.SUCCEEDED, "")
    assert {actor.serving for actor in world.actors.values()} == {GOOD.manifest_digest}


def test_a_node_that_has_enrolled_and_not_yet_come_is_waited_for() -> None:
    world = World([GOOD])
    node = Node(
        node_id="new",
        name="name-new",
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256="",
        certificate_sha256="",
        certificate_expires_at=1e12,
        enrolled_at=world.now,
    )
    world.put("node", "new", dump(node))
    id = world.start(world.release(1, GOOD))
    assert go_on(world, id, 10.0).reason == "no node is there that can take it: name-new has not come yet"
    world.add_node("new")
    assert go_on(world, id, 100.0).state is RolloutState.SUCCEEDED


def test_nobody_is_waited_for_longer_than_the_policy_says() -> None:
    world = world_of("a", away=((1_001.0, FOR_EVER),))
    world.tick(1.0)
    world.tick(100.0)
    ended = go_on(world, world.start(world.release(1, GOOD), RolloutPolicy(pending_s=50.0)), 200.0)
    assert (ended.state, ended.reason) == (RolloutState.FAILED, "no node came within 50 s: name-a is offline")


def test_what_a_node_cannot_take_is_not_waited_for_whether_it_is_there_or_not() -> None:
    world = World([GOOD])
    world.add_node("a", Fate(away=((1_001.0, FOR_EVER),)), runtimes=("ncnn",))
    world.tick(2.0)
    ended = go_on(world, world.start(world.release(1, GOOD)), 10.0)
    assert ended.state is RolloutState.FAILED
    assert "has ncnn, the release needs onnxruntime" in ended.reason


def test_a_node_that_is_away_when_its_turn_comes_has_a_later_one() -> None:
    world = world_of("a", "b", "c")
    world.actors["a"].fate = Fate(away=((1_001.0, 1_040.0),))
    world.tick(2.0)
    id = world.start(world.release(1, GOOD))
    assert go_on(world, id, 500.0).state is RolloutState.SUCCEEDED
    assert world.waves(id) == [("b",), ("c",), ("a",)]
    assert {a.state for a in world.assignments(id).values()} == {AssignmentState.COMMITTED}


def test_the_canary_that_the_operator_named_is_waited_for_while_it_is_away() -> None:
    world = world_of("a", "b")
    world.actors["b"].fate = Fate(away=((1_001.0, 1_040.0),))
    world.tick(2.0)
    id = world.start(world.release(1, GOOD), RolloutPolicy(canary="b"))
    go_on(world, id, 20.0)
    assert waits_of(world, id) == ("name-b is away",)
    go_on(world, id, 500.0)
    assert world.waves(id) == [("b",), ("a",)]


def test_a_fleet_that_goes_while_it_measures_is_waited_for_and_measures_again() -> None:
    world = world_of("a", "b", measures={GOOD.manifest_digest: "never"})
    id = world.start(world.release(1, GOOD))
    world.control()
    for actor in world.actors.values():
        actor.fate = Fate(away=((1_001.0, 1_400.0),))
    assert go_on(world, id, 10.0).state is RolloutState.MEASURING
    waiting = go_on(world, id, 100.0)
    assert waiting.state is RolloutState.PENDING
    assert all(world.desired(node)[1].benchmarks == () for node in "ab")
    assert go_on(world, id, 1_000.0).state is RolloutState.SUCCEEDED


def test_a_coordinator_that_was_down_for_longer_than_a_wave_may_last_does_not_blame_the_nodes() -> None:
    world = world_of("a", takes_s=5.0)
    id = world.start(world.release(1, GOOD))
    go_on(world, id, 2.0)
    assert world.rollout(id).state is RolloutState.WAVE
    world.now += 5_000.0  # nobody decides, nobody is heard
    world.edit("presence", "a", Presence, connected=False, since=world.now)  # what the next coordinator finds and writes
    world.control()
    assert waits_of(world, id) == ("name-a: DOWNLOADING, away since 1970-01-01 01:40 UTC",)
    world.now += 30.0
    world.edit("presence", "a", Presence, connected=True, since=world.now)
    world.control()
    assert go_on(world, id, 30.0).state is RolloutState.SUCCEEDED


def test_a_node_that_is_back_and_says_nothing_is_blamed_in_the_end() -> None:
    world = world_of("a", takes_s=FOR_EVER)
    id = world.start(world.release(1, GOOD))
    go_on(world, id, 290.0)
    world.edit("presence", "a", Presence, connected=True, since=world.now)
    assert go_on(world, id, AWAY_S - 2.0).state is RolloutState.WAVE
    ended = go_on(world, id, 200.0)
    assert ended.state is RolloutState.ROLLED_BACK
    assert ended.reason == "name-a: DOWNLOADING, after 303 s"


def test_a_rollout_that_waits_can_be_stopped() -> None:
    world = world_of("a", away=((1_001.0, FOR_EVER),))
    world.tick(100.0)
    id = world.start(world.release(1, GOOD))
    go_on(world, id, 5.0)
    world.edit("rollout", id, Rollout, aborted_by="ann")
    assert go_on(world, id, 5.0).state is RolloutState.ROLLED_BACK
    assert MODEL not in world.desired("a")[1].models


def test_one_that_waits_for_its_own_nodes_holds_back_nobody_and_has_its_turn_when_they_are_back() -> None:
    world = world_of("a", "b")
    world.actors["a"].fate = Fate(away=((1_001.0, 1_300.0),))
    world.tick(100.0)
    first = world.start(world.release(1, OLD), RolloutPolicy(nodes=("a",)))
    go_on(world, first, 5.0)
    second = world.start(world.release(2, GOOD))
    assert go_on(world, second, 150.0).state is RolloutState.SUCCEEDED
    assert world.actors["b"].serving == GOOD.manifest_digest
    assert world.rollout(first).state is RolloutState.PENDING
    assert go_on(world, first, 300.0).state is RolloutState.SUCCEEDED
    assert world.actors["b"].serving == GOOD.manifest_digest


def test_the_same_two_never_run_at_once_when_the_node_comes_back() -> None:
    world = world_of("a", "b", takes_s=5.0)
    world.actors["a"].fate = Fate(away=((1_001.0, 1_105.0),))
    world.tick(100.0)
    ids = [
        world.start(world.release(1, GOOD), RolloutPolicy(nodes=("a",))),
        world.start(world.release(2, GOOD), id=f"{MODEL}-2-r1"),
    ]
    for _ in range(120):
        world.control()
        running = [id for id in ids if world.rollout(id).state not in (RolloutState.PENDING, RolloutState.SUCCEEDED)]
        assert len(running) <= 1
        world.tick(1.0)
    assert [world.rollout(id).state for id in ids] == [RolloutState.SUCCEEDED, RolloutState.SUCCEEDED]


def test_where_no_node_that_is_there_can_take_it_one_that_is_offline_does_not_keep_it_going() -> None:
    worse = artifact("worse", accuracy=0.5)
    world = World([OLD, worse])
    world.add_node("a", Fate(), serving=OLD.manifest_digest, kind="board")
    world.add_node("b", Fate(away=((1_001.0, FOR_EVER),)), serving=OLD.manifest_digest, kind="board")
    world.tick(1.0)
    world.tick(AWAY_S + 1.0)
    id = world.start(world.release(1, worse))
    ended = go_on(world, id, 300.0)
    assert ended.state is RolloutState.FAILED
    assert "0.5" in ended.reason
    assert [line.action for line in world.trail] == ["rollout.failed"]
