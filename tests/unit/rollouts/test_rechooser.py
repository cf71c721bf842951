"""The shell of the choice over a real Redis: woken by what a node says, by a rollout that ends, and never by anything else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from littoral.budget import Budget
from littoral_cloud.fleet import sessions
from littoral_cloud.fleet.hello import note_hello
from littoral_cloud.fleet.ledger import Change, Doc, Fence, Ledger, Write
from littoral_cloud.fleet.records import Desired, Presence, dump, load
from littoral_cloud.rollouts.rechoice_controller import Rechooser
from littoral_cloud.rollouts.seen_fleet import SeenFleet
from littoral_cloud.rollouts.state import KIND, Rollout, RolloutState
from tests.kit.fleet import until_written
from tests.kit.patience import PATIENCE_S
from tests.kit.rollout_world import MODEL, World, artifact
from tests.kit.view import following
from tests.unit.rollouts.test_rechoice import BEST, CHEAP, NARROW, WIDE, released, wanted

pytest_plugins = ("tests.kit.redis",)


async def copied(world: World, ledger: Ledger) -> None:
    await ledger.commit(Change(tuple(Write(doc.kind, doc.id, doc.body, None) for doc in world.docs.values())))


@asynccontextmanager
async def choosing(ledger: Ledger) -> AsyncIterator[None]:
    async with following(ledger) as fleet:
        task = asyncio.create_task(Rechooser(ledger, fleet, lambda: 1_000.0, random.Random(1)).run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


class Choosing:
    """A rechooser that is called, instead of woken."""

    def __init__(self, ledger: Ledger, fleet: SeenFleet, clock: Callable[[], float]) -> None:
        self._fleet = fleet
        self._rechooser = Rechooser(ledger, fleet, clock, random.Random(1))

    async def choose_for(self, node_ids: frozenset[str] | None) -> int:
        await self._fleet.view.catch_up()
        return await self._rechooser.choose_for(node_ids, None)


@asynccontextmanager
async def called(ledger: Ledger, clock: Callable[[], float] = lambda: 1_000.0) -> AsyncIterator[Choosing]:
    async with following(ledger) as fleet:
        yield Choosing(ledger, fleet, clock)


async def until_wanted(ledger: Ledger, node_id: str, digest: str) -> Desired:
    async with asyncio.timeout(PATIENCE_S), ledger.watch("desired") as news:
        while True:
            doc = await ledger.get("desired", node_id)
            if doc is not None and (given := load(Desired, doc).models.get(MODEL)) and given.manifest_digest == digest:
                return load(Desired, doc)
            await anext(news)


async def test_what_a_node_says_it_may_spend_changes_what_it_shall_have(ledger: Ledger) -> None:
    world = released(("a", WIDE), ("b", WIDE))
    await copied(world, ledger)
    async with choosing(ledger):
        assert await sessions.note_budgets(ledger, "a", {MODEL: NARROW}, {"in_force": ["battery_low"]})
        desired = await until_wanted(ledger, "a", CHEAP.manifest_digest)
        assert desired.models[MODEL].chosen_for == NARROW
        assert not await sessions.note_budgets(ledger, "a", {MODEL: NARROW}, {"in_force": ["battery_low"]})  # said again
        assert await sessions.note_budgets(ledger, "a", {MODEL: WIDE}, {})
        await until_wanted(ledger, "a", BEST.manifest_digest)
    other = await ledger.get("desired", "b")
    assert other is not None
    assert load(Desired, other).models[MODEL].manifest_digest == BEST.manifest_digest
    said = [(line.action, line.details.get("was"), line.details.get("budget")) for line in await ledger.audit()]
    assert said == [
        ("budget.changed", "", "artifact<=2000B"),
        ("choice.changed", None, "artifact<=2000B"),
        ("budget.changed", "artifact<=2000B", ""),
        ("choice.changed", None, ""),
    ]


async def test_a_node_that_comes_back_with_another_budget_is_chosen_for(ledger: Ledger) -> None:
    world = released(("a", WIDE))
    await copied(world, ledger)
    async with choosing(ledger):
        presence = world.of(Presence, "presence")["a"]
        await note_hello(ledger, "a", replace(presence, budgets={"": NARROW}, boot_id="1" * 32))
        desired = await until_wanted(ledger, "a", CHEAP.manifest_digest)
    assert desired.models[MODEL].chosen_for == NARROW


async def test_the_end_of_a_rollout_is_the_turn_of_the_nodes_that_it_held(ledger: Ledger) -> None:
    world = released(("a", WIDE))
    later = artifact("later", accuracy=0.995, size=40_000)
    id = world.start(world.release(2, later, CHEAP))
    while not any(a.touched for a in world.assignments(id).values()):
        world.control(commits=1)
        world.tick(1.0)
    world.edit("presence", "a", Presence, budgets={MODEL: NARROW})
    await copied(world, ledger)
    async with called(ledger) as rechooser:
        assert await rechooser.choose_for(None) == 0
        assert wanted(world, "a").manifest_digest == later.manifest_digest
        async with choosing(ledger):
            doc = await ledger.get(KIND, id)
            assert doc is not None
            ended = replace(load(Rollout, doc), state=RolloutState.SUCCEEDED, ended_at=world.now)
            await ledger.commit(Change((Write(KIND, id, dump(ended), doc.generation),)))
            await until_wanted(ledger, "a", CHEAP.manifest_digest)


async def test_a_node_that_was_away_when_its_rollout_ended_is_chosen_for_when_it_is_back(ledger: Ledger) -> None:
    world = released(("a", WIDE))
    id = world.start(world.release(2, artifact("later", accuracy=0.995, size=40_000), CHEAP))
    while not any(a.touched for a in world.assignments(id).values()):
        world.control(commits=1)
        world.tick(1.0)
    world.edit("presence", "a", Presence, budgets={MODEL: NARROW})
    await copied(world, ledger)
    async with called(ledger) as rechooser:
        only = frozenset({"a"})
        assert await rechooser.choose_for(only) == 0  # the rollout holds it
        for kind, of, record, fields in (
            ("presence", "a", Presence, {"connected": False}),
            (KIND, id, Rollout, {"state": RolloutState.SUCCEEDED, "ended_at": world.now}),
        ):
            world.edit(kind, of, record, **fields)
        await copied(world, ledger)
        assert await rechooser.choose_for(None) == 0
        world.edit("presence", "a", Presence, connected=True)
        await copied(world, ledger)
        assert await rechooser.choose_for(only) == 1
        await until_wanted(ledger, "a", CHEAP.manifest_digest)


async def test_a_budget_that_goes_to_and_fro_is_followed_each_time(ledger: Ledger) -> None:
    world = released(("a", WIDE))
    await copied(world, ledger)
    only = frozenset({"a"})
    async with called(ledger) as rechooser:
        for _ in range(3):
            for budget, expected in ((NARROW, CHEAP), (WIDE, BEST)):
                assert await sessions.note_budgets(ledger, "a", {MODEL: budget}, {})
                assert await rechooser.choose_for(only) == 1
                await until_wanted(ledger, "a", expected.manifest_digest)
                if budget is NARROW:  # something else of the node was announced
                    assert await rechooser.choose_for(only) == 0


class Beaten:
    """A ledger where somebody else writes once just before the first commit."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.beaten = 0

    async def commit(self, change: Change, *, fence: Fence | None = None) -> object:
        if not self.beaten and any(write.kind == "desired" for write in change.writes):
            self.beaten = 1
            doc: Doc | None = await self._ledger.get("desired", "a")
            assert doc is not None
            desired = replace(load(Desired, doc), benchmarks=("x",))
            await self._ledger.commit(Change((Write("desired", "a", dump(desired), doc.generation),)))
        return await self._ledger.commit(change, fence=fence)

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)


async def test_what_somebody_else_wrote_meanwhile_is_kept(ledger: Ledger) -> None:
    world = released(("a", WIDE))
    world.edit("presence", "a", Presence, budgets={MODEL: NARROW})
    await copied(world, ledger)
    beaten = Beaten(ledger)
    async with called(beaten) as rechooser:  # type: ignore[arg-type]
        assert await rechooser.choose_for(frozenset({"a"})) == 1
    assert beaten.beaten == 1
    desired = load(Desired, await until_written(ledger, "desired", "a"))
    assert (desired.benchmarks, desired.models[MODEL].manifest_digest) == (("x",), CHEAP.manifest_digest)


@pytest.mark.parametrize("budgets", [{MODEL: WIDE}, {"": Budget()}])
async def test_nothing_is_read_again_for_a_node_that_says_the_same(ledger: Ledger, budgets: dict[str, Budget]) -> None:
    world = released(("a", WIDE))
    world.edit("presence", "a", Presence, budgets=budgets)
    await copied(world, ledger)
    async with called(ledger) as rechooser:
        assert await rechooser.choose_for(frozenset({"a"})) == 0
        await ledger.commit(Change((Write("release", f"{MODEL}-1", {"unreadable": True}, None),)))
        assert await rechooser.choose_for(frozenset({"a"})) == 0  # the release was not read
