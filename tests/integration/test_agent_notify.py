"""What a real agent tells a service manager, on a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from littoral_node.identity.folder import NodeFolder
from littoral_node.supervision.log import Log
from littoral_node.supervision.notify import Notifier, answers
from tests.kit.agent import AgentProcess
from tests.kit.patience import PATIENCE_S

pytest_plugins = ("tests.kit.redis", "tests.kit.agent_fixture")


class Manager:
    """Listens as systemd does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.heard: list[str] = []

    async def until(self, word: str) -> str:
        """The next message that holds a line."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()
                self.heard.append(message)
                if word in message.splitlines():
                    return message

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    opened = Manager(str(tmp_path / "notify") if request.param == "path" else f"@littoral-test-{os.getpid()}")
    yield opened
    opened.close()


async def test_a_manager_hears_that_it_is_ready_alive_and_stopping(folder: NodeFolder, manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    agent = await (await AgentProcess.start(folder.root, environment=environment)).ready()
    assert "STATUS=serves nothing" in await manager.until("READY=1")
    assert "STATUS=serves nothing" in await manager.until("WATCHDOG=1")
    await manager.until("WATCHDOG=1")
    stopped = asyncio.create_task(agent.stop())
    await manager.until("STOPPING=1")
    assert await stopped == 0


async def test_serving_that_does_not_answer_holds_the_watchdog_back(tmp_path: Path) -> None:
    """The loop is well, the server is not: nobody says WATCHDOG=1, the log says why."""
    manager = Manager(str(tmp_path / "notify"))
    log_file = (tmp_path / "log").open("w+")
    held = asyncio.Event()
    verdicts = iter(["127.0.0.1:1: refused"] * 3)

    async def alive() -> str:
        verdict = next(verdicts, "")
        if not verdict:
            held.set()
            await asyncio.Event().wait()  # it hangs from here on
        return verdict

    keeping = asyncio.create_task(
        Notifier(manager.address, 0.05).keep_alive(alive, lambda: "x", Log(lambda: 0.0, as_json=False, stream=log_file))
    )
    await held.wait()
    manager._socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager._socket.recv(4096)
    keeping.cancel()
    log_file.seek(0)
    assert log_file.read().count("watchdog-withheld") == 3
    log_file.close()
    manager.close()


async def test_only_a_200_is_an_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 500 Oh\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert "500" in await answers("127.0.0.1", port)
    assert "failed" in await answers("127.0.0.1", port)  # nobody listens any more


def test_nothing_is_sent_where_nobody_listens_and_the_variables_are_not_passed_on(tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "7", "HOME": "/"}
    notify = Notifier.from_environment(environment, 7)
    assert environment == {"HOME": "/"}
    assert notify.watchdog_s == 1.0
    notify("READY=1")
    assert notify.lost == 1
    assert Notifier.from_environment({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "8"}, 7).watchdog_s == 0.0
