"""Who may call each RPC of the coordinator's gRPC listeners: one table, which the interceptor of every call looks up.

Rules:

1. An RPC that the table does not name is not registered: the listener does not start.
2. NODE: the certificate of the connection names a node of the fleet that is accepted; the call ends when that ends.
3. CERTIFICATE: it names a node, and the servicer asks for the rest, since it answers in words of its own.
4. ANYBODY: the servicer checks what came with the request, a join token say.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from enum import StrEnum
from typing import Any

from littoral_cloud.fleet.sessions import Peer


class Audience(StrEnum):
    """The values are what the reference page prints."""

    NODE = "an accepted node, by the certificate of its connection"
    CERTIFICATE = "a node with a certificate of this fleet; the call is refused unless the node is accepted"
    TOKEN = "a machine with a valid join token"  # noqa: S105
    KEY = "a node of this fleet, by proof of its key"
    ANYBODY = "anyone who reaches the port"


_FLEET = "/littoral.fleet.v1"
AUDIENCES: Mapping[str, Audience] = {
    f"{_FLEET}.SessionService/Connect": Audience.CERTIFICATE,
    f"{_FLEET}.SessionService/Renew": Audience.CERTIFICATE,
    f"{_FLEET}.BlobService/GetBlob": Audience.NODE,
    f"{_FLEET}.BlobService/StatBlob": Audience.NODE,
    f"{_FLEET}.BlobService/PutBlob": Audience.NODE,
    f"{_FLEET}.EscalationService/Escalate": Audience.NODE,
    f"{_FLEET}.EnrolmentService/Enrol": Audience.TOKEN,
    f"{_FLEET}.EnrolmentService/TellTime": Audience.ANYBODY,
    f"{_FLEET}.EnrolmentService/Return": Audience.KEY,
    "/grpc.health.v1.Health/Check": Audience.ANYBODY,
    "/grpc.health.v1.Health/Watch": Audience.ANYBODY,
}
CERTIFIED = frozenset({Audience.NODE, Audience.CERTIFICATE})

_calling: ContextVar[Peer] = ContextVar("calling_node")


def calling_node() -> Peer:
    """The node that makes the present call, whose audience is NODE or CERTIFICATE."""
    return _calling.get()


def set_calling_node(peer: Peer) -> None:
    """For the rest of this call; the interceptor does it."""
    _calling.set(peer)


class CheckedRegistration:
    """A grpc.aio server while servicers are added to it: one with an RPC that has no audience is refused.

    Raises AssertionError: it is a fault of ours.
    """

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        for method in handlers:
            assert f"/{service}/{method}" in AUDIENCES, f"/{service}/{method}: no audience; name it in api/access.py"
        self._server.add_registered_method_handlers(service, handlers)
