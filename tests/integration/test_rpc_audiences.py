"""Who may call each RPC: generated from the descriptors of all services that the coordinator's gRPC listeners have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from littoral.fleet.v1 import blob_pb2, blob_pb2_grpc, enrolment_pb2, escalation_pb2, session_pb2
from littoral_cloud.api.access import AUDIENCES, Audience, CheckedRegistration
from littoral_cloud.fleet.ledger import Ledger
from tests.kit.certificates import Credential
from tests.kit.fleet import Fleet, open_fleet

pytest_plugins = ["tests.kit.redis"]

MODULES = (session_pb2, blob_pb2, escalation_pb2, enrolment_pb2, health_pb2)
ON_THE_FLEET_PORT = (session_pb2, blob_pb2, escalation_pb2)


def methods(*modules: Any) -> Iterator[tuple[str, Any]]:
    for module in modules:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


OF_NODES = {name: method for name, method in methods(*ON_THE_FLEET_PORT)}


@pytest.fixture
async def fleet(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with open_fleet(ledger, tmp_path) as fleet:
        yield fleet


async def status(fleet: Fleet, credential: Credential, name: str, method: Any) -> tuple[grpc.StatusCode, bool, str]:
    """Of a call with an empty request; whether a refusal came as a message instead; its details."""
    credentials = grpc.ssl_channel_credentials(fleet.authority.pem, credential.key, credential.certificate)
    options = (("grpc.ssl_target_name_override", "localhost"), ("grpc.enable_http_proxy", 0))
    async with grpc.aio.secure_channel(fleet.listener.address, credentials, options) as channel:
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        call: Any = getattr(channel, kind)(name)
        empty = b""
        stub = call(iter((empty,)) if method.client_streaming else empty, timeout=20)
        refused = False
        try:
            if method.server_streaming:
                async for answer in stub:
                    refused = bool(answer)
                return await stub.code(), refused, ""
            await stub
        except grpc.aio.AioRpcError as error:
            return error.code(), refused, error.details() or ""
        return grpc.StatusCode.OK, refused, ""


def test_every_rpc_has_an_audience_and_no_audience_is_of_no_rpc() -> None:
    assert {name for name, _ in methods(*MODULES)} == set(AUDIENCES)


async def test_an_rpc_without_an_audience_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("littoral_cloud.api.access.AUDIENCES", {})
    with pytest.raises(AssertionError, match=r"v1\.BlobService/GetBlob: no audience"):
        blob_pb2_grpc.add_BlobServiceServicer_to_server(
            blob_pb2_grpc.BlobServiceServicer(), CheckedRegistration(grpc.aio.server())
        )


@pytest.mark.parametrize("name", OF_NODES)
async def test_who_is_no_node_of_the_fleet_or_was_taken_out_calls_nothing(
    fleet: Fleet, name: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("authorization_cases", 2)
    stranger = fleet.authority.issue("stranger")
    was_in = await fleet.enrol("was-in")
    await fleet.decommission("was-in")
    for credential in (stranger, was_in):
        code, refused, _ = await status(fleet, credential, name, OF_NODES[name])
        if AUDIENCES[name] is Audience.NODE:
            assert code is grpc.StatusCode.PERMISSION_DENIED
        else:
            assert refused or code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT)


@pytest.mark.parametrize("name", OF_NODES)
async def test_a_node_of_the_fleet_comes_as_far_as_its_request(
    fleet: Fleet, name: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("authorization_cases", 1)
    code, _, details = await status(fleet, await fleet.enrol("inside"), name, OF_NODES[name])
    assert code is not grpc.StatusCode.PERMISSION_DENIED or "no federated run waits" in details
