"""The demo's coordinator and nodes as processes, their streams of requests, and a watch on the nodes' memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from littoral.errors import FleetError
from littoral.process.command import Command, run_to_end, script
from littoral_cloud.data.dataset import Examples
from littoral_cloud.demo.participants import PROBATION_S, REQUESTS_PER_SECOND, DemoMachine
from littoral_cloud.demo.traffic import RequestStream
from littoral_cloud.terminal.output import Format

MOST_BYTES = 64_000_000
"""Of the images of one stream."""

SAMPLE_S = 0.5
"""Seconds between two looks at the agents' memory."""


@dataclass(slots=True)
class NodeProcess:
    """One node of the demo, its stream of requests and the largest memory of its agent."""

    machine: DemoMachine
    folder: Path
    model: str
    node_id: str = ""
    url: str = ""
    child: Command | None = None
    stream: RequestStream | None = None
    peak_rss: int = 0
    shard: Examples | None = None


@dataclass(slots=True)
class Processes:
    """All of the demo's processes; `close` ends every one, in any state."""

    out: Path
    clock: Callable[[], float]
    model: str
    coordinator: Command | None = None
    nodes: dict[str, NodeProcess] = field(default_factory=dict)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def cloud_dir(self) -> Path:
        return self.out / "cloud"

    def labelled_dir(self, name: str) -> Path:
        return self.out / "labelled" / name

    @property
    def measure_lock(self) -> Path:
        return self.out / "measure.lock"

    async def start_coordinator(self, *, loop: bool) -> None:
        """`loop`: the coordinator starts federated runs and releases by itself when it sees drift."""
        command = [
            *(script("littoral-cloud"), "serve"),
            *("--enrolment-port", "0", "--fleet-port", "0", "--api-port", "0"),
            *("--heartbeat-interval", "2", "--telemetry-interval", "1", "--format", Format.JSON),
            *(["--auto-loop"] if loop else []),
        ]
        log = self.out / "logs" / "coordinator.log"
        self.coordinator = await Command.start("coordinator", command, log, self._cloud_environment)
        await self.coordinator.ready_line()

    async def page_link(self) -> str:
        """Signs in to the page, once, within a quarter of an hour."""
        command = [script("littoral-cloud"), "page", "--ttl", "15m"]
        return (await run_to_end("page", command, self.out / "logs" / "coordinator.log", self._cloud_environment)).strip()

    @property
    def _cloud_environment(self) -> dict[str, str]:
        return {"LITTORAL_DATA_DIR": str(self.cloud_dir), "LITTORAL_PROBATION_S": str(PROBATION_S)}

    async def join(self, machine: DemoMachine) -> NodeProcess:
        """Creates a token, enrols one node and starts it, each by the command that a user would type."""
        log = self.out / "logs" / f"{machine.name}.log"
        node = self.nodes[machine.name] = NodeProcess(machine, self.out / "nodes" / machine.name, self.model)
        labelled = self.labelled_dir(machine.name)
        labelled.mkdir(parents=True, exist_ok=True)
        token = [script("littoral-cloud"), "token", "create", "--name", machine.name]
        line = await run_to_end("token", token, log, self._cloud_environment)
        agent = script("littoral-node")
        data = ["--data", str(node.folder)]
        await run_to_end("enroll", [agent, "enroll", line, "--name", machine.name, *data], log)
        node.child = await Command.start(
            machine.name,
            [
                *(agent, "run", *data, "--http", "127.0.0.1:0", "--format", "json"),
                *("--budget", machine.budget, "--labelled", str(labelled), "--measure-lock", str(self.measure_lock)),
            ],
            log,
        )
        ready = json.loads(await node.child.ready_line())
        node.node_id, node.url = ready["node_id"], f"http://{ready['http']}"
        return node

    def start_streams(self, test: Examples, shards: Mapping[str, Examples], seed: int) -> None:
        """Starts a stream of test images to each node, in the class proportions of that node's shard."""
        for index, (name, node) in enumerate(self.nodes.items()):
            rng = np.random.default_rng((seed, index))
            node.shard = shards[name]
            chosen = _like(test, node.shard, rng)
            url = f"{node.url}/v2/models/{self.model}/infer"
            node.stream = RequestStream(url, chosen.x, chosen.y, REQUESTS_PER_SECOND, rng, self.clock)
            self.tasks.append(asyncio.create_task(node.stream.run(self.stop), name=f"stream to {name}"))

    def turn(self, node: NodeProcess, test: Examples) -> None:
        """Sends these images to a node from now on, in the same class proportions as before."""
        assert node.stream is not None
        assert node.shard is not None
        chosen = _like(test, node.shard, np.random.default_rng(len(test.y)))
        node.stream.exchange(chosen.x, chosen.y)

    def start_watch(self) -> None:
        self.tasks.append(asyncio.create_task(self._watch(), name="watch"))

    async def _watch(self) -> None:
        """Records the largest resident memory of each agent. Raises FleetError when an agent has ended."""
        while not self.stop.is_set():
            for node in self.nodes.values():
                if node.child is not None:
                    node.peak_rss = max(node.peak_rss, node.child.rss_bytes())
                    if not node.child.running:
                        raise FleetError(f"{node.machine.name}: its agent ended by itself: {node.child.last_words()}")
            try:
                async with asyncio.timeout(SAMPLE_S):
                    await self.stop.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        self.stop.set()
        ended = await asyncio.gather(*self.tasks, return_exceptions=True)
        children = [node.child for node in self.nodes.values() if node.child is not None]
        await asyncio.gather(*(child.end() for child in children))
        if self.coordinator is not None:
            await self.coordinator.end()
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome


def _like(test: Examples, shard: Examples, rng: np.random.Generator) -> Examples:
    """Test examples in the class proportions of a shard."""
    share = np.bincount(shard.y, minlength=int(test.y.max()) + 1).astype(np.float64)
    weights = share[test.y] / np.maximum(np.bincount(test.y, minlength=len(share))[test.y], 1)
    many = min(4_000, max(1, MOST_BYTES // test.x[0].nbytes))
    index = rng.choice(len(test.y), size=many, p=weights / weights.sum())
    return Examples(test.x[index], test.y[index])


@asynccontextmanager
async def running(out: Path, clock: Callable[[], float], model: str) -> AsyncIterator[Processes]:
    processes = Processes(out, clock, model)
    try:
        yield processes
    finally:
        await processes.close()
