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

from littoral.process.command import Command, script
from littoral_cloud.app import Core
from littoral_cloud.settings import CloudSettings
from tests.kit.certificates import Credential
from tests.kit.cloud import a_node
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
    """Enrolled with the fleet's own CA; its name is its id."""
    return await a_node(core, node_id, node_id)
