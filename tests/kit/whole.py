"""A fleet as an operator runs it: every part its own process, started by its own command."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import httpx

from littoral.process.command import Command, run_to_end, script
from tests.kit.patience import PATIENCE_S
from tests.kit.ports import lasting_port

CLOUD, NODE = script("littoral-cloud"), script("littoral-node")


class Fleet:
    """One coordinator and its nodes below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"LITTORAL_DATA_DIR": str(root / "cloud"), "LITTORAL_PROBATION_S": "3"}
        self.nodes: dict[str, tuple[Command, str]] = {}
        self.coordinator: Command | None = None
        self.ports = (str(lasting_port()), str(lasting_port()))  # a coordinator that was killed comes back to them

    async def start_coordinator(self, *flags: str) -> None:
        enrolment, fleet = self.ports
        command = [
            CLOUD,
            "serve",
            "--enrolment-port",
            enrolment,
            "--fleet-port",
            fleet,
            "--api-port",
            "0",
            "--heartbeat-interval",
            "1",
            "--format",
            "json",
            *flags,
        ]
        self.coordinator = await Command.start("coordinator", command, self.root / "coordinator.log", self.environment)
        await self.coordinator.ready_line()

    async def kill_coordinator(self) -> None:
        assert self.coordinator is not None
        os.kill(self.coordinator.pid, signal.SIGKILL)
        await self.coordinator.end()

    async def cloud(self, *words: str) -> str:
        return await run_to_end(words[0], [CLOUD, *words], self.root / "commands.log", self.environment)

    async def join(self, name: str, *flags: str) -> None:
        line = await self.cloud("token", "create", "--name", name)
        folder = ["--data", str(self.root / name)]
        await run_to_end("enroll", [NODE, "enroll", line, "--name", name, *folder], self.root / f"{name}.log")
        await self.run(name, *flags)

    async def run(self, name: str, *flags: str) -> None:
        """A node that has joined; again where it has ended."""
        command = [NODE, "run", "--data", str(self.root / name), "--http", "127.0.0.1:0", "--format", "json", *flags]
        child = await Command.start(name, command, self.root / f"{name}.log")
        self.nodes[name] = (child, f"http://{json.loads(await child.ready_line())['http']}")

    async def end(self) -> None:
        for child, _ in self.nodes.values():
            await child.end()
        if self.coordinator is not None:
            await self.coordinator.end()


async def ask(url: str, body: object = None) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        return await (client.get(url) if body is None else client.post(url, json=body))
