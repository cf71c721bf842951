"""A coordinator that drains hands its nodes over: the agent's session goes to the other one, and reports again."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import grpc.aio

from littoral.fleet.v1 import session_pb2
from littoral.transport import CLIENT_OPTIONS
from littoral_cloud.app import open_core
from littoral_cloud.fleet.coordinators import KIND
from littoral_node.link.addresses import FleetAddresses
from littoral_node.link.messages import SessionMessages
from littoral_node.link.session import NodeSession, WayToCloud
from littoral_node.telemetry.counting import TelemetryWindows
from littoral_node.telemetry.outbox import TelemetryOutbox
from littoral_node.telemetry.spool import Spool
from tests.kit.coordinators import SeveralCoordinators, node_of
from tests.kit.fleet import until_written
from tests.kit.patience import PATIENCE_S
from tests.kit.redis_server import MortalRedis

pytest_plugins = ("tests.kit.redis",)


class Part:
    """Of an agent: takes desired states, and does nothing."""

    def set_desired(self, desired: session_pb2.DesiredState) -> None:
        return


async def test_a_node_of_a_coordinator_that_ends_goes_to_the_other(tmp_path: Path, mortal_redis: MortalRedis) -> None:
    fleet = SeveralCoordinators(tmp_path, mortal_redis)
    log: list[tuple[str, dict[str, Any]]] = []
    opened: asyncio.Queue[None] = asyncio.Queue()

    def note(event: str, **fields: Any) -> None:
        log.append((event, fields))
        if event == "session-open":
            opened.put_nowait(None)

    async with fleet.serving(0, {}) as first, open_core(fleet.settings(0)) as core, asyncio.timeout(PATIENCE_S):
        credential = await node_of(core, "n1")
        joined = {"LITTORAL_KEYS_DIR": str(fleet.copied_keys()), "LITTORAL_BLOBS": str(fleet.data(0) / "blobs")}
        async with fleet.serving(1, joined) as second:
            ids: dict[str, str] = {}
            async with core.ledger.watch(KIND) as news:
                while set(ids) != {first.fleet, second.fleet}:
                    ids = {str(doc.body.get("fleet_address")): doc.id for doc in await core.ledger.all(KIND)}
                    if len(ids) < 2:
                        await anext(news)
            addresses = FleetAddresses(tmp_path / "coordinators.json", random.Random(1), lambda event, **_: None)

            def channel() -> grpc.aio.Channel:
                credentials = grpc.ssl_channel_credentials(core.trust.ca.pem, credential.key, credential.certificate)
                return grpc.aio.secure_channel(addresses.current(first.fleet), credentials, options=CLIENT_OPTIONS)

            telemetry = TelemetryOutbox(
                TelemetryWindows(), "b", lambda message: False, lambda: False, Spool(tmp_path / "spool"), lambda event, **_: None
            )
            reported = session_pb2.ConnectRequest(reported=session_pb2.ReportedState(generation=7))
            messages = SessionMessages(
                lambda: session_pb2.Hello(protocol_version=1, boot_id="b" * 32),
                lambda: [reported],
                telemetry,
                [Part()],
                lambda welcome: None,
                lambda message: session_pb2.TrustReport(number=message.number),
            )
            session = NodeSession(
                lambda: messages,
                WayToCloud(channel, learn=addresses.learn, elsewhere=lambda: addresses.elsewhere(first.fleet)),
                log=note,
                monotonic=asyncio.get_running_loop().time,
                rng=random.Random(1),
            )
            running = asyncio.create_task(session.run())
            try:
                await until_written(core.ledger, "reported", "n1", generation=7)
                before = await core.ledger.get("presence", "n1")
                assert before is not None
                assert before.body["coordinator"] == ids[first.fleet]
                await first.command.end()
                after = await until_written(core.ledger, "presence", "n1", connected=True, coordinator=ids[second.fleet])
                assert after.body["session"] != before.body["session"]
                for _ in range(2):
                    await opened.get()
            finally:
                running.cancel()
                await asyncio.wait([running])
    [(_, refused)] = [each for each in log if each[0] == "session-refused"]
    assert refused["detail"] == "this coordinator is shutting down"
    [wait] = [fields["after_s"] for event, fields in log if event == "session-retry"]
    assert 0.1 <= wait < 2.0
