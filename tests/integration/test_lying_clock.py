"""A node whose clock lies: it serves, learns what time it is, and has its session."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from littoral.fleet.v1 import enrolment_pb2, enrolment_pb2_grpc
from littoral.identity import key_id_of
from littoral.process.command import script
from littoral.signed_time import seal_time
from littoral_node.certificates.asking import told_time
from littoral_node.certificates.renewal import CertificateRenewal
from littoral_node.certificates.time_keeping import PATIENCE_S as KEPT_AWAY_S
from littoral_node.certificates.time_keeping import TimeKeeping
from littoral_node.identity.files import write_record
from littoral_node.identity.folder import NodeFolder
from littoral_node.identity.good_time import NodeClock
from littoral_node.identity.identity import Identity
from littoral_node.link.addresses import NamedCoordinators
from littoral_node.link.channel import CloudChannels
from tests.kit.agent import AgentProcess
from tests.kit.certificates import Authority
from tests.kit.cloud import running_cloud
from tests.kit.faketime import faketime
from tests.kit.patience import PATIENCE_S

DAY_S = 86_400.0
NODE = script("littoral-node")
KEY = Ed25519PrivateKey.generate()
RAW = KEY.public_key().public_bytes_raw()
SIGNING_KEYS = {key_id_of(RAW): RAW}


def quiet(event: str, **fields: object) -> None:
    return


def machine() -> float:
    """The real clock of this machine, which plays the one that lies."""
    return time.time()  # noqa: TID251 - the shell of a test


class Coordinator(enrolment_pb2_grpc.EnrolmentServiceServicer):
    """Lives so many days from now, and its certificate is valid for a month around that."""

    def __init__(self, days: float) -> None:
        self.authority, self.days, self.asked = Authority(), days, 0
        self.address = ""

    @property
    def now(self) -> float:
        return machine() + self.days * DAY_S

    async def TellTime(self, request: Any, context: Any) -> enrolment_pb2.TellTimeResponse:
        self.asked += 1
        return enrolment_pb2.TellTimeResponse(signed_time=seal_time(self.now, request.nonce, KEY))

    @asynccontextmanager
    async def listening(self, *, mutual: bool = False) -> AsyncIterator[None]:
        begins = float(int(self.now - 15 * DAY_S))
        server = self.authority.issue("server", begins_at=begins, expires_at=begins + 30 * DAY_S, server=True)
        listener = grpc.aio.server()
        enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(self, listener)
        roots = self.authority.pem if mutual else None
        port = listener.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials([(server.key, server.certificate)], roots, mutual)
        )
        await listener.start()
        self.address = f"127.0.0.1:{port}"
        try:
            yield
        finally:
            await listener.stop(None)

    def identity(self) -> Identity:
        credential = self.authority.issue("n1")
        return Identity("n1", "buoy", self.address, credential.certificate, self.authority.pem, credential.key, SIGNING_KEYS)


async def reached(channel: grpc.aio.Channel) -> bool:
    async with channel:
        try:
            await told_time(channel, SIGNING_KEYS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return False
            raise
    return True


@pytest.mark.parametrize("days", [-400.0, 400.0], ids=["a-year-ahead", "long-ago"])
async def test_a_certificate_is_compared_with_the_time_that_the_coordinator_signed(days: float, tmp_path: Path) -> None:
    """Mutual TLS: gRPC by itself refuses, with the machine's clock; and so does the relay while dates are not known."""
    coordinator, clock = Coordinator(days), NodeClock(tmp_path / "clock.json", machine, quiet)
    channels = CloudChannels(clock)
    async with coordinator.listening(mutual=True):
        identity = coordinator.identity()
        assert not await reached(channels.fleet(identity))
        clock.signed(coordinator.now)
        assert await reached(channels.fleet(identity))
        clock.signed(coordinator.now + 60 * DAY_S)
        assert not await reached(channels.fleet(identity))  # its certificate has expired by then
    await channels.close()


async def test_the_relay_checks_all_but_the_dates_itself(tmp_path: Path) -> None:
    coordinator, stranger = Coordinator(400.0), Coordinator(400.0)
    channels = CloudChannels(NodeClock(tmp_path / "clock.json", machine, quiet))
    async with coordinator.listening(), stranger.listening():
        identity = coordinator.identity()
        assert await reached(channels.enrolment(coordinator.address, identity.ca_pem, dates=False))
        assert not await reached(channels.enrolment(stranger.address, identity.ca_pem, dates=False))
        name = coordinator.address.replace("127.0.0.1", "127.0.0.2")  # not in its certificate
        assert not await reached(channels.enrolment(name, identity.ca_pem, dates=False))
    assert stranger.asked == 0
    assert not await reached(channels.enrolment(coordinator.address, identity.ca_pem, dates=False))  # nobody listens any more
    await channels.close()


@pytest.fixture
def folder(tmp_path: Path) -> NodeFolder:
    made = NodeFolder(tmp_path / "node")
    made.prepare()
    return made


async def test_a_session_that_is_kept_away_makes_the_node_ask_for_the_time(folder: NodeFolder) -> None:
    coordinator, clock, channels = Coordinator(400.0), NodeClock(folder.clock, machine, quiet), CloudChannels()
    reopened, waited = asyncio.Event(), 0.0

    async def sleep(seconds: float) -> None:
        nonlocal waited
        waited += seconds
        if waited <= KEPT_AWAY_S:
            assert coordinator.asked == 0
        await asyncio.sleep(0)

    async with coordinator.listening():
        folder.keep_identity(coordinator.identity())
        write_record(folder.coordinators, NamedCoordinators(enrolment=("127.0.0.1:9", coordinator.address)))
        rng = random.Random(1)
        certificate = CertificateRenewal(folder, clock=clock, monotonic=lambda: waited, rng=rng, log=quiet)
        keeping = TimeKeeping(clock, certificate, channels, monotonic=lambda: waited, rng=rng, sleep=sleep)
        running = asyncio.create_task(keeping.run(lambda: False, reopened.set))
        await asyncio.wait_for(reopened.wait(), PATIENCE_S)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert clock.is_signed
    assert clock() == pytest.approx(coordinator.now, abs=60)
    assert "400.0 days behind" in clock.problem()
    await channels.close()


# -- whole processes ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(faketime() is None, reason="no libfaketime here: the tests above turn the coordinator's time in its place")
@pytest.mark.parametrize("when", ["@1970-01-01 00:01:00", "+365d"])
async def test_a_whole_agent_serves_and_has_its_session_in_1970_and_a_year_ahead(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, when: str
) -> None:
    folder = tmp_path / "node"
    async with running_cloud(tmp_path_factory.mktemp("c")) as cloud:
        line = (await cloud.join_line()).render()
        environment = {**(faketime() or {}), "FAKETIME": when}
        enrolling = await asyncio.create_subprocess_exec(
            NODE, "enroll", line, "--data", str(folder), env=os.environ | environment
        )
        assert await enrolling.wait() == 0  # with the wrong clock, too
        agent = await (await AgentProcess.start(folder, environment=environment)).ready()  # it serves
        wrong = await agent.until("clock-wrong")
        assert ("behind" if when.startswith("@") else "ahead") in wrong["detail"]
        await agent.until("session-open")
        assert any("clock is" in problem for problem in await agent.problems())
        assert await agent.stop() == 0
        # It is known at the next start, also without a coordinator.
        stored = NodeClock(NodeFolder(folder).clock, lambda: 0.0, quiet)
        assert stored() == pytest.approx(machine(), abs=300)
