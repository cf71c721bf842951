"""A whole coordinator in this process: its own Redis, its own CA, both listeners on free ports."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from littoral.identity import JoinLine, certificate_request, new_node_key, private_pem
from littoral_cloud.app import Core, open_core
from littoral_cloud.fleet.issued_tokens import create_token
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import Enrolment, Node, dump
from littoral_cloud.local.discovery import Serving
from littoral_cloud.serve import serve
from littoral_cloud.settings import CloudSettings
from tests.kit.certificates import Credential


@dataclass(frozen=True, slots=True)
class Cloud:
    """`core`: a second opening of the same data folder, as a command has it."""

    settings: CloudSettings
    serving: Serving
    core: Core

    async def join_line(self, *, ttl_s: float = 600.0, uses: int = 1) -> JoinLine:
        """A new token, as `littoral-cloud token create` gives it."""
        root, now = self.core.trust.ca.root_fingerprint, self.core.clock()
        secret, token = await create_token(
            self.core.ledger, "test", ttl_s, uses, {}, now, secrets.token_urlsafe, actor="test", ca_sha256=root
        )
        return JoinLine(self.serving.enrolment, secret, int(token.expires_at), root)


@asynccontextmanager
async def running_cloud(data_dir: Path, **settings: object) -> AsyncIterator[Cloud]:
    """Serves inside the context; what fails in the server fails here."""
    chosen = CloudSettings(**{"data_dir": data_dir, "enrolment_port": 0, "fleet_port": 0, "api_port": 0, **settings})  # type: ignore[arg-type]
    stop = asyncio.Event()
    ready: asyncio.Future[Serving] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(chosen, time.time, stop=stop, ready=ready.set_result))  # noqa: TID251 - a shell
    await asyncio.wait({server, ready}, return_when=asyncio.FIRST_COMPLETED)
    if server.done():
        await server
    try:
        async with open_core(chosen) as core:
            yield Cloud(chosen, ready.result(), core)
    finally:
        stop.set()
        await server


async def a_node(core: Core, node_id: str, name: str) -> Credential:
    """Enrolled with the fleet's own CA."""
    key = new_node_key()
    request = certificate_request(key)
    issued = core.trust.ca.issue_node(request, node_id, core.clock())
    node = Node(
        node_id=node_id,
        name=name,
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256=core.trust.ca.public_key_sha256(request),
        certificate_sha256=issued.sha256,
        certificate_expires_at=issued.expires_at,
        enrolled_at=core.clock(),
    )
    await core.ledger.commit(Change((Write("node", node_id, dump(node), 0),)))
    return Credential(private_pem(key), x509.load_der_x509_certificate(issued.der).public_bytes(Encoding.PEM))
