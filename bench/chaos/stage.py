"""The processes of a run below one folder: coordinators over one Redis, and nodes that reach them through a proxy.

coordinators   127.0.0.2, 127.0.0.3, ...: each with a data folder of its own, and the keys and blobs of the first one
nodes          each with labelled examples; they know the proxy's address, which takes the coordinators in turn
"""

from __future__ import annotations

import getpass
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.chaos.proxy import Proxy, proxied
from bench.chaos.servers import OneServer, SentinelServers, servers
from littoral.manifest import Output
from littoral.process.command import Command, run_to_end, script
from littoral_cloud.app import Core, open_core
from littoral_cloud.commands.tokens import create
from littoral_cloud.commands.use_case import Office
from littoral_cloud.fleet.records import Release
from littoral_cloud.packaging.package import Packaged
from littoral_cloud.releases.catalogue import create_release, publish
from littoral_cloud.settings import load_settings
from littoral_cloud.training.weights import weights_bytes
from littoral_cloud.trust.people import Caller, Role
from tests.kit.models import artifact
from tests.kit.ports import lasting_port

MODEL = "corners"
ROOT = Path(__file__).parents[2]
NODE = script("littoral-node")
CLOUD_DISK, NODE_DISK = "96m", "48m"
SIDE, SQUARE = 12, 5
CORNERS = ((0, 0), (0, 7), (7, 0))
LABELS = ("top left", "top right", "bottom left")


def corners(seed: int, count: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """A square in one of three corners of 12 x 12 pixels: learnt in a moment. (n, 12, 12) uint8 and (n,) int64."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(CORNERS), count)
    x = rng.integers(0, 60, (count, SIDE, SIDE)).astype(np.uint8)
    for image, label in zip(x, y, strict=True):
        row, column = CORNERS[label]
        image[row : row + SQUARE, column : column + SQUARE] += 180
    return x, y.astype(np.int64)


def known_corners(folder: Path, runtime: str) -> tuple[Packaged, bytes]:
    """A linear model that compares how bright the corners are: nothing has to be trained. And its weights, safetensors bytes."""
    used = np.zeros((SIDE, SIDE, len(CORNERS)), np.float32)
    for label, (row, column) in enumerate(CORNERS):
        used[row : row + SQUARE, column : column + SQUARE, label] = 1.0
    flat = used.reshape(-1, len(CORNERS))
    manifest = artifact(
        folder, runtime, used=flat, shape=(1, SIDE, SIDE), classes=len(CORNERS), model=MODEL, name=f"linear-{runtime}"
    )
    manifest = replace(manifest, output=Output("logits", LABELS), accuracy=1.0)
    arrays = {"classify.weight": flat.T, "classify.bias": np.zeros(len(CORNERS), np.float32)}
    return Packaged(manifest, {file.path: (folder / file.path).read_bytes() for file in manifest.files}), weights_bytes(arrays)


@dataclass
class ChaosNode:
    """One node. `asked`: requests that it answered; `sure`: those of them that the cloud must count sooner or later."""

    name: str
    child: Command | None = None
    id: str = ""
    address: str = ""
    asked: int = 0
    sure: int = 0
    counted: int = 0  # by the cloud, when that was last looked at


@dataclass
class ChaosStage:
    root: Path
    redis: OneServer | SentinelServers
    door: Proxy  # of the nodes
    ports: tuple[int, int]
    coordinators: list[Command | None]
    nodes: dict[str, ChaosNode]
    disks: list[Path] = field(default_factory=list)
    pace: float = 1.0  # by which the time is multiplied that a fault lasts
    releases: list[Release] = field(default_factory=list)

    def data(self, number: int) -> Path:
        return self.root / f"cloud-{number}"

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "LITTORAL_DATA_DIR": str(self.data(0)),
            "LITTORAL_REDIS_URL": self.redis.direct,
            "LITTORAL_REDIS_REPLICAS": str(self.redis.replicas),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }

    async def prepare(self) -> None:
        """Two releases, one of each of two artifacts of a student, and nodes that serve neither yet."""
        await self.start_coordinator(0)
        for other in range(1, len(self.coordinators)):
            await self.start_coordinator(other)
        async with self.core() as core:
            for runtime in ("onnxruntime", "ncnn"):
                packaged, weights = known_corners(self.root / "made" / runtime, runtime)
                made = await publish(core, packaged, core.clock(), weights=weights, data="corners")
                release = await create_release(core.ledger, MODEL, [made.manifest_digest], "manual", "", core.clock())
                self.releases.append(release)
            office, me = Office(core), Caller(name=getpass.getuser(), role=Role.ADMIN)
            tokens = [await create(office, me, name=name, ttl_s=3_600.0, uses=1, labels={}, address="") for name in self.nodes]
        for number, (node, token) in enumerate(zip(self.nodes.values(), tokens, strict=True)):
            labelled = self.root / f"labelled-{node.name}"
            labelled.mkdir()
            x, y = corners(100 + number, 200)
            np.savez(labelled / "examples.npz", x=x, y=y)
            enroll = [NODE, "enroll", token.join, "--name", node.name, "--data", str(self.root / node.name)]
            await run_to_end("enroll", enroll, self.root / f"{node.name}.log")
            await self.start_node(node)

    async def start_coordinator(self, number: int) -> None:
        enrolment, fleet = map(str, self.ports)
        self.bend(f"cloud-{number}")
        words = ["cloud", "serve", "--host", f"127.0.0.{number + 2}", "--public-name", "127.0.0.1"]
        words += ["--enrolment-port", enrolment, "--fleet-port", fleet, "--api-port", "0"]
        words += ["--heartbeat-interval", "1", "--telemetry-interval", "2", "--format", "json"]
        environment = {
            **self._environment,
            "LITTORAL_DATA_DIR": str(self.data(number)),
            "LITTORAL_KEYS_DIR": str(self.data(0)),
            "LITTORAL_BLOBS": str(self.data(0) / "blobs"),
            "LITTORAL_REDIS_URL": self.redis.url,
        }
        child = await self._start(f"cloud-{number}", words, environment)
        self.coordinators[number] = child
        await child.ready_line()

    async def start_node(self, node: ChaosNode) -> None:
        self.bend(node.name)
        words = ["node", "run", "--data", str(self.root / node.name), "--labelled", str(self.root / f"labelled-{node.name}")]
        words += ["--http", "127.0.0.1:0", "--grpc", "off", "--keep-free", "1MB", "--format", "json"]
        node.child = await self._start(node.name, words, {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)})
        ready = json.loads(await node.child.ready_line())
        node.address, node.id = ready["http"], ready["node_id"]

    async def _start(self, name: str, words: list[str], environment: dict[str, str]) -> Command:
        command = [sys.executable, "-m", "bench.chaos.bent", str(self.root / f"{name}.bend"), *words]
        return await Command.start(name, command, self.root / f"{name}.log", environment)

    def bend(self, name: str, *, clock_s: float = 0.0, repeats: bool = False) -> None:
        """What a process reads of its clock and its manners: from its start on by `bent`, else not before it is told to."""
        (self.root / f"{name}.bend").write_text(json.dumps({"clock_s": clock_s, "repeats": repeats}))

    @asynccontextmanager
    async def core(self) -> AsyncIterator[Core]:
        """As a command has it: past the proxy."""
        settings = load_settings(data_dir=self.data(0), redis_url=self.redis.direct, redis_replicas=self.redis.replicas)
        async with open_core(settings, clock=time.time) as core:  # noqa: TID251 - a shell
            yield core

    async def end(self) -> None:
        for child in (*(node.child for node in self.nodes.values()), *self.coordinators):
            if child is not None:
                os.kill(child.pid, signal.SIGCONT) if child.running else None
                await child.end()


def _mounted(place: Path, size: str) -> bool:
    place.mkdir()
    return os.geteuid() == 0 and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)], check=False
    ).returncode  # fmt: skip


@asynccontextmanager
async def chaos_stage(
    root: Path, nodes: int, coordinators: int, *, sentinels: bool, pace: float = 1.0
) -> AsyncIterator[ChaosStage]:
    """Ready: everything runs, and no node serves yet. The first coordinator and the first node have small disks of their own,
    where this process may mount them."""
    disks = [place for place, size in ((root / "cloud-0", CLOUD_DISK), (root / "node-0", NODE_DISK)) if _mounted(place, size)]
    async with AsyncExitStack() as stack:
        for disk in disks:
            stack.callback(subprocess.run, ["umount", "-l", str(disk)], check=True)
        redis = await stack.enter_async_context(servers(root / "redis", sentinels=sentinels))
        ports = lasting_port(), lasting_port()
        doors = []
        for port in ports:
            targets = [(f"127.0.0.{number + 2}", port) for number in range(coordinators)]
            doors.append(await stack.enter_async_context(proxied("127.0.0.1", port, targets)))
        fleet = {f"node-{number}": ChaosNode(f"node-{number}") for number in range(nodes)}
        stage = ChaosStage(root, redis, doors[1], ports, [None] * coordinators, fleet, disks, pace=pace)
        stack.push_async_callback(stage.end)
        await stage.prepare()
        yield stage
