"""A Redis that dies, hangs, loses a reply or has no space left: nothing that was answered is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from littoral.errors import BadInput, LostLease, NoSpace, Unavailable
from littoral_cloud.fleet.ledger import Announcement, Audit, Change, Write
from littoral_cloud.store.binary import find_binary
from littoral_cloud.store.connection import Endpoint, endpoint_from
from littoral_cloud.store.embedded import embedded_redis
from littoral_cloud.store.redis_ledger import RedisLedger
from littoral_cloud.trust.audit_chain import verify
from tests.kit.cut import cuttable
from tests.kit.patience import PATIENCE_S
from tests.kit.ports import lasting_port
from tests.kit.raw_redis import configure_redis, raw_redis
from tests.kit.redis_server import MortalRedis

pytest_plugins = ("tests.kit.redis",)

clock = time.time  # noqa: TID251 - the shell of a test


def change(id: str, expected: int | None = 0) -> Change:
    return Change((Write("thing", id, {"id": id}, expected),), (Audit("thing.made", id, "test"),))


async def test_kill_9_in_the_middle_of_commits_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    answered: list[str] = []
    some = asyncio.Event()

    async with (
        embedded_redis(tmp_path) as path,
        RedisLedger.open(Endpoint(socket=path), clock, patience_s=20) as ledger,
    ):

        async def work(worker: int) -> None:
            for n in range(60):
                id = f"{worker}-{n}"
                assert await ledger.commit(change(id)) == {("thing", id): 1}
                answered.append(id)
                if len(answered) in (50, 120):
                    some.set()

        async with asyncio.TaskGroup() as tasks:
            for worker in range(4):
                tasks.create_task(work(worker))
            for _ in range(2):
                await some.wait()
                some.clear()
                os.kill(int((tmp_path / "redis.pid").read_text()), signal.SIGKILL)
        entries = await ledger.audit()
        assert {doc.id for doc in await ledger.all("thing")} == set(answered)
        assert sorted(entry.subject for entry in entries) == sorted(answered), "each line is there, and once"
        assert verify(entries) is None


async def test_a_commit_whose_reply_was_lost_is_not_done_twice(redis_socket: Path, fleet_name: str, tmp_path: Path) -> None:
    proxy = tmp_path / "cut.sock"
    async with (
        cuttable(redis_socket, proxy) as cut,
        RedisLedger.open(Endpoint(socket=proxy), clock, fleet=fleet_name, patience_s=5) as ledger,
    ):
        cut.marker = b"thing.made"
        assert await ledger.commit(change("a")) == {("thing", "a"): 1}, "the first outcome, and no Conflict with itself"
        assert cut.lost == 1
        assert [entry.subject for entry in await ledger.audit()] == ["a"]


async def test_a_lease_whose_reply_was_lost_is_had_and_not_waited_for(
    redis_socket: Path, fleet_name: str, tmp_path: Path
) -> None:
    proxy = tmp_path / "cut.sock"
    async with (
        cuttable(redis_socket, proxy) as cut,
        RedisLedger.open(Endpoint(socket=proxy), clock, fleet=fleet_name, patience_s=5) as ledger,
        asyncio.timeout(PATIENCE_S),
    ):
        cut.marker = b"lease-attempt"
        async with ledger.lease("x", ttl_s=2 * PATIENCE_S) as fence:
            assert (cut.lost, fence.token) == (1, 1)


async def test_calls_outlast_a_redis_that_comes_back(mortal_redis: MortalRedis) -> None:
    async with RedisLedger.open(mortal_redis.endpoint, clock, patience_s=20) as ledger:
        await ledger.commit(change("a"))
        await mortal_redis.kill()
        waiting = [asyncio.create_task(call) for call in (ledger.commit(change("b")), ledger.get("thing", "a"))]
        done, _ = await asyncio.wait(waiting, timeout=0.3)
        assert not done
        await mortal_redis.start()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*waiting)
        assert [doc.id for doc in await ledger.all("thing")] == ["a", "b"]


async def test_a_redis_that_stays_away_is_told_of_with_a_way_out(mortal_redis: MortalRedis) -> None:
    async with RedisLedger.open(mortal_redis.endpoint, clock, patience_s=0.2) as ledger:
        await mortal_redis.kill()
        for call in (ledger.get("thing", "a"), ledger.all("thing"), ledger.commit(change("a")), ledger.audit()):
            with pytest.raises(Unavailable, match="cannot be had since") as told:
                await call
            assert told.value.hint
            assert told.value.retryable


async def test_a_watcher_hears_after_a_break_what_was_written_in_it(mortal_redis: MortalRedis) -> None:
    async with (
        RedisLedger.open(mortal_redis.endpoint, clock, patience_s=20) as ledger,
        RedisLedger.open(mortal_redis.endpoint, clock, patience_s=20) as other,
        asyncio.timeout(PATIENCE_S),
        ledger.watch("thing", "other") as announcements,
    ):
        await other.commit(change("before"))
        assert await anext(announcements) == Announcement("thing", "before")
        await mortal_redis.kill()
        written = [asyncio.create_task(other.commit(change(id))) for id in ("a", "b", "c")]
        await mortal_redis.start()
        await asyncio.gather(*written)
        assert {(await anext(announcements)).id for _ in written} == {"a", "b", "c"}


@pytest.mark.parametrize("newer", [0, 3])
async def test_a_watcher_is_asked_to_read_everything_again_where_redis_came_back_with_older_data(
    mortal_redis: MortalRedis, newer: int
) -> None:
    """`newer`: so much was written into the older data before the watcher is back."""
    file = mortal_redis.folder / "appendonly.aof"
    async with (
        RedisLedger.open(mortal_redis.endpoint, clock, patience_s=20) as ledger,
        ledger.watch("thing", "other") as announcements,
        asyncio.timeout(PATIENCE_S),
    ):
        await ledger.commit(change("a"))
        older = file.read_bytes()
        await ledger.commit(change("b"))
        assert {await anext(announcements), await anext(announcements)} == {
            Announcement("thing", "a"),
            Announcement("thing", "b"),
        }
        await mortal_redis.kill()
        file.write_bytes(older)
        if newer:
            await mortal_redis.start(under="elsewhere.sock")
            async with RedisLedger.open(mortal_redis.endpoint_under("elsewhere.sock"), clock, patience_s=20) as other:
                for number in range(newer):
                    await other.commit(change(f"n{number}"))
            await mortal_redis.kill()
        await mortal_redis.start()
        heard = {await anext(announcements), await anext(announcements)}
        assert heard == {Announcement("thing", ""), Announcement("other", "")}
        await ledger.commit(change("c"))
        assert await anext(announcements) == Announcement("thing", "c")


async def test_a_holder_that_cannot_renew_is_stopped_before_another_may_begin(mortal_redis: MortalRedis) -> None:
    async with RedisLedger.open(mortal_redis.endpoint, clock, patience_s=20) as ledger:

        async def hold() -> None:
            async with asyncio.timeout(PATIENCE_S), ledger.lease("rollouts", ttl_s=0.5):
                await mortal_redis.kill()
                await asyncio.Event().wait()

        with pytest.raises(LostLease, match="rollouts"):
            await hold()
        await mortal_redis.start()
        async with asyncio.timeout(PATIENCE_S), ledger.lease("rollouts") as fence:
            assert fence.token == 2


async def test_a_holder_whose_lease_was_taken_away_is_stopped(mortal_redis: MortalRedis) -> None:
    async with RedisLedger.open(mortal_redis.endpoint, clock, patience_s=5) as ledger:

        async def hold() -> None:
            async with asyncio.timeout(PATIENCE_S), ledger.lease("rollouts", ttl_s=0.6):
                raw_redis(mortal_redis.socket, "DEL", "lease:rollouts")
                await asyncio.Event().wait()

        with pytest.raises(LostLease):
            await hold()


async def test_a_cancel_from_outside_is_no_lost_lease_and_gives_the_lease_back(mortal_redis: MortalRedis) -> None:
    async with RedisLedger.open(mortal_redis.endpoint, clock, patience_s=5) as ledger:
        held = asyncio.Event()

        async def hold() -> None:
            async with ledger.lease("rollouts", ttl_s=30):
                held.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        await held.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(PATIENCE_S), ledger.lease("rollouts"):
            pass


async def test_a_redis_that_is_out_of_memory_refuses_whole_changes_in_plain_words(mortal_redis: MortalRedis) -> None:
    async with RedisLedger.open(mortal_redis.endpoint, clock, patience_s=5) as ledger:
        await ledger.commit(change("a"))
        configure_redis(mortal_redis.socket, "CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(NoSpace, match="maxmemory"):
            await ledger.commit(change("b"))
        configure_redis(mortal_redis.socket, "CONFIG", "SET", "maxmemory", "0")
        assert [doc.id for doc in await ledger.all("thing")] == ["a"]
        assert [entry.subject for entry in await ledger.audit()] == ["a"]


async def test_a_redis_whose_disk_is_full_refuses_and_takes_up_again(tmp_path: Path) -> None:
    """Its files may not grow over 64 KiB: a real EFBIG from the kernel, which Redis treats as a full disk."""
    redis = MortalRedis(tmp_path)
    limited = tmp_path / "limited"
    limited.write_text(f'#!/bin/sh\ntrap "" XFSZ\nulimit -S -f 128\nexec {find_binary().path} "$@"\n')
    limited.chmod(0o755)
    process = await asyncio.create_subprocess_exec(
        limited,
        *("--port", "0", "--unixsocket", str(redis.socket), "--dir", str(tmp_path), "--save", "", "--appendonly", "yes"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    big = {"filling": "x" * 8_000}
    try:
        async with RedisLedger.open(redis.endpoint, clock, patience_s=5) as ledger:
            answered: list[str] = []

            async def fill() -> None:
                for id in (f"{n:02}" for n in range(30)):
                    await ledger.commit(Change((Write("thing", id, big, 0),), (Audit("thing.made", id, "test"),)))
                    answered.append(id)

            with pytest.raises(NoSpace, match="cannot write to its disk"):
                await fill()
            assert answered
            assert [doc.id for doc in await ledger.all("thing")] == answered
            assert [entry.subject for entry in await ledger.audit()] == answered
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            async with asyncio.timeout(PATIENCE_S):
                while True:  # Redis itself looks once a second whether there is space again
                    try:
                        await ledger.commit(change("later"))
                        break
                    except NoSpace:
                        await asyncio.sleep(0.05)
        process.kill()
        await process.wait()
        await redis.start()
        async with RedisLedger.open(redis.endpoint, clock, patience_s=5) as ledger:
            assert [doc.id for doc in await ledger.all("thing")] == [*answered, "later"]
    finally:
        await redis.kill()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_password_that_is_wrong_is_no_outage(tmp_path: Path) -> None:
    redis = MortalRedis(tmp_path, "--requirepass", "secret")
    redis.endpoint = Endpoint(socket=redis.socket, password="secret")
    await redis.start()
    try:
        async with RedisLedger.open(redis.endpoint, clock, patience_s=5) as ledger:
            await ledger.commit(change("a"))
        for password in ("wrong", None):
            with pytest.raises(BadInput, match="refuses us") as told:
                async with RedisLedger.open(Endpoint(socket=redis.socket, password=password), clock, patience_s=PATIENCE_S):
                    pass
            assert "PASSWORD_FILE" in told.value.hint
    finally:
        await redis.kill()


async def test_a_redis_of_ones_own_is_reached_by_its_url(tmp_path: Path) -> None:
    port = lasting_port()
    redis = MortalRedis(tmp_path, "--requirepass", "secret", "--bind", "127.0.0.1", "--port", str(port))
    redis.endpoint = Endpoint(socket=redis.socket, password="secret")
    await redis.start()
    (tmp_path / "password").write_text("secret\n")
    try:
        for url in (f"redis://127.0.0.1:{port}/0", f"unix://{redis.socket}"):
            endpoint = endpoint_from(url, tmp_path / "password")
            async with (
                RedisLedger.open(endpoint, clock, patience_s=5) as ledger,
                ledger.watch("thing") as announcements,
                asyncio.timeout(PATIENCE_S),
            ):
                await ledger.commit(change(url))
                assert await anext(announcements) == Announcement("thing", url)
        with pytest.raises(BadInput, match="refuses us"):
            async with RedisLedger.open(Endpoint(url=f"redis://127.0.0.1:{port}"), clock, patience_s=5):
                pass
    finally:
        await redis.kill()
