"""The door of the sessions: who calls, and in."""

from __future__ import annotations

from typing import Any

import grpc.aio

from cloud.api import wire
from cloud.api.hub import SessionHub, shutting_down
from cloud.api.peer import peer_of
from cloud.api.session import Session, Terms
from cloud.fleet.ledger import Ledger
from littoral.fleet.v1 import session_pb2, session_pb2_grpc


class SessionServicer(session_pb2_grpc.SessionServiceServicer):
    def __init__(self, ledger: Ledger, hub: SessionHub, terms: Terms) -> None:
        self._ledger = ledger
        self._hub = hub
        self._terms = terms

    async def Connect(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if self._hub.draining:
            await context.write(session_pb2.ConnectResponse(refusal=wire.refusal_to(shutting_down())))
            return
        await Session(context, peer_of(context), self._ledger, self._terms, self._hub).run()
