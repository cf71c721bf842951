"""What the commands about one rollout read: its own nodes, however many others there are."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from littoral_cloud.app import Core
from littoral_cloud.commands.use_case import Office
from littoral_cloud.commands.viewing import apart, rollout_seen, would_see
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import Release, load
from littoral_cloud.rollouts.explanation import explain_rollout
from littoral_cloud.rollouts.judge import observe
from littoral_cloud.rollouts.preview import preview, read_before
from littoral_cloud.rollouts.seen import read_one
from littoral_cloud.rollouts.seen_fleet import SeenFleet
from littoral_cloud.rollouts.state import RolloutPolicy, RolloutState
from littoral_cloud.simulate.memory_ledger import MemoryLedger
from tests.kit.rollout_world import World, artifact
from tests.kit.view import following
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


def office(world: World, ledger: MemoryLedger, fleet: SeenFleet) -> Office:
    return Office(cast(Core, SimpleNamespace(ledger=ledger, clock=lambda: world.now)), fleet.view, fleet=fleet)


@pytest.mark.parametrize("until", [RolloutState.PENDING, RolloutState.MEASURING, RolloutState.WAVE])
async def test_a_coordinator_says_the_same_from_its_view_and_reads_one_document_among_any_number_of_nodes(
    until: RolloutState,
) -> None:
    for others in (5, 400):
        world, id = of_three_nodes(others, until)
        ledger = await stored(world)
        async with following(ledger) as fleet:
            before = ledger.documents_read
            seen = await rollout_seen(office(world, ledger, fleet), id)
            assert seen is not None
            assert ledger.documents_read == before + 1
            assert await apart(explain_rollout, seen, world.now) == explain_rollout(world.snapshot().of(id), world.now)


async def test_a_coordinator_previews_from_its_view_what_it_would_preview_from_the_ledger() -> None:
    world, id = of_three_nodes(400, RolloutState.PENDING)
    ledger = await stored(world)
    travels = {GOOD.manifest_digest: 7}
    async with following(ledger) as fleet:
        before = ledger.documents_read
        seen = await would_see(office(world, ledger, fleet), replace(world.rollout(id), policy=RolloutPolicy()))
        assert ledger.documents_read == before
        found = await apart(lambda seen, now: preview(seen, now, travels), seen, world.now)
    release = load(Release, world.docs["release", "digits-1"])
    assert found == preview(await read_before(ledger, release, RolloutPolicy(), world.now), world.now, travels)
    assert sum(len(wave.nodes) for wave in found.waves) == 403
