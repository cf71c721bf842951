"""The controller over a real Redis: woken by announcements, killed and replaced in the middle, fenced."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from littoral.errors import BadInput, Conflict, LostLease, NotFound
from littoral_cloud.fleet.controller import MAX_SLEEP_S
from littoral_cloud.fleet.ledger import Change, Fence, Ledger, Write
from littoral_cloud.fleet.measurements import MeasurementRecord, measurement_id
from littoral_cloud.fleet.records import (
    Desired,
    Enrolment,
    Node,
    Presence,
    Release,
    Reported,
    ReportedModel,
    UpdateState,
    dump,
    load,
)
from littoral_cloud.rollouts.back import go_back, releases_in_force, serving_nodes, withdraw_everywhere
from littoral_cloud.rollouts.commands import read_rollout, start_rollout, wait
from littoral_cloud.rollouts.controller import Controller
from littoral_cloud.rollouts.state import RolloutPolicy, RolloutState
from littoral_cloud.rollouts.steering import abort
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.redis_ledger import RedisLedger
from tests.kit.patience import PATIENCE_S
from tests.kit.rollout_world import MODEL, artifact
from tests.kit.view import following

pytest_plugins = ("tests.kit.redis",)

NOW = time.time  # noqa: TID251 - the shell of a test
GOOD, OLD = artifact("good", accuracy=0.99), artifact("old")
NODES = ("a", "b", "c")


class NodeActor:
    """A node that does at once what is wanted of it, and says so; through a ledger of its own."""

    def __init__(self, ledger: Ledger, node_id: str, bad: frozenset[str] = frozenset()) -> None:
        self.ledger, self.node_id, self.bad = ledger, node_id, bad
        self.serving, self.previous, self.done, self.said = OLD.manifest_digest, "", 0, 0
        self.asked: list[str] = []

    async def run(self) -> None:
        await self._say(UpdateState.SUCCEEDED, OLD.manifest_digest, 0)
        async with self.ledger.watch("desired") as news:
            while True:
                await self._look()
                await anext(news)

    async def _look(self) -> None:
        doc = await self.ledger.get("desired", self.node_id)
        desired = load(Desired, doc) if doc else Desired()
        for digest in desired.benchmarks:
            record = MeasurementRecord(
                manifest_digest=digest, node_id=self.node_id, hardware_class="c", p95_ms=1.0, peak_rss_bytes=1, samples=1
            )
            await self.ledger.commit(Change((Write("measurement", measurement_id(digest, self.node_id), dump(record), None),)))
        wanted = desired.models.get(MODEL)
        if wanted is None or wanted.generation <= self.done:
            return
        self.done = wanted.generation
        self.asked.append(wanted.manifest_digest)
        if wanted.manifest_digest in self.bad:
            await self._say(UpdateState.ROLLED_BACK, wanted.manifest_digest, wanted.generation)
            return
        if wanted.manifest_digest != self.serving:
            self.serving, self.previous = wanted.manifest_digest, self.serving
        await self._say(UpdateState.SUCCEEDED, wanted.manifest_digest, wanted.generation)

    async def _say(self, state: UpdateState, target: str, generation: int) -> None:
        self.said += 1
        model = ReportedModel(
            state=state,
            desired_generation=generation,
            target=target,
            serving=self.serving,
            previous=self.previous,
            reason="" if state is UpdateState.SUCCEEDED else "accuracy-drop",
        )
        body = Reported(generation=self.said, observed_generation=0, models={MODEL: model})
        await self.ledger.commit(Change((Write("reported", self.node_id, dump(body), None),)))


async def put(ledger: Ledger, kind: str, id: str, record: object) -> None:
    await ledger.commit(Change((Write(kind, id, dump(record), None),)))


@asynccontextmanager
async def running(work: object) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work)  # type: ignore[arg-type]
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def release(ledger: Ledger) -> Release:
    for each in (GOOD, OLD):
        await put(ledger, "artifact", each.manifest_digest, each)
    made = Release(release_id="digits-1", model=MODEL, kind="manual", artifacts=(GOOD.manifest_digest,), created_at=NOW())
    await put(ledger, "release", made.release_id, made)
    for node_id in NODES:
        node = Node(
            node_id=node_id,
            name=node_id,
            enrolment=Enrolment.ACCEPTED,
            public_key_sha256="",
            certificate_sha256="",
            certificate_expires_at=4e9,
            enrolled_at=0.0,
        )
        presence = Presence(
            connected=True,
            since=NOW(),
            boot_id="",
            agent_version="",
            protocol_version=1,
            features=(),
            hardware={},
            hardware_class="c",
            runtimes=("onnxruntime",),
            budgets={},
            labelled_examples={},
        )
        await put(ledger, "node", node_id, node)
        await put(ledger, "presence", node_id, presence)
    return made


@pytest.fixture
async def fleet(ledger: Ledger, release: Release) -> AsyncIterator[list[NodeActor]]:
    nodes = [NodeActor(ledger, node_id) for node_id in NODES]
    tasks = [asyncio.create_task(node.run()) for node in nodes]
    yield nodes
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def control(ledger: Ledger) -> None:
    """Until it is cancelled."""
    async with following(ledger) as fleet:
        await Controller(ledger, fleet, NOW, random.Random(1)).run()


async def advance(ledger: Ledger, fence: Fence | None) -> None:
    async with following(ledger) as fleet:
        await Controller(ledger, fleet, NOW, random.Random(1)).advance(fence)


async def test_a_rollout_runs_from_announcement_to_announcement(ledger: Ledger, release: Release, fleet: list[NodeActor]) -> None:
    async with running(control(ledger)), asyncio.timeout(PATIENCE_S):
        rollout = await wait(ledger, await start_rollout(ledger, release, NOW()))
    assert rollout.state is RolloutState.SUCCEEDED
    assert [wave.told for wave in rollout.waves] == [1, 2]
    assert {node.serving for node in fleet} == {GOOD.manifest_digest}
    actions = [line.action for line in await ledger.audit()]
    assert actions == ["rollout.started", "rollout.wave-started", "rollout.wave-started", "rollout.promoted"]


async def test_a_bad_release_reaches_the_canary_alone(ledger: Ledger, release: Release, fleet: list[NodeActor]) -> None:
    for node in fleet:
        node.bad = frozenset({GOOD.manifest_digest})
    async with running(control(ledger)), asyncio.timeout(PATIENCE_S):
        rollout = await wait(ledger, await start_rollout(ledger, release, NOW(), RolloutPolicy(canary="b")))
    assert (rollout.state, rollout.reason) == (RolloutState.ROLLED_BACK, "b: ROLLED_BACK: accuracy-drop")
    assert {node.node_id: node.asked for node in fleet} == {
        "a": [],
        "b": [GOOD.manifest_digest, OLD.manifest_digest],
        "c": [],
    }


async def test_a_coordinator_that_dies_after_any_step_is_followed_by_one_that_goes_on(
    redis_endpoint: Endpoint, fleet_name: str, ledger: Ledger, release: Release, fleet: list[NodeActor]
) -> None:
    """Every step of the rollout by a controller of its own, on a connection of its own, cancelled after one commit."""
    id = await start_rollout(ledger, release, NOW())
    lives = 0
    async with asyncio.timeout(PATIENCE_S):
        while (await read_rollout(ledger, id))[1].state is not RolloutState.SUCCEEDED:
            lives += 1
            async with RedisLedger.open(redis_endpoint, NOW, fleet=fleet_name) as own:
                before = (await read_rollout(own, id))[0].generation
                async with running(control(own)), own.watch("rollout") as news:
                    while (await read_rollout(own, id))[0].generation == before:
                        await anext(news)
    assert lives >= 2
    assert {node.serving for node in fleet} == {GOOD.manifest_digest}
    assert [line.action for line in await ledger.audit()].count("rollout.promoted") == 1


async def test_a_controller_whose_lease_went_to_another_writes_nothing(ledger: Ledger, release: Release) -> None:
    id = await start_rollout(ledger, release, NOW())
    async with ledger.lease("rollouts") as old:
        pass
    async with ledger.lease("rollouts"):
        with pytest.raises(LostLease):
            await advance(ledger, old)
    assert (await read_rollout(ledger, id))[1].state is RolloutState.PENDING


async def test_an_operator_stops_a_rollout_whose_node_does_not_answer(ledger: Ledger, release: Release) -> None:
    async with running(control(ledger)), asyncio.timeout(MAX_SLEEP_S / 2):  # it is woken by what was announced, not by a clock
        id = await start_rollout(ledger, release, NOW(), RolloutPolicy(nodes=("a",)))
        async with ledger.watch("rollout") as news:
            while (await read_rollout(ledger, id))[1].state is not RolloutState.MEASURING:
                await anext(news)
        await abort(ledger, id, "ann")
        rollout = await wait(ledger, id)
    assert (rollout.state, rollout.reason) == (RolloutState.ROLLED_BACK, "aborted by ann")
    with pytest.raises(BadInput, match="is ROLLED_BACK already"):
        await abort(ledger, id, "ann")


async def test_one_rollout_that_cannot_go_on_does_not_hold_up_the_others(
    ledger: Ledger, release: Release, fleet: list[NodeActor]
) -> None:
    lost = Release(release_id="faces-1", model="faces", kind="manual", artifacts=("x",), created_at=NOW())
    await start_rollout(ledger, lost, NOW())  # its release is nowhere
    async with running(control(ledger)), asyncio.timeout(PATIENCE_S):
        rollout = await wait(ledger, await start_rollout(ledger, release, NOW()))
    assert rollout.state is RolloutState.SUCCEEDED


async def test_what_cannot_be_started_is_refused(ledger: Ledger, release: Release) -> None:
    with pytest.raises(BadInput, match="wave_sizes"):
        await start_rollout(ledger, release, NOW(), RolloutPolicy(wave_sizes=(0,)))
    with pytest.raises(BadInput, match="not enrolled"):
        await start_rollout(ledger, release, NOW(), RolloutPolicy(canary="z"))
    with pytest.raises(BadInput, match="not among"):
        await start_rollout(ledger, release, NOW(), RolloutPolicy(canary="a", nodes=("b",)))
    with pytest.raises(NotFound):
        await read_rollout(ledger, "digits-1-r7")
    assert [await start_rollout(ledger, release, NOW()) for _ in range(2)] == ["digits-1-r1", "digits-1-r2"]
    with pytest.raises(Conflict):
        await start_rollout(ledger, release, NOW(), number=1)


async def test_going_back_gives_every_node_the_release_that_passed_before(
    ledger: Ledger, release: Release, fleet: list[NodeActor]
) -> None:
    worse = artifact("worse", accuracy=0.5)
    await put(ledger, "artifact", worse.manifest_digest, worse)
    first = replace(release, release_id="digits-0", artifacts=(worse.manifest_digest,), created_at=NOW())
    await put(ledger, "release", first.release_id, first)
    async with running(control(ledger)), asyncio.timeout(PATIENCE_S):
        for each in (first, release):
            assert (
                await wait(ledger, await start_rollout(ledger, each, NOW(), RolloutPolicy(max_accuracy_loss=1.0)))
            ).state is RolloutState.SUCCEEDED
        withdrawn, stopped = await withdraw_everywhere(ledger, release.release_id, "blind to sevens", "ada")
        assert (withdrawn.withdrawn, stopped) == ("blind to sevens", ())
        assert await serving_nodes(ledger, withdrawn) == list(NODES)
        assert await releases_in_force(ledger) == {MODEL: first}
        back = await wait(ledger, await go_back(ledger, MODEL, NOW(), actor="ada"))
    assert (back.release_id, back.state) == (first.release_id, RolloutState.SUCCEEDED)
    assert {node.serving for node in fleet} == {worse.manifest_digest}
    with pytest.raises(BadInput, match="was withdrawn: blind to sevens"):
        await start_rollout(ledger, release, NOW())
    with pytest.raises(NotFound, match="no release before digits-0"):
        await go_back(ledger, MODEL, NOW())
    actions = [line.action for line in await ledger.audit()]
    assert "release.withdrawn" in actions


async def test_withdrawing_a_release_stops_its_rollouts(ledger: Ledger, release: Release) -> None:
    rollout_id = await start_rollout(ledger, release, NOW())
    _, stopped = await withdraw_everywhere(ledger, release.release_id, "by mistake", "ada")
    assert stopped == (rollout_id,)
    await advance(ledger, None)
    _, rollout = await read_rollout(ledger, rollout_id)
    assert (rollout.state, rollout.reason) == (RolloutState.ROLLED_BACK, "aborted by ada")
    with pytest.raises(BadInput, match="was withdrawn already"):
        await withdraw_everywhere(ledger, release.release_id, "again", "ada")


async def test_after_going_back_the_older_release_is_the_one_in_force(
    ledger: Ledger, release: Release, fleet: list[NodeActor]
) -> None:
    older = replace(release, release_id="digits-0", artifacts=(OLD.manifest_digest,), created_at=release.created_at - 1)
    await put(ledger, "release", older.release_id, older)
    assert await releases_in_force(ledger) == {MODEL: release}
    async with running(control(ledger)), asyncio.timeout(PATIENCE_S):
        await wait(ledger, await start_rollout(ledger, release, NOW()))
        await wait(ledger, await go_back(ledger, MODEL, NOW(), to=older.release_id))
    assert await releases_in_force(ledger) == {MODEL: older}
