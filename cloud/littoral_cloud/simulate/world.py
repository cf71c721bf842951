"""One simulation: a fleet is drawn, the coordinator starts, the scenario happens, until every rollout has ended and the fleet has
settled, or until its hours are over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping

import numpy as np

from littoral import PROTOCOL_VERSION
from littoral.digest import digest_of
from littoral.errors import BadInput
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.profile import PRESENCE, PROFILE, stored
from littoral_cloud.fleet.records import (
    Artifact,
    Desired,
    DesiredModel,
    Enrolment,
    Node,
    Presence,
    Release,
    dump,
    load,
)
from littoral_cloud.fleet.turns import WELCOMES_A_SECOND
from littoral_cloud.rollouts.commands import start_rollout
from littoral_cloud.rollouts.state import ENDED, KIND, Rollout
from littoral_cloud.simulate.books import Books
from littoral_cloud.simulate.coordinator import SimulatedCoordinator
from littoral_cloud.simulate.memory_ledger import MemoryLedger
from littoral_cloud.simulate.node import SimulatedNode
from littoral_cloud.simulate.outcome import Course, FleetOutcome, fleet_outcome
from littoral_cloud.simulate.population import NodeTraits, population
from littoral_cloud.simulate.scenario import PlannedRollout, Scenario, SimulatedArtifact
from littoral_cloud.simulate.surroundings import Surroundings
from littoral_cloud.simulate.virtual_loop import run_virtually

MODEL = "simulated"
MIDNIGHT = 1_767_225_600.0
"""2026-01-01 00:00 UTC: the day on which every simulation starts."""
SETTLED_LOOK_S = 60.0


class World:
    """Args:
    seed: of the fleet and of everything that happens to it.
    progress: called with the share of the scenario's hours that is over, now and then.
    """

    def __init__(self, scenario: Scenario, seed: int, progress: Callable[[float], None] = lambda share: None) -> None:
        self.scenario = scenario
        self.started_at = MIDNIGHT + scenario.starts_s
        self.rng = random.Random(seed)  # noqa: S311 - a simulation
        self.draws = np.random.default_rng(seed)
        self.artifacts: Mapping[str, SimulatedArtifact] = {manifest_of(each.name): each for each in scenario.artifact}
        self.books = Books(frozenset(digest for digest, each in self.artifacts.items() if each.bad))
        self.traits = list(population(scenario, self.rng))
        self._seed = seed
        self._progress = progress
        self._ids: list[tuple[str, PlannedRollout]] = []  # of rollouts that were started

    def run(self) -> FleetOutcome:
        """Raises what starting a rollout raises: the scenario asks for one that is refused."""
        return run_virtually(self._run(), self.started_at)

    async def _run(self) -> FleetOutcome:
        loop = asyncio.get_running_loop()
        ledger = MemoryLedger(loop.time)
        await self._enrolled(ledger)
        scenario, started = self.scenario, self.started_at
        coordinator = SimulatedCoordinator(ledger, loop.time, self.rng, heartbeat_s=scenario.heartbeat_s, nodes=len(self.traits))
        restarts = sorted((started + each.at_s, each.down_s) for each in scenario.restart)
        async with asyncio.TaskGroup() as tasks:
            around = Surroundings(MODEL, coordinator, self.artifacts, self.books, loop.time, self.rng, self.draws, tasks)
            everything = [tasks.create_task(coordinator.run(restarts))]
            everything += [tasks.create_task(self._live(traits, around)) for traits in self.traits]
            await self._unfold(ledger)
            for task in everything:
                task.cancel()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        ended = loop.time()
        for traits in self.traits:
            self.books.settle(traits.node_id, ended)
        courses = [await self._course(ledger, id, planned) for id, planned in self._ids]
        return fleet_outcome(self._seed, scenario.nodes, ended - started, courses, self.books, scenario.heartbeat_s)

    async def _course(self, ledger: MemoryLedger, id: str, planned: PlannedRollout) -> Course:
        return Course(
            id=id,
            record=await _rollout(ledger, id),
            artifacts={manifest_of(name): name for name in planned.artifacts},
            nodes=len(self.traits),
            lines=[(at, line) for at, line in ledger.lines() if line.subject == id],
        )

    async def _live(self, traits: NodeTraits, around: Surroundings) -> None:
        await asyncio.sleep(self.rng.uniform(0.0, len(self.traits) / WELCOMES_A_SECOND))  # they do not begin in one moment
        await SimulatedNode(traits, self._served, around).run()

    @property
    def _served(self) -> str:
        return next((digest for digest, each in self.artifacts.items() if each.serving), "")

    async def _unfold(self, ledger: MemoryLedger) -> None:
        """Starts each rollout in its time, and waits for the end."""
        loop = asyncio.get_running_loop()
        over = self.started_at + self.scenario.hours * 3_600.0
        planned = sorted(self.scenario.rollout, key=lambda each: each.at_s)
        for number, each in enumerate(planned, 1):
            await self._wait(min(self.started_at + each.at_s, over))
            if loop.time() >= over:
                break
            self._ids.append((await self._start(ledger, each, number), each))
        while loop.time() < over:
            states = [(await _rollout(ledger, id)).state for id, _ in self._ids]
            if all(state in ENDED for state in states) and not self.books.serving_bad:
                break
            await self._wait(min(loop.time() + SETTLED_LOOK_S, over))

    async def _wait(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(left, SETTLED_LOOK_S))
            self._progress((loop.time() - self.started_at) / (self.scenario.hours * 3_600.0))

    async def _start(self, ledger: MemoryLedger, planned: PlannedRollout, number: int) -> str:
        now = asyncio.get_running_loop().time()
        release = Release(
            release_id=f"{MODEL}-{number}",
            model=MODEL,
            kind="manual",
            artifacts=tuple(manifest_of(name) for name in planned.artifacts),
            created_at=now,
        )
        await ledger.commit(Change((Write("release", release.release_id, dump(release), 0),)))
        try:
            return await start_rollout(ledger, release, now, planned.asked, large_first_wave=planned.large_first_wave)
        except BadInput as error:
            hint = f"{error.hint}; --yes is large_first_wave = true in a scenario" if "--yes" in error.hint else error.hint
            raise BadInput(f"rollout at {planned.at_s:g} s: {error.message}", hint=hint) from error

    async def _enrolled(self, ledger: MemoryLedger) -> None:
        """What the ledger has of a fleet that has been there for a while: who is enrolled, what each node is and should serve."""
        for digest, each in self.artifacts.items():
            artifact = Artifact(
                manifest_digest=digest,
                model=MODEL,
                name=each.name,
                runtime="onnxruntime",
                accuracy=each.accuracy,
                artifact_bytes=each.bytes,
                parameters=1,
                architecture={},
            )
            await ledger.commit(Change((Write("artifact", digest, dump(artifact), 0),)))
        served = self._served
        desired = Desired(models={MODEL: DesiredModel(manifest_digest=served, rollout_id="", generation=1)} if served else {})
        body = dump(desired)
        for traits in self.traits:
            node = Node(
                node_id=traits.node_id,
                name=traits.name,
                enrolment=Enrolment.ACCEPTED,
                public_key_sha256="",
                certificate_sha256="",
                certificate_expires_at=float(2**40),
                enrolled_at=0.0,
            )
            presence = Presence(
                connected=False,
                since=self.started_at - 3_600.0,
                boot_id="",
                agent_version="simulated",
                protocol_version=PROTOCOL_VERSION,
                hardware_class=traits.group.hardware_class,
                runtimes=("onnxruntime",),
                labelled_examples={MODEL: traits.group.labelled},
                update_window=traits.group.update_window,
                time_zone=traits.zone_name,
            )
            session, profile = stored(presence)
            docs = (("node", dump(node)), (PRESENCE, session), (PROFILE, profile), ("desired", body))
            await ledger.commit(Change(tuple(Write(kind, traits.node_id, each, 0) for kind, each in docs)))


async def _rollout(ledger: MemoryLedger, id: str) -> Rollout:
    doc = await ledger.get(KIND, id)
    assert doc is not None
    return load(Rollout, doc)


def manifest_of(name: str) -> str:
    return digest_of(name.encode())
