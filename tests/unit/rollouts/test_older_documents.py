"""Rollouts of before, whose documents list all their nodes: they are read, shown, and brought to an end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from littoral_cloud.fleet.ledger import Change, Doc, Ledger, Write
from littoral_cloud.rollouts.assignments import AssignmentState, assignment_docs
from littoral_cloud.rollouts.convert import convert_older, converted
from littoral_cloud.rollouts.older import is_older, older_assignments
from littoral_cloud.rollouts.state import KIND, RolloutState
from littoral_cloud.simulate.memory_documents import MemoryDocuments
from tests.kit.rollout_world import World, artifact
from tests.kit.view import following
from tests.unit.rollouts.test_rollout_behaviour import run

pytest_plugins = ("tests.kit.redis",)

FOLDER = Path(__file__).parents[2] / "old" / "rollouts"
ID = "digits-1-r1"
OLD, GOOD = artifact("old", accuracy=0.97), artifact("good", accuracy=0.99)
ENDS = {
    "measuring": RolloutState.SUCCEEDED,
    "wave": RolloutState.SUCCEEDED,
    "rolling-back": RolloutState.ROLLED_BACK,
    "promoted": RolloutState.SUCCEEDED,
}


def docs_of(name: str) -> list[Doc]:
    return [Doc(**json.loads(line)) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


def world_of(name: str) -> World:
    """The fleet at that moment, with nodes that go on where they were."""
    world = World([])
    for node_id in (doc.id for doc in docs_of(name) if doc.kind == "node"):
        world.add_node(node_id, serving=OLD.manifest_digest)
    world.documents = MemoryDocuments()
    world.documents.take_over(docs_of(name))
    for node_id, actor in world.actors.items():
        reported = world.docs["reported", node_id].body
        actor.number = reported["generation"]
        [model] = reported["models"].values()
        actor.serving, actor.previous = model["serving"], model["previous"]
        actor.done = model["desired_generation"] if model["state"] in ("SUCCEEDED", "ROLLED_BACK") else 0
    world.now = world.rollout(ID).entered_at + 1.0
    return world


@pytest.mark.parametrize("name", ENDS)
def test_a_rollout_of_before_is_brought_to_its_end(name: str) -> None:
    world = world_of(name)
    for change in converted(world.docs[KIND, ID]):
        world.commit(change)
    for node_id in world.actors:
        world.hand(node_id)
    ended = run(world, ID)
    assert ended.state is ENDS[name]
    served = GOOD if ended.state is RolloutState.SUCCEEDED else OLD
    assert {actor.serving for id, actor in world.actors.items() if id != "tiny"} == {served.manifest_digest}
    assert world.actors["tiny"].serving == OLD.manifest_digest


@pytest.mark.parametrize("name", ENDS)
def test_a_rollout_of_before_is_shown_before_it_is_converted(name: str) -> None:
    [doc] = [doc for doc in docs_of(name) if doc.kind == KIND]
    world = world_of(name)
    rollout = world.rollout(ID)
    given = older_assignments(ID, doc.body)
    assert is_older(doc.body)
    assert rollout.planned == len(doc.body["assignments"])
    assert sum(wave.told for wave in rollout.waves) == sum(a.touched for a in given)
    assert [(rule.rule, rule.nodes) for rule in rollout.refused] == ([] if name == "measuring" else [("fits-budget", 1)])


async def test_it_is_converted_once_and_a_second_time_without_harm(ledger: Ledger) -> None:
    docs = docs_of("promoted")
    await ledger.commit(Change(tuple(Write(doc.kind, doc.id, doc.body, 0) for doc in docs)))
    async with following(ledger) as fleet:
        half = converted(next(doc for doc in docs if doc.kind == KIND))[0]
        await ledger.commit(half)  # a coordinator that was killed after it
        assert await convert_older(ledger, fleet.view, None) == 1
        assert await convert_older(ledger, fleet.view, None) == 0
        given = fleet.assignment(ID, "n3")
        assert given is not None
        assert given.state is AssignmentState.COMMITTED
    states = [doc.body["state"] async for doc in assignment_docs(ledger, ID)]
    assert sorted(states) == [*["COMMITTED"] * 6, "REFUSED"]
