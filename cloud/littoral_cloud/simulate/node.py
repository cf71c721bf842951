"""A simulated node: its machine is drawn, its update and its reconnecting are the agent's own code (agent.py).

Two tasks: `run` is switched on and off and keeps a session; updates.py performs the update under way, one step after another. A
report is sent when the node waits next, so that states which follow in the same moment are one message.
"""

from __future__ import annotations

import asyncio

from littoral import PROTOCOL_VERSION
from littoral_cloud.fleet.measurements import MeasurementRecord
from littoral_cloud.fleet.records import Desired, Presence, Reported
from littoral_cloud.simulate.agent import RECENT_S, next_attempt, pause_s
from littoral_cloud.simulate.coordinator import Admitted, SentAway
from littoral_cloud.simulate.downloads import Downloads
from littoral_cloud.simulate.population import NodeTraits
from littoral_cloud.simulate.scenario import DAY_S
from littoral_cloud.simulate.surroundings import Surroundings
from littoral_cloud.simulate.updates import SimulatedUpdates

MEASURING_S = 10.0
"""That a node takes to measure one candidate, about."""


class SimulatedNode:
    def __init__(self, traits: NodeTraits, serving: str, around: Surroundings) -> None:
        self.traits = traits
        self._around = around
        self._boot_id = ""
        self._generation = 0  # of its reports
        self._unsent = True
        self._seen = -1  # generation of the desired state
        self._measuring: set[str] = set()
        self._online = asyncio.Event()
        self._ended = asyncio.Event()  # the session
        self._downloads = Downloads(around, traits.down_bytes_s, self._online, self._ended)
        self._updates = SimulatedUpdates(traits, serving, around, self._downloads, self._online, self._changed, self._send)

    @property
    def node_id(self) -> str:
        return self.traits.node_id

    # -- its session -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        clock = self._around.clock
        while True:
            await asyncio.sleep(self.traits.until_awake_s(clock()))
            self._boot()
            asleep_s = self.traits.until_asleep_s(clock())
            try:
                async with asyncio.timeout(asleep_s):
                    await self._keep_session()
            except TimeoutError:
                await self._switch_off()

    def _boot(self) -> None:
        self._boot_id = f"{self._around.rng.getrandbits(128):032x}"
        self._generation = int(self._around.clock() * 1000)
        self._updates.boot()

    async def _switch_off(self) -> None:
        self._updates.switch_off()
        if self._online.is_set():
            self._online.clear()
            await self._around.coordinator.silent(self, at_once=True)

    async def _keep_session(self) -> None:
        attempt, spread_s, lost_at = -1, 0.0, -RECENT_S
        clock, books, rng = self._around.clock, self._around.books, self._around.rng
        while True:
            began = clock()
            answer = await self._around.coordinator.hello(self, self._presence())
            books.messages["hello"] += 1
            welcomed = isinstance(answer, Admitted)
            away_s = 0.0
            if isinstance(answer, SentAway):
                books.unanswered += answer.after_s is None
                books.sent_away += answer.after_s is not None
            else:
                away_s = await self._session(answer)
                spread_s, lost_at = answer.spread_s, clock()
            lasted = isinstance(answer, Admitted) and clock() - began >= answer.heartbeat_s
            attempt = next_attempt(attempt, welcomed=welcomed, lasted=lasted)
            if away_s:  # its link is down: it tries again all the time, in vain
                await asyncio.sleep(away_s)
            after_s = None if isinstance(answer, Admitted) else answer.after_s
            await asyncio.sleep(pause_s(attempt, after_s, rng, spread_s, lost_s=clock() - lost_at, again=not welcomed))

    async def _session(self, admitted: Admitted) -> float:
        """Until it ends. Gives for how long the node's link is down now; seconds."""
        around, group = self._around, self.traits.group
        began = around.clock()
        self._ended.clear()
        self._online.set()
        around.books.sessions += 1
        self.wanted(admitted.generation, admitted.desired)
        self._unsent = True
        await self._send()
        up_s = around.rng.expovariate(group.drops_per_day / DAY_S) if group.drops_per_day else None
        try:
            async with asyncio.timeout(up_s):
                await self._ended.wait()
        except TimeoutError:
            around.tasks.create_task(around.coordinator.silent(self, at_once=False))
            return around.rng.expovariate(1 / group.drop_lasts_s)
        finally:
            self._online.clear()
            self._ended.set()
            around.books.session_s += around.clock() - began
        return 0.0

    def cut(self) -> None:
        self._ended.set()

    def _presence(self) -> Presence:
        group = self.traits.group
        return Presence(
            connected=True,
            since=self._around.clock(),
            boot_id=self._boot_id,
            agent_version="simulated",
            protocol_version=PROTOCOL_VERSION,
            hardware_class=group.hardware_class,
            runtimes=("onnxruntime",),
            labelled_examples={self._around.model: group.labelled},
            update_window=group.update_window,
            time_zone=self.traits.zone_name,
        )

    async def _send(self) -> None:
        """Its report, where it is connected and the report is new."""
        if not self._unsent or not self._online.is_set():
            return
        self._unsent = False
        self._generation += 1
        self._around.books.messages["reported"] += 1
        said = Reported(
            generation=self._generation,
            observed_generation=max(0, self._seen),
            models={self._around.model: self._updates.reported()},
            boot_id=self._boot_id,
        )
        await self._around.coordinator.reported(self.node_id, said)

    def _changed(self) -> None:
        self._unsent = True

    # -- what is desired of it -------------------------------------------------------------------------------------

    def wanted(self, generation: int, desired: Desired) -> None:
        if generation <= self._seen:
            return
        self._seen, self._unsent = generation, True
        self._around.books.messages["desired"] += 1
        for digest in desired.benchmarks:
            if digest not in self._measuring and digest in self._around.artifacts:
                self._measuring.add(digest)
                self._around.tasks.create_task(self._measure(digest))
        wanted = desired.models.get(self._around.model)
        if wanted is None:
            return
        self._updates.wanted(wanted)

    async def _measure(self, digest: str) -> None:
        artifact = self._around.artifacts[digest]
        while not await self._downloads.fetch(digest):
            await self._online.wait()
        await asyncio.sleep(MEASURING_S * self._around.rng.uniform(0.5, 1.5))
        works = self._around.rng.random() >= artifact.load_fails
        found = MeasurementRecord(
            manifest_digest=digest,
            node_id=self.node_id,
            hardware_class=self.traits.group.hardware_class,
            failure="" if works else "runtime-failure",
            p95_ms=artifact.p95_ms,
            samples=100,
            measured_at=self._around.clock(),
        )
        await self._online.wait()
        self._around.books.messages["measurement"] += 1
        await self._around.coordinator.measured(found)
