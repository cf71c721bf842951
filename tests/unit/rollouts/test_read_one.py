"""What the commands about one rollout read: its own nodes, however many others there are."""

from __future__ import annotations

import pytest

from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.rollouts.explanation import explain_rollout
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.seen import read_one
from littoral_cloud.rollouts.state import RolloutPolicy, RolloutState
from littoral_cloud.simulate.memory_ledger import MemoryLedger
from tests.kit.rollout_world import World, artifact
from tests.unit.rollouts.test_rollout_behaviour import run

OLD, GOOD = artifact("old"), artifact("good", accuracy=0.99)


async def stored(world: World) -> MemoryLedger:
    """With the same generations."""
    ledger = MemoryLedger(lambda: world.now)
    for doc in world.docs.values():
        for _ in range(doc.generation):
            await ledger.commit(Change((Write(doc.kind, doc.id, doc.body, None),)))
    return ledger


def of_three_nodes(others: int, until: RolloutState) -> tuple[World, str]:
    world = World([OLD, GOOD])
    names = [*"abc", *(f"other-{n:04}" for n in range(others))]
    for node_id in names:
        world.add_node(node_id, serving=OLD.manifest_digest, kind="one")
    id = world.start(world.release(1, GOOD), RolloutPolicy(wave_sizes=(1,), nodes=("a", "b", "c")))
    while world.rollout(id).state is not until:
        world.control(commits=1)
        world.tick(1.0)
    return world, id


@pytest.mark.parametrize("until", [RolloutState.PENDING, RolloutState.MEASURING, RolloutState.WAVE])
async def test_it_sees_what_the_controller_sees(until: RolloutState) -> None:
    world, id = of_three_nodes(5, until)
    seen = await read_one(await stored(world), id)
    assert seen is not None
    assert observe(seen, world.now) == observe(world.snapshot().of(id), world.now)
    assert explain_rollout(seen, world.now) == explain_rollout(world.snapshot().of(id), world.now)


async def test_a_wave_costs_the_same_reads_among_10_nodes_and_among_200() -> None:
    reads = []
    for others in (10, 200):
        world, id = of_three_nodes(others, RolloutState.WAVE)
        ledger = await stored(world)
        seen = await read_one(ledger, id)
        assert seen is not None
        left_out = {no.node_id for rule in seen.rollout.refused for no in rule.first}
        assert set(seen.nodes) == {"a", "b", "c"} | left_out
        reads.append(ledger.documents_read)
    assert reads[0] == reads[1] <= 80


async def test_one_that_has_ended_is_read_too_and_of_one_that_is_not_there_there_is_nothing() -> None:
    world, id = of_three_nodes(0, RolloutState.WAVE)
    assert run(world, id).state is RolloutState.SUCCEEDED
    ledger = await stored(world)
    seen = await read_one(ledger, id)
    assert seen is not None
    assert seen.rollout.state is RolloutState.SUCCEEDED
    assert await read_one(ledger, "no-such-r1") is None
