"""A certificate is followed by the next one before it ends, over real gRPC, real certificates and a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from littoral.fleet.v1 import session_pb2
from littoral.identity import certificate_request, new_node_key
from littoral_cloud.fleet.ledger import Ledger
from tests.kit.certificates import Credential
from tests.kit.fleet import Fleet, open_fleet
from tests.kit.node_client import hello_word

pytest_plugins = ("tests.kit.redis",)

DAY_S = 86_400.0
EXPIRED = session_pb2.RefusalReason.REFUSAL_REASON_CERTIFICATE_EXPIRED


@pytest.fixture
async def fleet(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(ledger, tmp_path / "blobs") as opened:
        yield opened


async def aged(fleet: Fleet, days: float) -> Credential:
    """Of a node that enrolled so many days ago, for ninety days."""
    begins = float(int(fleet.clock() - days * DAY_S))
    return await fleet.enrol("n1", begins_at=begins, expires_at=begins + 90 * DAY_S)


def request_of(credential: Credential) -> bytes:
    key = load_pem_private_key(credential.key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return certificate_request(key)


async def renewed(fleet: Fleet, credential: Credential) -> Credential:
    async with fleet.client(credential) as client:
        der = await client.renew(request_of(credential))
    return Credential(credential.key, x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))


async def let_in(fleet: Fleet, credential: Credential) -> None:
    async with fleet.client(credential) as client:
        await client.begin()


async def refused(fleet: Fleet, credential: Credential, request: bytes) -> tuple[grpc.StatusCode, str]:
    async with fleet.client(credential) as client:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await client.renew(request)
    return error.value.code(), str(error.value.details())


async def test_the_next_certificate_is_given_for_the_same_node_and_the_one_before_counts_until_its_end(fleet: Fleet) -> None:
    old = await aged(fleet, 61)
    new = await renewed(fleet, old)
    certificate = x509.load_pem_x509_certificate(new.certificate)
    assert certificate.not_valid_after_utc.timestamp() == pytest.approx(fleet.clock() + 30 * DAY_S, abs=60)
    node = await fleet.until("node", "n1", certificate_sha256=new.sha256)
    assert node.body["certificate_expires_at"] == certificate.not_valid_after_utc.timestamp()
    assert [line.action for line in await fleet.ledger.audit()] == ["node.certificate-renewed"]
    await let_in(fleet, new)
    await let_in(fleet, old)  # as of a second machine with a copy of the folder: both are seen, neither is thrown out
    fleet.clock.added_s += 28.9 * DAY_S
    async with fleet.client(old) as client:
        line = client.open()
        await line.say(hello=hello_word())
        fleet.clock.added_s += DAY_S
        async with fleet.client(old) as late:
            second = late.open()
            await second.say(hello=hello_word())
            assert (await second.hear("refusal")).reason == EXPIRED


async def test_an_answer_that_was_lost_locks_nobody_out(fleet: Fleet) -> None:
    old = await aged(fleet, 61)
    await renewed(fleet, old)  # and is never shown
    await let_in(fleet, old)
    code, text = await refused(fleet, old, request_of(old))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "in a minute" in text
    fleet.clock.added_s += 61
    await let_in(fleet, await renewed(fleet, old))


async def test_who_is_early_shows_another_key_or_is_out_gets_none(fleet: Fleet) -> None:
    young = await aged(fleet, 44)
    code, text = await refused(fleet, young, request_of(young))
    assert (code, "for 46 days more" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    fleet.clock.added_s = 20 * DAY_S
    code, text = await refused(fleet, young, certificate_request(new_node_key()))
    assert (code, "another key" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    code, _ = await refused(fleet, young, b"junk")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    fleet.clock.added_s = 50 * DAY_S
    code, text = await refused(fleet, young, request_of(young))
    assert (code, "expired" in text) == (grpc.StatusCode.PERMISSION_DENIED, True)
    fleet.clock.added_s = 20 * DAY_S
    await fleet.decommission("n1")
    code, _ = await refused(fleet, young, request_of(young))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert await fleet.ledger.audit() == []
