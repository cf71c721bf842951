"""The door of the sessions: who calls, and in."""

from __future__ import annotations

from typing import Any

import grpc.aio

from littoral.fleet.v1 import session_pb2, session_pb2_grpc
from littoral_cloud.api import wire
from littoral_cloud.api.access import calling_node
from littoral_cloud.api.hub import SessionHub
from littoral_cloud.api.session import CoordinatorSession
from littoral_cloud.api.session_terms import SessionTerms
from littoral_cloud.fleet.enrolment import Issuer
from littoral_cloud.fleet.ledger import Ledger
from littoral_cloud.fleet.renewal import renew


class SessionServicer(session_pb2_grpc.SessionServiceServicer):
    """Args:
    authority: gives nodes the certificates that follow theirs.
    """

    def __init__(self, ledger: Ledger, hub: SessionHub, terms: SessionTerms, authority: Issuer) -> None:
        self._ledger = ledger
        self._authority = authority
        self._hub = hub
        self._terms = terms

    async def Connect(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        peer = calling_node()
        if (refused := self._hub.closed_to(peer.node_id) or self._hub.line.busy()) is not None:
            self._hub.counts.over(False, refused.reason)
            await context.write(session_pb2.ConnectResponse(refusal=wire.refusal_to(refused)))
            return
        session = CoordinatorSession(context, peer, self._ledger, self._terms, self._hub)
        self._hub.line.join(session)
        try:
            await session.run()
        finally:
            self._hub.line.leave(session)

    async def Renew(
        self, request: session_pb2.RenewRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> session_pb2.RenewResponse:
        peer, now = calling_node(), self._terms.clock()
        issued = await renew(self._ledger, self._authority, peer, request.certificate_request, now)
        return session_pb2.RenewResponse(certificate=issued.der)
