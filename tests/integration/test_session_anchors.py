"""What a session says of the fleet's keys, and what it takes of a node that answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from littoral.fleet.v1 import session_pb2
from littoral.trust_anchors import ToldAnchors
from littoral_cloud.fleet.ledger import Ledger
from tests.kit.fleet import Fleet, open_fleet

pytest_plugins = ("tests.kit.redis",)


@pytest.fixture
async def fleet(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(ledger, tmp_path / "blobs") as opened:
        yield opened


async def test_an_open_session_hears_of_other_keys_and_one_report_of_each_is_taken(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    async with fleet.client(credential) as client:
        line = await client.begin()
        await line.say(trust_report=session_pb2.TrustReport(number=9))  # nothing was sent: not read
        fleet.hub.tell_anchors(ToldAnchors(number=1, authorities=(b"a",), retired=("b",)))
        told = await line.hear("trust_anchors")
        assert (told.number, list(told.authorities), list(told.retired)) == (1, [b"a"], ["b"])
        await line.say(trust_report=session_pb2.TrustReport(number=7))
        first = await fleet.until("node", "n1", anchors=1)  # never more than was sent
        for number in (0, 1, 0):
            await line.say(trust_report=session_pb2.TrustReport(number=number, detail="\x1b[31m" * 100))
        fleet.hub.tell_anchors(ToldAnchors(number=2))
        assert (await line.hear("trust_anchors")).number == 2
        await line.say(trust_report=session_pb2.TrustReport(number=0, detail="no CA that this node trusts has introduced it"))
        second = await fleet.until("node", "n1", anchors=0)
        assert second.generation == first.generation + 1


async def test_a_new_session_hears_of_keys_before_it_hears_what_should_be(fleet: Fleet) -> None:
    credential = await fleet.enrol("n1")
    fleet.hub.tell_anchors(ToldAnchors(number=3))
    async with fleet.client(credential) as client:
        line = client.open()
        await line.say(hello=session_pb2.Hello(protocol_version=1, boot_id="ab" * 16))
        kinds = [(await line.call.read()).WhichOneof("message") for _ in range(3)]
        assert kinds == ["welcome", "trust_anchors", "desired"]
