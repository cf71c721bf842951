"""The embedded Redis: shared by the processes of one data folder, ended with its owner, taken over by the next."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from littoral.errors import Unavailable
from littoral_cloud.fleet.ledger import Change, Write
from littoral_cloud.store.binary import Binary, find_binary
from littoral_cloud.store.connection import Endpoint
from littoral_cloud.store.embedded import embedded_redis
from littoral_cloud.store.redis_ledger import RedisLedger
from littoral_cloud.trust.private_socket import MAX_SOCKET_PATH
from tests.kit.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def owner(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that has the embedded Redis of this folder open."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.kit.redis_owner", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert await process.stdout.readline()
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def server_of(folder: Path) -> int:
    return int((folder / "redis.pid").read_text())


def lives(pid: int) -> bool:
    """Also False for one that has ended and waits to be reaped by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def ended(pid: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while lives(pid):  # noqa: ASYNC110 - it is not our child: nothing tells us
            await asyncio.sleep(0.01)


@asynccontextmanager
async def ledger_at(socket: Path) -> AsyncIterator[RedisLedger]:
    clock = time.time  # noqa: TID251 - the shell of a test
    async with RedisLedger.open(Endpoint(socket=socket), clock, patience_s=15) as ledger:
        yield ledger


async def note(ledger: RedisLedger, id: str) -> None:
    await ledger.commit(Change((Write("thing", id, {}, 0),)))


async def noted(ledger: RedisLedger) -> list[str]:
    return [doc.id for doc in await ledger.all("thing")]


async def test_it_keeps_what_was_written_and_leaves_no_process(tmp_path: Path) -> None:
    for n in range(2):
        async with embedded_redis(tmp_path) as socket, ledger_at(socket) as ledger:
            pid = server_of(tmp_path)
            assert (tmp_path / "socket").read_bytes() == os.fsencode(socket)
            assert tmp_path.stat().st_mode & 0o077 == 0
            await note(ledger, str(n))
            assert await noted(ledger) == ["0", "1"][: n + 1]
        assert not lives(pid)


async def test_two_who_open_it_at_the_same_moment_share_one_server(tmp_path: Path) -> None:
    async with embedded_redis(tmp_path) as one, embedded_redis(tmp_path) as two:
        assert one == two
        async with ledger_at(one) as first, ledger_at(two) as second:
            await note(first, "a")
            assert await noted(second) == ["a"]


async def test_who_shares_takes_over_when_the_owner_ends(tmp_path: Path) -> None:
    async with owner(tmp_path) as process:
        before = server_of(tmp_path)
        async with embedded_redis(tmp_path) as socket, ledger_at(socket) as ledger:
            await note(ledger, "a")
            await process.communicate(b"")
            await note(ledger, "b")
            assert server_of(tmp_path) != before
            assert await noted(ledger) == ["a", "b"]


async def test_kill_9_of_the_owner_ends_the_server_and_the_next_owner_has_it_all(tmp_path: Path) -> None:
    async with owner(tmp_path) as process:
        server = server_of(tmp_path)
        async with embedded_redis(tmp_path) as socket, ledger_at(socket) as ledger:
            await note(ledger, "a")
        process.kill()
        await process.wait()
        async with embedded_redis(tmp_path) as socket, ledger_at(socket) as ledger:
            await ended(server)
            assert await noted(ledger) == ["a"]
            assert server_of(tmp_path) != server


async def test_kill_9_of_the_server_is_mended_by_its_owner(tmp_path: Path) -> None:
    async with embedded_redis(tmp_path) as socket, ledger_at(socket) as ledger:
        await note(ledger, "a")
        os.kill(server_of(tmp_path), signal.SIGKILL)
        await note(ledger, "b")
        assert await noted(ledger) == ["a", "b"]


async def test_an_orphan_that_does_not_end_by_itself_is_ended_by_the_next_owner(tmp_path: Path) -> None:
    """As after kill -9 where there is no parent-death signal: a server that holds the lock, and whose parent is not us."""
    lock = os.open(tmp_path / "server.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    orphan = await asyncio.create_subprocess_exec(
        *(find_binary().path, "--port", "0", "--dir", str(tmp_path), "--appendonly", "yes", "--save", ""),
        *("--unixsocket", str(tmp_path / "redis.sock")),
        pass_fds=(lock,),
        stdout=asyncio.subprocess.DEVNULL,
    )
    os.close(lock)
    async with ledger_at(tmp_path / "redis.sock") as ledger:
        await note(ledger, "a")
    async with embedded_redis(tmp_path) as socket, ledger_at(socket) as ledger:
        assert orphan.returncode is not None or await orphan.wait() is not None
        assert await noted(ledger) == ["a"]


async def test_ctrl_c_reaches_the_server_only_when_its_owner_has_drained(tmp_path: Path) -> None:
    async with owner(tmp_path):
        assert os.getsid(server_of(tmp_path)) == server_of(tmp_path), (
            "a session of its own: no signal of the terminal comes to it"
        )


async def test_a_data_folder_with_a_long_name_has_its_socket_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    async with embedded_redis(folder) as socket, ledger_at(socket) as ledger:
        assert len(os.fsencode(socket)) <= MAX_SOCKET_PATH
        assert socket.parent.stat().st_mode & 0o077 == 0
        await note(ledger, "a")
    assert not socket.exists()


async def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_text("this is no append-only file\n" * 3)
    with pytest.raises(Unavailable, match="Bad file format") as told:
        async with embedded_redis(tmp_path):
            pass
    assert "redis.log" in told.value.hint


async def test_files_of_a_newer_server_are_not_opened_by_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    old = Binary(find_binary().path, (6, 2, 14))
    with pytest.raises(Unavailable, match="would lose everything"):
        async with embedded_redis(tmp_path, find=lambda: old):
            pass


async def test_where_there_is_no_server_the_way_to_get_one_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"no redis-server of 6\.2 or newer") as told:
        async with embedded_redis(tmp_path, find=lambda: find_binary("/nonexistent", wheel="no_such_wheel")):
            pass
    assert "LITTORAL_REDIS_URL" in told.value.hint
