"""A trail whose end was cut off is a whole chain: what lies beside Redis tells."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from littoral.errors import FleetError
from littoral_cloud.app import open_core
from littoral_cloud.fleet.issued_tokens import create_token, list_tokens
from littoral_cloud.fleet.ledger import Audit, Change, Ledger
from littoral_cloud.settings import CloudSettings
from littoral_cloud.store.redis_ledger import RedisLedger
from littoral_cloud.trust.audit_chain import GENESIS, canonical, link
from littoral_cloud.trust.witness import ACTION, Witness
from tests.kit.patience import PATIENCE_S
from tests.kit.raw_redis import raw_redis

pytest_plugins = ("tests.kit.redis",)


async def said(ledger: Ledger, count: int) -> None:
    for n in range(count):
        await ledger.commit(Change((), (Audit("thing.done", str(n), "me"),)))


async def forget(ledger: RedisLedger, socket: Path, fleet: str, count: int) -> None:
    """Cuts the last lines off, and puts the head back, as a Redis that was put back from a backup has it."""
    entries = await ledger.audit()
    for entry in entries[-count:]:
        raw_redis(socket, "XDEL", "audit", entry.id, fleet=fleet)
    raw_redis(socket, "SET", "audit-head", entries[-count - 1].chain, fleet=fleet)


async def test_a_tail_that_was_cut_off_is_told_for_ever_and_written_into_the_trail_once(
    ledger: RedisLedger,
    redis_socket: Path,
    fleet_name: str,
    tmp_path: Path,
    another: Callable[[], AbstractAsyncContextManager[RedisLedger]],
) -> None:
    path = tmp_path / "audit-head.json"
    witness = Witness(path, lambda: 7.0, {})
    assert await witness.missing(ledger) == ()
    await said(ledger, 3)
    await witness.end(ledger)
    assert await witness.missing(ledger) == ()
    await said(ledger, 2)
    assert await witness.missing(ledger) == ()  # newer lines
    await witness.end(ledger)
    last = (await ledger.audit())[-1]
    await forget(ledger, redis_socket, fleet_name, 2)

    async with another() as fresh:
        later = Witness(path, lambda: 8.0, {})
        await later.look(fresh)
        [lost] = await later.missing(fresh)
        assert (lost.id, lost.chain, lost.at) == (last.id, last.chain, 7.0)
        await later.end(fresh)  # must not forget what it knew
        async with fresh.watch("audit") as announcements:
            following = asyncio.create_task(later.follow(fresh))
            async with asyncio.timeout(PATIENCE_S):
                await anext(announcements)
        following.cancel()
        await asyncio.wait([following])
        assert [(e.action, e.details["chain"]) for e in await fresh.audit() if e.action == ACTION] == [(ACTION, last.chain)]
        await said(fresh, 2)
        await later.end(fresh)
        again = Witness(path, lambda: 9.0, {})
        await again.look(fresh)
        assert await again.missing(fresh) == (lost,)
        assert again.read().last is not None


async def test_a_line_that_was_written_anew_under_the_same_id_is_missing(
    ledger: RedisLedger, redis_socket: Path, fleet_name: str, tmp_path: Path
) -> None:
    witness = Witness(tmp_path / "head.json", lambda: 7.0, {})
    await said(ledger, 1)
    await witness.end(ledger)
    [entry] = await ledger.audit()
    line = canonical(entry.at, replace(entry, subject="another"))
    raw_redis(redis_socket, "DEL", "audit", fleet=fleet_name)
    raw_redis(redis_socket, "XADD", "audit", entry.id, "line", line, "chain", link(GENESIS, line), fleet=fleet_name)
    assert len(await witness.missing(ledger)) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 1}', b"\0" * 50, b'{"schema": 2, "last": null, "lost": []}'])
async def test_a_damaged_file_is_named_and_left_alone(
    ledger: RedisLedger, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    witness = Witness(tmp_path / "head.json", lambda: 7.0, {})
    witness.path.write_bytes(content)
    await said(ledger, 1)
    await witness.look(ledger)
    assert "head.json: is damaged" in caplog.text
    await witness.end(ledger)
    assert witness.path.read_bytes() == content
    with pytest.raises(FleetError, match=r"head\.json: is damaged"):
        await witness.missing(ledger)


async def test_a_bit_that_the_disk_turned_is_told_from_a_cut(ledger: Ledger, tmp_path: Path) -> None:
    witness = Witness(tmp_path / "head.json", lambda: 7.0, {})
    await said(ledger, 1)
    await witness.end(ledger)
    whole = witness.path.read_bytes()
    turned = whole.replace(b'"chain": "', b'"chain": "f' if b'"chain": "f' not in whole else b'"chain": "e', 1)
    witness.path.write_bytes(turned)
    with pytest.raises(FleetError, match="checksum is wrong"):
        await witness.missing(ledger)


async def test_an_append_only_file_that_was_cut_in_half_is_told_at_the_start_and_by_verify(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path_factory.mktemp("c")
    settings = CloudSettings(data_dir=data)
    async with open_core(settings) as core:
        for n in range(5):
            await create_token(core.ledger, f"t{n}", 600.0, 1, {}, core.clock(), lambda size, n=n: f"{n}" * size)
    assert caplog.text == ""
    [aof] = [*(data / "redis").glob("*.aof"), *(data / "redis").glob("appendonlydir/*.incr.aof")]
    content = aof.read_bytes()
    aof.write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.ERROR):
        async with open_core(settings) as core:
            assert len(await list_tokens(core.ledger)) < 5
            assert "append-only file was damaged" in caplog.text
            assert "the end of the trail was cut off" in caplog.text
            command = str(Path(sys.executable).with_name("littoral-cloud"))
            process = await asyncio.create_subprocess_exec(
                *(command, "audit", "verify", "--data-dir", str(data)),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
    assert (process.returncode, out) == (3, b""), err
    assert b"the end of the trail was cut off" in err
