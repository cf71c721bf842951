"""grpc.health.v1 on both listeners of a running coordinator, by gRPC's own client; ids of requests; what is counted."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from littoral.fleet.v1 import enrolment_pb2, enrolment_pb2_grpc
from littoral.transport import CLIENT_OPTIONS
from littoral_cloud.logs.request_id import HEADER
from tests.kit.cloud import Cloud, a_node, running_cloud
from tests.kit.node_client import NodeClient
from tests.kit.patience import PATIENCE_S

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def channel(cloud: Cloud) -> grpc.aio.Channel:
    authority = grpc.ssl_channel_credentials(cloud.core.trust.ca.pem)
    return grpc.aio.secure_channel(cloud.serving.enrolment, authority, options=CLIENT_OPTIONS)


def request(service: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


async def test_it_serves_once_the_fleet_was_read_and_no_more_when_it_ends(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_S):
        async with AsyncExitStack() as later, running_cloud(tmp_path) as cloud:
            here = await later.enter_async_context(channel(cloud))
            health = health_pb2_grpc.HealthStub(here)  # type: ignore[no-untyped-call]
            watch = health.Watch(request("littoral.fleet.v1.EnrolmentService"))
            other = health.Watch(request("littoral.fleet.v1.EnrolmentService"))
            while (await watch.read()).status != SERVING:
                pass
            assert (await health.Check(request())).status == SERVING
            other.cancel()  # the end of one makes no other one deaf
            unknown = health.Watch(request("nothing"))
            assert (await unknown.read()).status == SERVICE_UNKNOWN
            async with NodeClient(
                cloud.serving.fleet, cloud.core.trust.ca.pem, await a_node(cloud.core, "n1", "kitchen")
            ) as node:
                of_nodes = health_pb2_grpc.HealthStub(node.channel)  # type: ignore[no-untyped-call]
                assert (await of_nodes.Check(request("littoral.fleet.v1.SessionService"))).status == SERVING
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await health.Check(request("littoral.fleet.v1.SessionService"), metadata=((HEADER, "given-1"),))
            assert error.value.code() is grpc.StatusCode.NOT_FOUND
            assert "'littoral.fleet.v1.SessionService' is not on this listener" in (error.value.details() or "")
            assert dict(error.value.trailing_metadata())[HEADER] == "given-1"
            enrolment = enrolment_pb2_grpc.EnrolmentServiceStub(here)
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await enrolment.Enrol(enrolment_pb2.EnrolRequest(protocol_version=1, token="no"))
            assert len(dict(error.value.trailing_metadata())[HEADER]) == 16, "it made one"
            ended = asyncio.create_task(watch.read())
            await asyncio.sleep(0)
        # the coordinator has ended, and the channel has not
        assert (await ended).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
