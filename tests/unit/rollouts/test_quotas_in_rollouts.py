"""What is chosen for one model holds its quota of the node, not all of it."""

from __future__ import annotations

from littoral.budget import Budget
from littoral.quota import NodeLimits
from littoral_cloud.fleet.records import DesiredModel, Presence, dump, load
from littoral_cloud.rollouts.seen import view_of
from littoral_cloud.rollouts.state import RolloutState
from tests.kit.rollout_world import MODEL, World, artifact
from tests.unit.rollouts.test_rollout_behaviour import run

LARGE, SMALL = artifact("large", accuracy=0.99, size=900), artifact("small", accuracy=0.97, size=300)
OTHER = "faces"


def one_node(limits: NodeLimits, **budgets: Budget) -> World:
    world = World([LARGE, SMALL])
    world.add_node("a")
    world.edit("presence", "a", Presence, limits=limits, budgets=budgets)
    return world


def serves_another(world: World) -> None:
    generation, desired = world.desired("a")
    assert generation == 0
    other = DesiredModel(manifest_digest=SMALL.manifest_digest, rollout_id="r", generation=1)
    world.put("desired", "a", dump(desired.with_model(OTHER, other)))


def test_alone_a_model_has_all_of_the_disk_and_beside_another_a_half() -> None:
    alone = one_node(NodeLimits(disk_bytes=3_000))
    assert run(alone, alone.start(alone.release(1, LARGE, SMALL))).state is RolloutState.SUCCEEDED
    assert alone.actors["a"].serving == LARGE.manifest_digest
    shared = one_node(NodeLimits(disk_bytes=3_000))
    serves_another(shared)
    assert run(shared, shared.start(shared.release(1, LARGE, SMALL))).state is RolloutState.SUCCEEDED
    assert shared.actors["a"].serving == SMALL.manifest_digest


def test_a_quota_of_its_own_is_held_whoever_else_is_there() -> None:
    world = one_node(NodeLimits(disk_bytes=3_000), **{MODEL: Budget(quota=0.9)})
    serves_another(world)
    assert run(world, world.start(world.release(1, LARGE, SMALL))).state is RolloutState.SUCCEEDED
    assert world.actors["a"].serving == LARGE.manifest_digest


def test_a_quota_of_memory_that_no_candidate_is_inside_is_said() -> None:
    world = one_node(NodeLimits(memory_bytes=1_500))  # each of them was measured to take 1,000
    serves_another(world)
    ended = run(world, world.start(world.release(1, LARGE, SMALL)))
    assert ended.state is RolloutState.FAILED
    assert "peak_rss_bytes: 1000 is over 750" in ended.reason


def test_a_node_from_before_there_were_quotas_is_bounded_by_its_budget_alone() -> None:
    world = one_node(NodeLimits(), **{"": Budget(artifact_bytes=500)})
    body = dict(world.docs["presence", "a"].body)
    del body["limits"]
    world.put("presence", "a", body)
    view = view_of(world.snapshot().nodes["a"].node, load(Presence, world.docs["presence", "a"]), None, None)
    assert view.presence is not None
    assert view.presence.budget_for("anything") == Budget(artifact_bytes=500)
