"""Of many nodes a few fall silent in their wave, and the rollout goes on; of few, or of one class, it stops. In virtual time."""

from __future__ import annotations

import pytest

from littoral_cloud.fleet.records import Probation
from littoral_cloud.rollouts.assignments import AssignmentState
from littoral_cloud.rollouts.state import Rollout, RolloutPolicy, RolloutState
from littoral_cloud.rollouts.wave_judge import WAS_SILENT
from tests.kit.rollout_world import MODEL, Fate, World, artifact
from tests.unit.rollouts.test_rollout_behaviour import run

OLD, GOOD = artifact("old"), artifact("good", accuracy=0.99)
SILENT = Fate(takes_s=1e9)
SHORT = Probation(duration_s=2.0)


def rolled_out(nodes: int, silent: int, *, kinds: int = 1, **policy: float) -> tuple[Rollout, World, str]:
    """The last `silent` nodes are so; the hardware classes are one block of nodes each."""
    world = World([OLD, GOOD])
    for number in range(nodes):
        fate = SILENT if number >= nodes - silent else Fate(takes_s=1.0)
        world.add_node(f"n{number:03}", fate, serving=OLD.manifest_digest, kind=f"class-{number * kinds // nodes}")
    id = world.start(world.release(1, GOOD), RolloutPolicy(wave_sizes=(50,), wave_s=10.0, probation=SHORT, **policy))
    return run(world, id), world, id


def test_a_few_of_many_are_left_out_and_keep_what_they_had() -> None:
    ended, world, id = rolled_out(200, 4)
    assert ended.state is RolloutState.SUCCEEDED
    for number in range(196, 200):
        left_out = world.assignments(id)[f"n{number}"]
        assert (left_out.state, left_out.why) == (AssignmentState.DROPPED, WAS_SILENT)
        assert world.desired(f"n{number}")[1].models[MODEL].manifest_digest == OLD.manifest_digest
    assert sum(a.state is AssignmentState.COMMITTED for a in world.assignments(id).values()) == 196


@pytest.mark.parametrize(
    ("nodes", "silent", "kinds", "most"),
    [
        (200, 5, 1, 0.02),  # more than 2 %
        (40, 1, 1, 0.02),  # of fewer than 50 nodes, each counts
        (200, 4, 10, 0.02),  # 2 %, but a fifth of one class
        (200, 1, 1, 0.0),
    ],
)
def test_more_than_a_few_stop_it(nodes: int, silent: int, kinds: int, most: float) -> None:
    ended, _, _ = rolled_out(nodes, silent, kinds=kinds, max_silent=most)
    assert ended.state is RolloutState.ROLLED_BACK
    assert "no answer" in ended.reason or "DOWNLOADING" in ended.reason or "PENDING" in ended.reason


def test_the_silent_of_earlier_waves_count_too() -> None:
    world = World([OLD, GOOD])
    for number in range(150):
        fate = SILENT if number in (10, 60, 110, 120) else Fate(takes_s=1.0)
        world.add_node(f"n{number:03}", fate, serving=OLD.manifest_digest, kind="one")
    id = world.start(world.release(1, GOOD), RolloutPolicy(wave_sizes=(50, 50), wave_s=10.0, probation=SHORT))
    assert run(world, id).state is RolloutState.ROLLED_BACK
    assert world.assignments(id)["n010"].why == WAS_SILENT
