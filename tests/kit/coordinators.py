"""Coordinators as processes over one Redis, each with a data folder of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from littoral.identity import certificate_request, new_node_key, private_pem
from littoral.process.command import Command, script
from littoral_cloud.app import Core
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.fleet.records import Enrolment, Node, dump
from littoral_cloud.settings import CloudSettings
from tests.kit.certificates import Credential
from tests.kit.redis_server import MortalRedis

KEYS = ("ca", "signing")


@dataclass(frozen=True, slots=True)
class Coordinator:
    command: Command
    fleet: str  # HOST:PORT of the listener for nodes
    log: Path


class SeveralCoordinators:
    """Below one folder, each in one of its own by number."""

    def __init__(self, root: Path, redis: MortalRedis) -> None:
        self.root = root
        self.redis_url = f"unix://{redis.socket}"

    def data(self, number: int) -> Path:
        return self.root / f"cloud-{number}"

    def settings(self, number: int, **more: Any) -> CloudSettings:
        return CloudSettings(data_dir=self.data(number), redis_url=self.redis_url, **more)

    def copied_keys(self) -> Path:
        """Of the first one, as an operator brings them to another machine."""
        for name in KEYS:
            shutil.copytree(self.data(0) / name, self.root / "keys" / name, dirs_exist_ok=True)
        return self.root / "keys"

    @asynccontextmanager
    async def serving(self, number: int, environment: Mapping[str, str], *flags: str) -> AsyncIterator[Coordinator]:
        """Raises CommandFailed where it does not start; its words are in it."""
        log = self.root / f"cloud-{number}.log"
        command = [
            script("littoral-cloud"),
            "serve",
            "--enrolment-port",
            "0",
            "--fleet-port",
            "0",
            "--api-port",
            "0",
            "--format",
            "json",
            *flags,
        ]
        own = {**os.environ, "LITTORAL_DATA_DIR": str(self.data(number)), "LITTORAL_REDIS_URL": self.redis_url, **environment}
        started = await Command.start(f"cloud-{number}", command, log, own)
        try:
            yield Coordinator(started, json.loads(await started.ready_line())["fleet"], log)
        finally:
            await started.end()


async def node_of(core: Core, node_id: str) -> Credential:
    """Enrolled with the fleet's own CA."""
    key = new_node_key()
    request = certificate_request(key)
    issued = core.trust.ca.issue_node(request, node_id, core.clock())
    node = Node(
        node_id=node_id,
        name=node_id,
        enrolment=Enrolment.ACCEPTED,
        public_key_sha256=core.trust.ca.public_key_sha256(request),
        certificate_sha256=issued.sha256,
        certificate_expires_at=issued.expires_at,
        enrolled_at=core.clock(),
    )
    await core.ledger.commit(Change((Write("node", node_id, dump(node), 0),)))
    return Credential(private_pem(key), x509.load_der_x509_certificate(issued.der).public_bytes(Encoding.PEM))
