"""The fleet listener with its sessions and blobs over a real Redis, real TLS and a clock that a test may move."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from littoral.fleet.v1 import blob_pb2_grpc, escalation_pb2_grpc, session_pb2_grpc
from littoral_cloud.api.blob_service import BlobServicer
from littoral_cloud.api.escalation_service import EscalationServicer
from littoral_cloud.api.hub import SessionHub
from littoral_cloud.api.node_calls import NodeCalls
from littoral_cloud.api.server import Listener, TlsIdentity
from littoral_cloud.api.session_service import SessionServicer
from littoral_cloud.api.session_terms import SessionTerms
from littoral_cloud.fleet.ledger import Change, Doc, Ledger, Write
from littoral_cloud.fleet.records import Desired, Enrolment, Node, dump, load
from littoral_cloud.store.blobs import BlobFolder
from littoral_cloud.teacher_service.samples import SampleFiles
from littoral_cloud.teacher_service.service import Escalation, TeacherAnswer, TeacherService
from tests.kit.certificates import Authority, Credential
from tests.kit.loud import Loud
from tests.kit.node_client import NodeClient
from tests.kit.patience import PATIENCE_S


class MovedClock:
    """The real clock, and what a test added."""

    def __init__(self) -> None:
        self.added_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.added_s  # noqa: TID251 - the shell of a test


class EscalationDoor:
    """The teachers of the escalation service, which a test may put in place later; at first it answers nobody."""

    def __init__(self, teachers: TeacherService) -> None:
        self.teachers = teachers

    async def escalate(self, node_id: str, question: Escalation) -> TeacherAnswer:
        return await self.teachers.escalate(node_id, question)


@dataclass(slots=True)
class Fleet:
    ledger: Ledger
    blobs: BlobFolder
    hub: SessionHub
    listener: Listener
    authority: Authority
    clock: MovedClock
    escalation: EscalationDoor

    @property
    def address(self) -> str:
        return self.listener.address

    async def enrol(self, node_id: str, *, begins_at: float | None = None, expires_at: float = 4e9) -> Credential:
        credential = self.authority.issue(node_id, begins_at=begins_at, expires_at=expires_at)
        node = Node(
            node_id=node_id,
            name=f"name-of-{node_id}",
            enrolment=Enrolment.ACCEPTED,
            public_key_sha256=credential.public_key_sha256,
            certificate_sha256=credential.sha256,
            certificate_expires_at=expires_at,
            enrolled_at=self.clock(),
        )
        await self.ledger.commit(Change((Write("node", node_id, dump(node), 0),)))
        return credential

    def client(self, credential: Credential | None, *, unbounded: bool = False) -> NodeClient:
        return NodeClient(self.address, self.authority.pem, credential, unbounded=unbounded)

    async def want(self, node_id: str, desired: Desired) -> int:
        """Writes what should be on a node; the generation."""
        written = await self.ledger.commit(Change((Write("desired", node_id, dump(desired), None),)))
        return written["desired", node_id]

    async def decommission(self, node_id: str) -> None:
        doc = await self.ledger.get("node", node_id)
        assert doc is not None
        body = dump(replace(load(Node, doc), enrolment=Enrolment.DECOMMISSIONED))
        await self.ledger.commit(Change((Write("node", node_id, body, doc.generation),)))

    async def until(self, kind: str, id: str, **fields: Any) -> Doc:
        """The document, once it is there and its fields have these values."""
        return await until_written(self.ledger, kind, id, **fields)


async def until_written(ledger: Ledger, kind: str, id: str, **fields: Any) -> Doc:
    """The document, once it is there and its fields have these values. Woken by announcements."""
    async with asyncio.timeout(PATIENCE_S), ledger.watch(kind) as announcements:
        while True:
            doc = await ledger.get(kind, id)
            if doc is not None and all(doc.body.get(name) == value for name, value in fields.items()):
                return doc
            await anext(announcements)


@asynccontextmanager
async def open_fleet(
    ledger: Ledger, folder: Path, *, heartbeat_s: float = 5.0, flush_s: float = 0.0, authority: Authority | None = None
) -> AsyncIterator[Fleet]:
    """Args:
    authority: of the fleet that this coordinator joins; None: a fleet of its own.
    flush_s: for how long telemetry waits; 0: a report is written at once, and its write is announced.
    """
    authority, clock = authority or Authority(), MovedClock()
    server = authority.issue("server", server=True)
    blobs = BlobFolder(folder)
    hub = SessionHub(cast(Ledger, Loud(ledger)), clock, flush_s=flush_s)
    calls = NodeCalls(ledger, clock)
    terms = SessionTerms("test", heartbeat_s, 1.0, clock, random.Random(7))

    escalation = EscalationDoor(TeacherService(ledger, blobs, {}, None, SampleFiles(folder / "samples"), clock))

    def register(grpc_server: Any) -> None:
        escalation_pb2_grpc.add_EscalationServiceServicer_to_server(EscalationServicer(escalation), grpc_server)
        session_pb2_grpc.add_SessionServiceServicer_to_server(SessionServicer(ledger, hub, terms, authority.issuer), grpc_server)
        blob_pb2_grpc.add_BlobServiceServicer_to_server(BlobServicer(ledger, blobs), grpc_server)

    identity = TlsIdentity(server.key, server.certificate, authority.pem)
    listener = await Listener.start("fleet", "127.0.0.1", 0, identity, register, nodes=calls)
    sessions = asyncio.gather(hub.run(), calls.run())
    try:
        yield Fleet(ledger, blobs, hub, listener, authority, clock, escalation)
    finally:
        await hub.drain(2.0)
        await listener.stop(2.0)
        sessions.cancel()
        await asyncio.gather(sessions, return_exceptions=True)
