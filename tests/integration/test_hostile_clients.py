"""Ten thousand connection attempts on a real agent: a bounded number is held, the rest refused, and who was there is served."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc.aio as triton

from littoral_node.identity.folder import NodeFolder
from littoral_node.serving import grpc_server
from littoral_node.serving import rest as http
from tests.kit.agent import MODEL, SHAPE, AgentProcess, Maker, examples
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")

ATTEMPTS = 10_000


class Attack:
    """Connects, says nothing, and keeps every connection that is kept."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._place = (host, int(port))
        self.held: list[socket.socket] = []
        self.refused = 0

    def run(self, attempts: int) -> None:
        for attempt in range(attempts):
            made = socket.socket()
            made.settimeout(PATIENCE_S)
            try:
                made.connect(self._place)
                made.setblocking(False)
                self.held.append(made)
            except OSError:
                made.close()
                self.refused += 1
            if attempt % 100 == 99:
                self.look()

    def look(self) -> int:
        """How many are held now."""
        kept = []
        for one in self.held:
            try:
                over = not one.recv(1024, socket.MSG_PEEK)
            except BlockingIOError:
                over = False
            except OSError:
                over = True
            if over:
                one.close()
                self.refused += 1
            else:
                kept.append(one)
        self.held = kept
        return len(kept)

    def end(self) -> None:
        for one in self.held:
            one.close()


@asynccontextmanager
async def asking_http(address: str) -> Any:
    x, _ = examples(1)
    body = {"inputs": [{"name": "x", "shape": [1, *SHAPE], "datatype": "UINT8", "data": x.ravel().tolist()}]}
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=PATIENCE_S) as client:

        async def ask() -> None:
            assert (await client.post(f"/v2/models/{MODEL}/infer", json=body)).status_code == 200

        yield ask


@asynccontextmanager
async def asking_grpc(address: str) -> Any:
    given = triton.InferInput("x", [1, *SHAPE], "UINT8")
    given.set_data_from_numpy(np.zeros((1, *SHAPE), np.uint8))
    async with triton.InferenceServerClient(address) as client:

        async def ask() -> None:
            assert (await client.infer(MODEL, [given])).as_numpy("label").shape == (1,)

        yield ask


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "asking", "bound"),
    [("http", asking_http, http.MAX_CONNECTIONS), ("grpc", asking_grpc, grpc_server.MAX_CONNECTIONS)],
)
async def test_ten_thousand_connections_are_bounded_and_serving_goes_on(
    protocol: str, asking: Callable[[str], Any], bound: int, maker: Maker, folder: NodeFolder
) -> None:
    maker.install(folder, maker.artifact())
    agent = await (await AgentProcess.start(folder.root)).ready()
    attack = Attack(agent.said[protocol])
    ask: Callable[[], Awaitable[None]]
    async with asking(agent.said[protocol]) as ask:
        await ask()
        attacking = asyncio.create_task(asyncio.to_thread(attack.run, ATTEMPTS))
        answered = 0
        while not attacking.done():
            await ask()
            answered += 1
        await attacking
        assert answered > 0
        async with asyncio.timeout(PATIENCE_S):
            while await asyncio.to_thread(attack.look) > bound:
                await ask()
        assert attack.refused >= ATTEMPTS - bound
        assert agent.rss_bytes() < 150_000_000
        await ask()
    attack.end()
    async with asking(agent.said[protocol]) as ask, asyncio.timeout(PATIENCE_S):
        while True:  # until the agent has seen that the others have gone
            try:
                await ask()
                break
            except Exception:
                await asyncio.sleep(0)
    assert await agent.stop() == 0
