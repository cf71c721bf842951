"""An artifact above what a node's runtime takes is neither tried nor rolled out there."""

from __future__ import annotations

from littoral_cloud.fleet.records import Presence
from littoral_cloud.rollouts.state import RolloutState
from tests.kit.rollout_world import World, artifact

OLD_RUNTIME = {"runtimes": [{"name": "onnxruntime", "version": "1.14.0", "highest_ir": 8, "highest_opset": 18}], "isa": ["avx2"]}
PLAIN = artifact("plain", accuracy=0.97, requires={"opset": 18, "ir": 8})
NEWER = artifact("newer", accuracy=0.99, requires={"opset": 21, "ir": 10})


def world_of_one() -> World:
    world = World([PLAIN, NEWER])
    world.add_node("a")
    world.edit("presence", "a", Presence, hardware=OLD_RUNTIME)
    return world


def until_it_ends(world: World, id: str) -> RolloutState:
    tried: set[str] = set()
    while (state := world.rollout(id).state) not in (RolloutState.SUCCEEDED, RolloutState.FAILED, RolloutState.ROLLED_BACK):
        assert world.now < 5_000
        world.control()
        tried |= set(world.desired("a")[1].benchmarks)
        world.tick(1.0)
    assert NEWER.manifest_digest not in tried
    return state


def test_the_best_that_it_takes_is_rolled_out_and_the_other_never_tried() -> None:
    world = world_of_one()
    assert until_it_ends(world, world.start(world.release(1, PLAIN, NEWER))) is RolloutState.SUCCEEDED
    assert world.actors["a"].serving == PLAIN.manifest_digest


def test_a_release_with_nothing_that_it_takes_says_why() -> None:
    world = world_of_one()
    id = world.start(world.release(1, NEWER))
    assert until_it_ends(world, id) is RolloutState.FAILED
    words = f"{world.rollout(id)}"
    assert "cannot take newer: ir: needs ONNX IR 10, onnxruntime 1.14.0 on this node takes up to 8" in words
    assert "opset: needs ONNX opset 21" in words
