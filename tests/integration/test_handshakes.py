"""Connections that open TLS and go away, hundreds at a time, on both listeners of a coordinator: it is still there."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from littoral.fleet.v1 import session_pb2, session_pb2_grpc
from littoral.identity import certificate_request, new_node_key, private_pem
from littoral_cloud.api.server import Listener, TlsIdentity
from littoral_cloud.trust.ca import open_ca
from tests.kit.certificates import Authority, Credential
from tests.kit.node_client import NodeClient
from tests.kit.whole import Fleet

pytest_plugins = ("tests.kit.whole_fixture",)

HANDSHAKES = 1_000
"""On each listener."""
AT_ONCE = 200


async def shake(address: str, context: ssl.SSLContext) -> bytes:
    """One handshake, then gone. Gives the certificate that was shown, DER. Nothing is checked: the quicker, the harder."""
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return shown


async def storm(address: str, contexts: list[ssl.SSLContext]) -> int:
    """How many of HANDSHAKES were finished, AT_ONCE at a time, with these contexts in turn."""
    turns = iter(range(HANDSHAKES))

    async def one_after_another() -> int:
        done = 0
        for turn in turns:
            await shake(address, contexts[turn % len(contexts)])
            done += 1
        return done

    return sum(await asyncio.gather(*(one_after_another() for _ in range(AT_ONCE))))


def context_for(folder: Path, credential: Credential | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if credential is not None:
        file = folder / "caller.pem"
        file.write_bytes(credential.key + credential.certificate)
        context.load_cert_chain(file)
    return context


@pytest.mark.slow
async def test_two_thousand_handshakes_leave_the_coordinator_where_it_was(processes: Fleet, tmp_path: Path) -> None:
    assert processes.coordinator is not None
    now = time.time()  # noqa: TID251 - the shell of a test
    authority = open_ca(processes.root / "cloud" / "ca", now)
    key = new_node_key()
    issued = authority.issue_node(certificate_request(key), "node-a", now)
    certificate = x509.load_der_x509_certificate(issued.der).public_bytes(Encoding.PEM)
    stranger = context_for(tmp_path)
    node = context_for(tmp_path, Credential(private_pem(key), certificate))
    enrolment, fleet_port = (f"127.0.0.1:{port}" for port in processes.ports)
    assert await storm(enrolment, [stranger]) == HANDSHAKES
    assert await storm(fleet_port, [node, stranger]) == HANDSHAKES
    listed = await processes.cloud("doctor", "--server")
    assert "fleet listener" in listed
    assert processes.coordinator.running


class Awaits(session_pb2_grpc.SessionServiceServicer):
    """Answers a node's first word, and keeps its stream open until the second."""

    async def Connect(self, request_iterator: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.read()
        await context.write(session_pb2.ConnectResponse(welcome={}))  # the stream is open at this server
        await context.read()


@asynccontextmanager
async def listening(identity: TlsIdentity) -> AsyncIterator[Listener]:
    listener = await Listener.start(
        "fleet", "127.0.0.1", 0, identity, lambda server: session_pb2_grpc.add_SessionServiceServicer_to_server(Awaits(), server)
    )
    try:
        yield listener
    finally:
        await listener.stop(0.0)


async def test_another_certificate_is_shown_to_newcomers_and_open_streams_go_on(tmp_path: Path) -> None:
    authority = Authority()
    first, second = authority.issue("server", server=True), authority.issue("server", server=True)
    caller = authority.issue("node-a")
    context = context_for(tmp_path, caller)

    def identity(of: Credential) -> TlsIdentity:
        return TlsIdentity(of.key, of.certificate, authority.pem)

    def der(of: Credential) -> bytes:
        return x509.load_pem_x509_certificate(of.certificate).public_bytes(Encoding.DER)

    async with listening(identity(first)) as listener, NodeClient(listener.address, authority.pem, caller) as client:
        assert await shake(listener.address, context) == der(first)
        line = client.open()
        await line.say(hello={})
        await line.hear("welcome")  # a stream that is not yet at the server would be turned away
        place = listener.address
        await listener.renew(identity(second))
        assert listener.address == place
        assert await shake(listener.address, context) == der(second)
        await line.say(heartbeat={})  # the stream of before is still read
        assert (await line.ended()).name == "OK"
