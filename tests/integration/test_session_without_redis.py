"""A Redis that goes away while sessions are open, and comes back with what it had."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from littoral.errors import Unavailable
from littoral.fleet.v1 import session_pb2
from littoral_cloud.fleet.records import Desired
from littoral_cloud.store.binary import find_binary
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.redis_ledger import RedisLedger
from tests.kit.fleet import open_fleet
from tests.kit.node_client import BOOT

MANIFEST = "sha256:" + "a" * 64
PATIENCE_S = 0.4
"""Of the ledger. In production it outlasts 10 s by itself; here it gives up early, so that the session has to wait."""


class Redis:
    """A server that is killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "r.sock"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            find_binary().path,
            *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._folder)),
            *("--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"),
            stdout=asyncio.subprocess.DEVNULL,
        )

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()


@pytest.fixture
async def redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("r"))
    await server.start()
    yield server
    await server.kill()


async def test_sessions_outlast_a_redis_that_is_gone_and_nothing_said_meanwhile_is_lost(redis: Redis, tmp_path: Path) -> None:
    async with RedisLedger.open(Endpoint(socket=redis.socket), time.time, patience_s=5.0):  # noqa: TID251 - up
        pass
    clock = time.time  # noqa: TID251 - the shell of a test
    async with (
        RedisLedger.open(Endpoint(socket=redis.socket), clock, patience_s=PATIENCE_S) as ledger,
        open_fleet(ledger, tmp_path / "blobs") as fleet,
        fleet.client(await fleet.enrol("n1")) as client,
        fleet.client(await fleet.enrol("n2")) as late,
    ):
        line = await client.begin()
        await redis.kill()
        with pytest.raises(Unavailable):
            await ledger.get("node", "n1")
        await line.say(reported=session_pb2.ReportedState(generation=4))
        await line.say(
            telemetry=session_pb2.TelemetryReport(
                boot_id=BOOT, sequence=1, model_name="digits", manifest_digest=MANIFEST, requests=3, class_counts=[3]
            )
        )
        await line.say(heartbeat=session_pb2.Heartbeat(sequence=9))
        assert (await line.hear("heartbeat")).sequence == 9, "a heartbeat does not wait for Redis"
        knock = late.open()
        await knock.say(hello=session_pb2.Hello(protocol_version=1, boot_id=BOOT))
        refusal = await knock.hear("refusal")
        assert refusal.reason == session_pb2.REFUSAL_REASON_UNAVAILABLE
        assert refusal.retry_after_s > 0

        await redis.start()
        assert (await line.hear("telemetry_ack")).sequence == 1
        assert (await ledger.get("reported", "n1")) is not None
        doc = await ledger.get("telemetry", "n1:digits")
        assert doc is not None
        assert doc.body["totals"]["requests"] == 3
        generation = await fleet.want("n1", Desired(benchmarks=(MANIFEST,)))
        assert (await line.hear("desired")).generation == generation
        await late.begin()
