"""A node whose certificate has ended comes back on the enrolment listener, over real gRPC at a whole coordinator."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from littoral.errors import Revoked, Unavailable, Untrusted, WaitsForOperator
from littoral.fleet.v1 import enrolment_pb2, enrolment_pb2_grpc, hardware_pb2
from littoral.identity import certificate_request, new_node_key, private_pem
from littoral.signed_time import prove, seal_time
from littoral.transport import CLIENT_OPTIONS
from littoral_cloud.fleet.admitting import accept, revoke
from littoral_cloud.fleet.enrolment import EnrolmentRequest, enrol
from littoral_cloud.fleet.issued_tokens import create_token
from littoral_cloud.fleet.nodes import find_node
from littoral_cloud.fleet.records import Enrolment
from littoral_node.certificates.asking import DIRECT, come_back, told_time
from littoral_node.identity.identity import Identity, life_of
from tests.kit.certificates import Authority
from tests.kit.cloud import Cloud
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.cloud_fixture",)

DAY_S = 86_400.0
RNG = random.Random(1)


async def enrolled(cloud: Cloud, name: str, days_ago: float) -> Identity:
    """Of a node whose certificate lasted 30 days from then on."""
    core, then, key = cloud.core, cloud.core.clock() - days_ago * DAY_S, new_node_key()
    secret, _ = await create_token(core.ledger, name, 600.0, 1, {}, then, lambda n: name * n)
    wanted = EnrolmentRequest(token=secret, certificate_request=certificate_request(key), node_name=name)
    given = await enrol(core.ledger, core.trust.ca, wanted, then, RNG)
    pem = x509.load_der_x509_certificate(given.certificate).public_bytes(Encoding.PEM)
    keys = core.trust.signing_keys()
    return Identity(given.node_id, name, cloud.serving.fleet, pem, core.trust.ca.pem, private_pem(key), keys)


async def returned(cloud: Cloud, identity: Identity) -> Identity:
    return await come_back(identity, [cloud.serving.enrolment], RNG)


async def test_within_the_grace_a_node_gets_its_next_certificate_and_a_second_one_only_later(cloud: Cloud) -> None:
    identity = await enrolled(cloud, "buoy", 119)
    back = await returned(cloud, identity)
    now = cloud.core.clock()
    assert life_of(back.certificate_pem).ends_at == pytest.approx(now + 30 * DAY_S, abs=60)
    assert (back.node_id, back.key_pem) == (identity.node_id, identity.key_pem)
    node = await find_node(cloud.core.ledger, "buoy")
    assert node.certificate_expires_at == life_of(back.certificate_pem).ends_at
    with pytest.raises(Unavailable, match="a moment ago"):  # as where the answer was lost
        await returned(cloud, identity)
    with pytest.raises(Unavailable, match="by the coordinator's clock the certificate has not ended"):
        await returned(cloud, back)
    assert [line.action for line in await cloud.core.ledger.audit()][-1] == "node.returned"


async def test_past_the_grace_it_waits_for_an_operator_and_says_so_once(cloud: Cloud) -> None:
    identity, ledger = await enrolled(cloud, "buoy", 121), cloud.core.ledger
    for _ in range(3):
        with pytest.raises(WaitsForOperator, match="node accept buoy"):
            await returned(cloud, identity)
    assert (await find_node(ledger, "buoy")).enrolment is Enrolment.PENDING
    await accept(ledger, "buoy", cloud.core.clock(), actor="ann")
    await returned(cloud, identity)
    lines = [(line.action, line.actor) for line in await ledger.audit()][2:]
    assert lines == [("node.waits", identity.node_id), ("node.accepted", "ann"), ("node.returned", identity.node_id)]


async def test_a_join_line_brings_back_one_that_waits(cloud: Cloud) -> None:
    identity, core = await enrolled(cloud, "buoy", 121), cloud.core
    with pytest.raises(WaitsForOperator):
        await returned(cloud, identity)
    key = load_pem_private_key(identity.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    line = await cloud.join_line()
    again = EnrolmentRequest(token=line.token, certificate_request=certificate_request(key))
    assert (await enrol(core.ledger, core.trust.ca, again, core.clock(), RNG)).node_id == identity.node_id
    assert (await find_node(core.ledger, "buoy")).enrolment is Enrolment.ACCEPTED


async def test_one_that_was_revoked_gets_none_until_it_is_accepted(cloud: Cloud) -> None:
    identity, ledger = await enrolled(cloud, "buoy", 31), cloud.core.ledger
    await revoke(ledger, "buoy", reason="stolen", actor="ann")
    with pytest.raises(Revoked, match="buoy is revoked"):
        await returned(cloud, identity)
    await accept(ledger, "buoy", cloud.core.clock(), actor="ann")
    await returned(cloud, identity)


async def test_a_node_finds_the_enrolment_listener_that_answers(cloud: Cloud) -> None:
    identity = await enrolled(cloud, "buoy", 31)
    await come_back(identity, ["127.0.0.1:9", cloud.serving.enrolment], RNG)


# -- what is refused -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def door(cloud: Cloud) -> AsyncIterator[Any]:
    credentials = grpc.ssl_channel_credentials(cloud.core.trust.ca.pem)
    async with grpc.aio.secure_channel(cloud.serving.enrolment, credentials, options=CLIENT_OPTIONS) as channel:
        yield enrolment_pb2_grpc.EnrolmentServiceStub(channel)


async def refused(cloud: Cloud, request: enrolment_pb2.ReturnRequest) -> tuple[grpc.StatusCode, str]:
    async with door(cloud) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Return(request, timeout=PATIENCE_S)
    return error.value.code(), str(error.value.details())


def asked(challenge: bytes, key: ec.EllipticCurvePrivateKey, *, by: ec.EllipticCurvePrivateKey | None = None) -> Any:
    request = certificate_request(key)
    proof = prove(challenge, request, by or key)
    return enrolment_pb2.ReturnRequest(signed_time=challenge, certificate_request=request, proof=proof)


async def test_old_and_foreign_challenges_wrong_proofs_and_unknown_keys_are_refused_by_name(cloud: Cloud) -> None:
    core, key, nonce = cloud.core, new_node_key(), b"n" * 32
    fresh = core.trust.seal_time(core.clock(), nonce)
    good = asked(fresh, key)
    cases = {
        "challenge: is 61 s old": asked(core.trust.seal_time(core.clock() - 61, nonce), key),
        "challenge: signature": asked(seal_time(core.clock(), nonce, _stranger()), key),
        "challenge: signed time": enrolment_pb2.ReturnRequest(signed_time=b"x" * 5000),
        "proof:": asked(fresh, key, by=new_node_key()),
        "certificate_request:": enrolment_pb2.ReturnRequest(signed_time=fresh, certificate_request=b"junk", proof=good.proof),
    }
    for named, request in cases.items():
        code, text = await refused(cloud, request)
        assert (code, named in text) == (grpc.StatusCode.INVALID_ARGUMENT, True), (named, text)
    code, text = await refused(cloud, good)
    assert (code, text.startswith("not-accepted: no node ")) == (grpc.StatusCode.PERMISSION_DENIED, True)
    async with door(cloud) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match="31 bytes"):
            await stub.TellTime(enrolment_pb2.TellTimeRequest(nonce=b"n" * 31), timeout=PATIENCE_S)
    assert await core.ledger.audit() == []


def _stranger() -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()


async def test_a_node_believes_its_own_fleet_alone(cloud: Cloud) -> None:
    identity = await enrolled(cloud, "buoy", 31)
    async with DIRECT.enrolment(cloud.serving.enrolment, identity.ca_pem) as channel:
        _, at = await told_time(channel, identity.signing_keys)
        assert at == pytest.approx(cloud.core.clock(), abs=30)
        with pytest.raises(Untrusted, match="does not trust"):
            await told_time(channel, {"ab" * 32: b"k" * 32})
    with pytest.raises(Unavailable):
        await returned(cloud, replace(identity, ca_pem=Authority().pem))
    assert (await find_node(cloud.core.ledger, "buoy")).renewed_at == 0.0


async def test_a_new_node_remembers_where_it_enrolled(cloud: Cloud, tmp_path: Any) -> None:
    from littoral_node.certificates.enrol import enrol as node_enrol
    from littoral_node.identity.folder import NodeFolder
    from littoral_node.link.addresses import FleetAddresses

    folder = NodeFolder(tmp_path / "node")
    folder.prepare()
    line, now = await cloud.join_line(), cloud.core.clock()
    await node_enrol(folder, line, name="", hardware=hardware_pb2.HardwareProfile(), now=now, monotonic=cloud.core.clock, rng=RNG)
    assert FleetAddresses(folder.coordinators, RNG, lambda event, **_: None).enrolment == (cloud.serving.enrolment,)
