"""Where a node answers: both protocols, started and ended together."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from littoral.errors import Unavailable
from littoral.transport import split_address
from littoral_node.config.settings import load_settings
from littoral_node.serving.front import Front
from littoral_node.serving.service import Service
from littoral_node.serving.slots import Slots
from littoral_node.telemetry.counting import TelemetryWindows

NOW = 1_800_000_000.0


def front(folder: Path, said: list[str], **flags: str) -> Front:
    def log(event: str, **fields: Any) -> None:
        said.append(event)

    return Front(Service(Slots(), TelemetryWindows()), load_settings(folder, flags, {}), folder, log, now=NOW)


def free_pair() -> tuple[socket.socket, int]:
    """A port that is free, and the one after it, taken."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            try:
                return socket.create_server(("127.0.0.1", port + 1)), port
            except OSError:
                continue


async def test_where_nobody_asked_for_a_port_of_grpc_and_it_is_taken_another_one_is(tmp_path: Path) -> None:
    said: list[str] = []
    taken, port = free_pair()
    with taken:
        both = front(tmp_path, said, http=f"127.0.0.1:{port}")
        where = await both.start()
        assert where["http"] == f"127.0.0.1:{port}"
        assert where["grpc"] not in (f"127.0.0.1:{port + 1}", "127.0.0.1:0")
        assert said == ["grpc-elsewhere"]
        assert await both.alive() == ""
        await both.stop()


async def test_a_port_that_was_asked_for_and_is_taken_starts_neither_and_only_our_words_say_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    taken, port = free_pair()
    with taken:
        both = front(tmp_path, [], http=f"127.0.0.1:{port}", grpc=f"127.0.0.1:{port + 1}")
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port + 1}: Address already in use .*--grpc HOST:PORT"):
            await both.start()
        with socket.create_server(("127.0.0.1", port)):
            pass  # HTTP's is free again
    assert capfd.readouterr().err == ""  # gRPC has lines of its own


async def test_an_address_of_ipv6_is_written_so_that_it_can_be_asked_for(tmp_path: Path) -> None:
    both = front(tmp_path, [], http="[::1]:0")
    where = await both.start()
    try:
        assert [split_address(where[name], name)[0] for name in ("http", "grpc")] == ["::1", "::1"]
        assert all(address.startswith("[::1]:") for address in where.values())
    finally:
        await both.stop()


async def test_grpc_may_be_off(tmp_path: Path) -> None:
    both = front(tmp_path, [], http="127.0.0.1:0", grpc="off")
    assert list(await both.start()) == ["http"]
    await both.stop()
