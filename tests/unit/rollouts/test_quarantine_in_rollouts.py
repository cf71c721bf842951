"""A node in quarantine gets no release, neither in a wave nor later, and takes part again when it is out."""

from __future__ import annotations

from littoral_cloud.fleet.quarantine import KIND, NodeTrouble, Quarantine
from littoral_cloud.fleet.records import dump
from littoral_cloud.rollouts.fleet_node import FleetNode
from littoral_cloud.rollouts.preview import preview
from littoral_cloud.rollouts.rechoice import rechoice
from littoral_cloud.rollouts.state import Rollout, RolloutState
from tests.kit.rollout_world import MODEL, World, artifact, refused
from tests.unit.rollouts.test_rechoice import fleet_of

OLD, GOOD = artifact("old"), artifact("good", accuracy=0.99)


def world_of(*node_ids: str) -> World:
    world = World([OLD, GOOD])
    for node_id in node_ids:
        world.add_node(node_id, serving=OLD.manifest_digest, kind="one")
    return world


def quarantined(world: World, node_id: str, into: bool = True) -> None:
    by = Quarantine(since=world.now, until=None, by="quarantine", reason="3 failures within 24 h")
    world.put(KIND, node_id, dump(NodeTrouble(quarantine=by if into else None)))


def run(world: World, rollout_id: str) -> Rollout:
    for _ in range(2_000):
        world.control()
        if (rollout := world.rollout(rollout_id)).state in ("SUCCEEDED", "ROLLED_BACK", "FAILED"):
            return rollout
        world.tick(1.0)
    raise AssertionError(rollout.state)


def test_it_is_left_out_with_the_reason_and_gets_the_release_when_it_is_out() -> None:
    world = world_of("a", "b", "c")
    quarantined(world, "b")
    release = world.release(1, GOOD)
    rollout = run(world, world.start(release))
    assert rollout.state is RolloutState.SUCCEEDED
    assert set(world.assignments(f"{MODEL}-1-r1")) == {"a", "c"}
    assert [(no.node_id, no.rule, no.reason) for no in refused(rollout)] == [
        ("b", "not-quarantined", "is in quarantine: 3 failures within 24 h")
    ]

    def later() -> bool:
        node: FleetNode = world.snapshot().nodes["b"]
        return rechoice(node, fleet_of(world), world.now).change is not None

    assert not later()
    quarantined(world, "b", into=False)
    assert later()


def test_one_that_comes_into_quarantine_before_its_turn_is_dropped_and_the_rollout_goes_on() -> None:
    world = world_of("a", "b", "c")
    id = world.start(world.release(1, GOOD))
    world.control()
    while world.rollout(id).state is not RolloutState.WAVE:
        world.tick(1.0)
        world.control()
    quarantined(world, "c")
    rollout = run(world, id)
    assert rollout.state is RolloutState.SUCCEEDED
    assert {a.node_id: a.why for a in world.assignments(id).values()} == {
        "a": "",
        "b": "",
        "c": "is in quarantine: 3 failures within 24 h",
    }
    assert MODEL not in world.desired("c")[1].models


def test_where_every_node_is_in_quarantine_the_rollout_fails_and_says_why() -> None:
    world = world_of("a")
    quarantined(world, "a")
    rollout = run(world, world.start(world.release(1, GOOD)))
    assert rollout.state is RolloutState.FAILED
    assert rollout.reason == "name-a is in quarantine: 3 failures within 24 h"


def test_a_dry_run_groups_those_that_are_left_out_by_the_reason() -> None:
    world = world_of("a", "b", "c", "d")
    for node_id in "bc":
        quarantined(world, node_id)
    id = world.start(world.release(1, GOOD))
    [out] = preview(world.snapshot().of(id), world.now, {GOOD.manifest_digest: 1}).left_out
    assert (out.rule, out.nodes) == ("not-quarantined", ("name-b", "name-c"))
