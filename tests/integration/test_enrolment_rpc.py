"""Enrolment over real gRPC at a whole coordinator."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from littoral import PROTOCOL_VERSION
from littoral.errors import BadToken
from littoral.fleet.v1 import enrolment_pb2, enrolment_pb2_grpc, hardware_pb2
from littoral.identity import JoinLine, certificate_request, new_node_key, private_pem, sha256_fingerprint
from littoral.transport import CLIENT_OPTIONS
from littoral_cloud.fleet.issued_tokens import token_id
from littoral_cloud.fleet.nodes import decommission
from littoral_node.certificates.enrol import enrol as node_enrol
from littoral_node.identity.folder import NodeFolder
from tests.kit.certificates import Authority, Credential
from tests.kit.cloud import Cloud
from tests.kit.node_client import NodeClient
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.cloud_fixture",)


@asynccontextmanager
async def enrolment(cloud: Cloud, authority: bytes | None = None) -> AsyncIterator[Any]:
    credentials = grpc.ssl_channel_credentials(authority or cloud.core.trust.ca.pem)
    async with grpc.aio.secure_channel(cloud.serving.enrolment, credentials, options=CLIENT_OPTIONS) as channel:
        yield enrolment_pb2_grpc.EnrolmentServiceStub(channel)


async def enrol(cloud: Cloud, line: JoinLine, key: ec.EllipticCurvePrivateKey, **fields: Any) -> enrolment_pb2.EnrolResponse:
    values: Mapping[str, Any] = {
        "token": line.token,
        "certificate_request": certificate_request(key),
        "node_name": "gateway",
        "protocol_version": PROTOCOL_VERSION,
        **fields,
    }
    async with enrolment(cloud) as stub:
        answer: enrolment_pb2.EnrolResponse = await stub.Enrol(enrolment_pb2.EnrolRequest(**values), timeout=PATIENCE_S)
        return answer


async def refused(cloud: Cloud, line: JoinLine, **fields: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await enrol(cloud, line, new_node_key(), **fields)
    return error.value.code(), str(error.value.details())


def credential_of(answer: enrolment_pb2.EnrolResponse, key: ec.EllipticCurvePrivateKey) -> Credential:
    certificate = x509.load_der_x509_certificate(answer.certificate)
    return Credential(private_pem(key), certificate.public_bytes(Encoding.PEM))


async def test_a_join_line_becomes_a_node_that_is_let_in(cloud: Cloud) -> None:
    key = new_node_key()
    answer = await enrol(cloud, await cloud.join_line(), key)
    assert (answer.node_name, answer.fleet_address) == ("gateway", cloud.serving.fleet)
    assert {each.key_id: each.public_key for each in answer.signing_keys} == cloud.core.trust.signing_keys()
    async with NodeClient(answer.fleet_address, cloud.core.trust.ca.pem, credential_of(answer, key)) as node:
        await node.begin()


async def test_asking_again_with_the_same_key_gives_the_same_node(cloud: Cloud) -> None:
    key, line = new_node_key(), await cloud.join_line()
    first = await enrol(cloud, line, key)
    again = await enrol(cloud, line, key)
    assert first.node_id == again.node_id
    assert len(await cloud.core.ledger.all("node")) == 1
    async with NodeClient(again.fleet_address, cloud.core.trust.ca.pem, credential_of(again, key)) as node:
        await node.begin()
    async with NodeClient(first.fleet_address, cloud.core.trust.ca.pem, credential_of(first, key)) as node:
        await node.begin()


async def test_a_wrong_a_spent_and_an_expired_token_are_refused(cloud: Cloud) -> None:
    line = await cloud.join_line()
    code, text = await refused(cloud, JoinLine(line.address, "guessed", line.expires_at, line.ca_sha256))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert text.startswith("bad-token: ")
    await enrol(cloud, line, new_node_key())
    code, text = await refused(cloud, line)
    assert (code, "spent" in text) == (grpc.StatusCode.UNAUTHENTICATED, True)
    code, text = await refused(cloud, await cloud.join_line(ttl_s=0.001))
    assert (code, "expired" in text) == (grpc.StatusCode.UNAUTHENTICATED, True)
    assert len(await cloud.core.ledger.all("node")) == 1


async def test_what_is_malformed_is_refused_by_name_and_costs_no_use(cloud: Cloud) -> None:
    line = await cloud.join_line()
    for fields, named in (
        ({"certificate_request": b"junk"}, "certificate_request"),
        ({"certificate_request": b"x" * 100_000}, "certificate_request"),
        ({"node_name": "Not A Name"}, "node_name"),
        ({"protocol_version": 99}, "protocol_version"),
    ):
        code, text = await refused(cloud, line, **fields)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert named in text
    doc = await cloud.core.ledger.get("token", token_id(line.token))
    assert doc is not None
    assert doc.body["uses_left"] == 1


async def test_an_authority_that_is_not_the_lines_is_not_believed(cloud: Cloud) -> None:
    async with enrolment(cloud, Authority().pem) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.Enrol(enrolment_pb2.EnrolRequest(token="secret"), timeout=PATIENCE_S)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_node_that_was_decommissioned_cannot_enrol_its_key_again(cloud: Cloud) -> None:
    key, line = new_node_key(), await cloud.join_line(uses=2)
    await enrol(cloud, line, key)
    await decommission(cloud.core.ledger, "gateway", "test")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await enrol(cloud, line, key)
    assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert (await cloud.core.ledger.audit())[-1].action == "node.decommissioned"


async def test_the_enrolment_door_leads_nowhere_else(cloud: Cloud) -> None:
    async with NodeClient(cloud.serving.enrolment, cloud.core.trust.ca.pem, None) as stranger:
        assert await stranger.open().ended() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_hundred_machines_at_the_same_moment_enrol_with_one_line(cloud: Cloud, tmp_path: Path) -> None:
    line = await cloud.join_line(uses=100)

    async def one(number: int) -> str:
        folder = NodeFolder(tmp_path / str(number))
        folder.prepare()
        profile, chance = hardware_pb2.HardwareProfile(), random.Random(number)
        identity = await node_enrol(
            folder, line, name="", hardware=profile, now=cloud.core.clock(), monotonic=time.monotonic, rng=chance
        )
        return identity.node_id

    assert len(set(await asyncio.gather(*(one(number) for number in range(100))))) == 100
    doc = await cloud.core.ledger.get("token", token_id(line.token))
    assert doc is not None
    assert doc.body["uses_left"] == 0


async def test_a_cloud_that_is_busy_is_asked_again_and_one_that_refuses_is_not(tmp_path: Path) -> None:
    """A listener that answers as a coordinator does that cannot write now, twice, and then for good."""
    authority = Authority()
    server = authority.issue("server", server=True)
    answers = [grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED]

    class Busy(enrolment_pb2_grpc.EnrolmentServiceServicer):
        async def Enrol(self, request: Any, context: Any) -> None:
            await context.abort(answers.pop(0), "as it is")

    listening = grpc.aio.server()
    enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(Busy(), listening)
    chain = server.certificate + authority.pem
    port = listening.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(server.key, chain)]))
    await listening.start()
    ca = x509.load_pem_x509_certificate(authority.pem).public_bytes(Encoding.DER)
    line = JoinLine(f"127.0.0.1:{port}", "secret", 4_000_000_000, sha256_fingerprint(ca))
    folder = NodeFolder(tmp_path / "node")
    folder.prepare()
    told: list[tuple[str, float]] = []
    try:
        with pytest.raises(BadToken, match="as it is"):
            await node_enrol(
                folder,
                line,
                name="",
                hardware=hardware_pb2.HardwareProfile(),
                now=1.0,
                monotonic=time.monotonic,
                rng=random.Random(1),
                retrying=lambda error, after_s: told.append((str(error), after_s)),
            )
    finally:
        await listening.stop(None)
    assert ["as it is" in text for text, _ in told] == [True, True]
    assert [0 < after_s <= most for (_, after_s), most in zip(told, (1.0, 2.0), strict=True)] == [True, True]
    assert answers == []
