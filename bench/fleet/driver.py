"""Holds the sessions of many nodes in one process. Started by herd.py; a command is a line of JSON on its standard input,
and each gets one line of JSON as its answer.

    {"do": "enrol", "line": "littoral-join-1...", "nodes": 500, "first": 0, "model": "table", "digest": "sha256:..."}
    {"do": "connect"}            every node at the same moment
    {"do": "telemetry", "every_s": 10}    0: none; reports that wait are still sent
    {"do": "counts"} {"do": "nodes"} {"do": "end"}

Keys are made once and lie in build/bench-fleet/keys.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from bench.fleet.node import Common, LoadNode
from littoral import PROTOCOL_VERSION, __version__
from littoral.codec import FEATURES
from littoral.fleet.v1 import enrolment_pb2, enrolment_pb2_grpc, hardware_pb2, session_pb2
from littoral.identity import JoinLine, certificate_request, new_node_key, private_pem
from littoral.telemetry import LATENCY_BOUNDS_MS
from littoral.transport import CLIENT_OPTIONS
from littoral_node.certificates.enrol import authority_of
from littoral_node.config.settings import NodeSettings
from littoral_node.identity.identity import Identity
from littoral_node.link.wire import hello_to
from littoral_node.machine.hardware import class_of, profile
from littoral_node.runtimes.facts import looked_up

KEYS = Path("build/bench-fleet/keys")
CLASSES = 4
"""Of hardware: this machine, as it would be with other numbers of threads for an inference."""
REQUESTS = 64
"""That a report counts."""
ENROL_AT_ONCE = 8
SLOTS_A_SECOND = 10
"""Telemetry of different nodes is spread over the interval."""


def hellos() -> tuple[session_pb2.Hello, ...]:
    facts = {name: found for name, (found, _) in looked_up(("onnxruntime", "ncnn")).items() if found is not None}
    here, made = profile(Path(), facts), []
    for threads in range(1, CLASSES + 1):
        other = replace(here, threads=threads)
        other = replace(other, hardware_class=class_of(other))
        settings = NodeSettings(memory=other.memory_bytes, disk=other.storage_free_bytes)
        made.append(hello_to("", ("measure", *FEATURES), other, {}, hardware_pb2.Conditions(on_mains=True), settings, None))
    return tuple(made)


def telemetry_report(model: str, digest: str) -> session_pb2.TelemetryReport:
    """As an agent's: a latency histogram, three classes, and a sketch of 18 features in 16 bins."""
    rng = np.random.default_rng(7)
    latency = rng.multinomial(REQUESTS, np.full(6, 1 / 6)).tolist()
    sketch = rng.multinomial(REQUESTS, np.full(16, 1 / 16), 18)
    return session_pb2.TelemetryReport(
        model_name=model,
        manifest_digest=digest,
        requests=REQUESTS,
        latency_counts=[0] * 20 + latency + [0] * (len(LATENCY_BOUNDS_MS) + 1 - 26),
        class_counts=[30, 24, 10],
        inputs=session_pb2.InputSketch(
            sketch_id="5e" * 16, features=18, bins=16, counts=sketch.reshape(-1).tolist(), examples=REQUESTS
        ),
        rss_bytes=78_000_000,
        cpu_seconds=12.5,
    )


def keys(first: int, count: int) -> list[bytes]:
    """PEM. Made once."""
    KEYS.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(first, first + count):
        path = KEYS / f"{number}.pem"
        if not path.exists():
            path.write_bytes(private_pem(new_node_key()))
        found.append(path.read_bytes())
    return found


class Driver:
    def __init__(self, hellos: Sequence[session_pb2.Hello]) -> None:
        self._hellos = tuple(hellos)
        self.nodes: list[LoadNode] = []
        self._common: Common
        self._sessions: list[asyncio.Task[None]] = []
        self._telemetry: asyncio.Task[None] | None = None

    async def enrol(self, line: str, nodes: int, first: int, model: str, digest: str) -> dict[str, Any]:
        self._common = Common(self._hellos, telemetry_report(model, digest))
        began = time.monotonic()
        identities = await enrolled(JoinLine.parse(line), keys(first, nodes), first, self._common.hellos)
        seconds = time.monotonic() - began
        self.nodes = [
            LoadNode(first + i, identity, self._common, random.Random(first + i)) for i, identity in enumerate(identities)
        ]
        gc.freeze()  # none of it ever goes: the collector need not look at it again
        return {"enrolled": len(self.nodes), "seconds": seconds}

    async def connect(self) -> dict[str, Any]:
        self._sessions = [asyncio.create_task(node.session.run()) for node in self.nodes]
        return {}

    async def telemetry(self, every_s: float) -> dict[str, Any]:
        if self._telemetry is not None:
            self._telemetry.cancel()
        self._telemetry = asyncio.create_task(self._cut(every_s)) if every_s else None
        return {}

    async def _cut(self, every_s: float) -> None:
        slots = max(1, round(every_s * SLOTS_A_SECOND))
        loop, turn = asyncio.get_running_loop(), 0
        due = loop.time()
        while True:
            for node in self.nodes[turn % slots :: slots]:
                node.cut(time.time())  # noqa: TID251 - a node's clock
            turn, due = turn + 1, due + every_s / slots
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def counts(self) -> dict[str, Any]:
        connected = sum(node.session.connected for node in self.nodes)
        waiting = sum(node.cut_last > node.acknowledged_last for node in self.nodes)
        return {**asdict(self._common.counts), "connected": connected, "waiting": waiting}

    async def list_nodes(self) -> dict[str, Any]:
        return {
            "nodes": [
                [node.identity.node_id, node.boot_id, node.acknowledged_last, node.observed, node.desired_at]
                for node in self.nodes
            ]
        }

    async def end(self) -> None:
        for task in (*self._sessions, *filter(None, (self._telemetry,))):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)


async def enrolled(line: JoinLine, pems: Sequence[bytes], first: int, hellos: Sequence[session_pb2.Hello]) -> list[Identity]:
    """By the enrolment RPC, one for each key. The server's certificate is checked once for all of them."""
    authority = await asyncio.to_thread(authority_of, line, time.monotonic)
    turns = asyncio.Semaphore(ENROL_AT_ONCE)
    async with grpc.aio.secure_channel(line.address, grpc.ssl_channel_credentials(authority), options=CLIENT_OPTIONS) as channel:
        stub: Any = enrolment_pb2_grpc.EnrolmentServiceStub(channel)

        async def one(number: int, pem: bytes) -> Identity:
            request = enrolment_pb2.EnrolRequest(
                token=line.token,
                certificate_request=certificate_request(load_pem_private_key(pem, None)),  # type: ignore[arg-type]
                node_name=f"load-{number}",
                protocol_version=PROTOCOL_VERSION,
                agent_version=__version__,
                hardware=hellos[number % len(hellos)].hardware,
            )
            async with turns:
                answer = await stub.Enrol(request, timeout=60)
            return Identity(
                node_id=answer.node_id,
                node_name=answer.node_name,
                fleet_address=answer.fleet_address,
                certificate_pem=x509.load_der_x509_certificate(answer.certificate).public_bytes(Encoding.PEM),
                ca_pem=authority,
                key_pem=pem,
                signing_keys={},
            )

        return list(await asyncio.gather(*(one(first + i, pem) for i, pem in enumerate(pems))))


async def main() -> None:
    driver, loop = Driver(hellos()), asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    acts: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
        "enrol": driver.enrol,
        "connect": driver.connect,
        "telemetry": driver.telemetry,
        "counts": driver.counts,
        "nodes": driver.list_nodes,
    }
    while line := await reader.readline():
        command = json.loads(line)
        if (do := command.pop("do")) == "end":
            break
        answer = await acts[do](**command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    await driver.end()


if __name__ == "__main__":
    asyncio.run(main())
